import { randomBytes } from 'node:crypto'
import { ed25519 } from '@noble/curves/ed25519.js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Secrets } from './handshake.js'
import { type Answer, buildTimeoutMs, hex, Oracle, Refused } from './oracle.js'
import { blind, entryOf, establish, finish, point, pow, respond, sign, start, subcredential } from './service.js'

let rust: Oracle
beforeAll(async () => {
  rust = await Oracle.start()
}, buildTimeoutMs)
afterAll(() => rust?.[Symbol.asyncDispose]())

const failed = new Refused('ERR_ANONNET_HANDSHAKE_FAILED')
const secretsOf = (answer: Answer): Secrets => ({
  forward: answer.bytes('forward'),
  backward: answer.bytes('backward'),
  bind: answer.bytes('bind'),
  resume: answer.bytes('resume')
})

describe('blinded keys', () => {
  test('are the same in both implementations, and so are their signatures', async () => {
    for (const period of [0, 1, 20_783, 0xffffffff]) {
      const seed = randomBytes(32)
      const publicKey = Buffer.from(ed25519.getPublicKey(seed))
      const theirs = await rust.ask('serviceBlind', { publicKey: hex(publicKey), period })
      const ours = blind(publicKey, period)
      expect(theirs.bytes('blinded')).toEqual(ours)
      expect(theirs.bytes('subcredential')).toEqual(subcredential(publicKey, period))
      const message = randomBytes(period % 200)
      const signed = await rust.ask('serviceSign', { seed: hex(seed), period, message: hex(message) })
      expect(signed.bytes('signature')).toEqual(sign(seed, period, message))
      expect(ed25519.verify(sign(seed, period, message), message, ours)).toBe(true)
    }
  })

  test('are of no key outside the group of prime order', async () => {
    const sound = ed25519.Point.fromBytes(ed25519.getPublicKey(randomBytes(32)))
    // The point of order two.
    const twisted = sound.add(ed25519.Point.fromAffine({ x: 0n, y: ed25519.Point.Fp.ORDER - 1n })).toBytes()
    for (const publicKey of [twisted, Buffer.alloc(32), Buffer.alloc(32, 0xff)]) {
      const asked = rust.ask('serviceBlind', { publicKey: hex(publicKey), period: 1 })
      await expect(asked).rejects.toThrow(new Refused('ERR_ANONNET_KEY_INVALID'))
      expect(() => blind(Buffer.from(publicKey), 1)).toThrow()
    }
  })
})

interface Setup {
  keys: ReturnType<typeof point>
  handle: number
  credential: Buffer
  clientRandom: Buffer
  serviceRandom: Buffer
}

async function fresh(): Promise<Setup> {
  const [random, bind] = [randomBytes(128), randomBytes(32)]
  const keys = point(random)
  const theirs = await rust.ask('servicePoint', { rng: hex(random), bind: hex(bind) })
  expect(entryOf(theirs.bytes('entry'))).toEqual(keys.entry)
  expect(theirs.bytes('establish')).toEqual(establish(keys, bind))
  const verified = await rust.ask('serviceVerifyEstablish', { bind: hex(bind), payload: hex(establish(keys, bind)) })
  expect(verified.bytes('authKey')).toEqual(keys.entry.authKey)
  const other = rust.ask('serviceVerifyEstablish', { bind: hex(randomBytes(32)), payload: hex(establish(keys, bind)) })
  await expect(other).rejects.toThrow(new Refused('ERR_ANONNET_RECORD_INVALID'))
  return { keys, handle: theirs.handle, credential: randomBytes(32), clientRandom: randomBytes(128), serviceRandom: randomBytes(64) }
}

const rustStart = ({ keys, credential, clientRandom }: Setup, payload: Buffer) =>
  rust.ask('serviceStart', {
    rng: hex(clientRandom),
    authKey: hex(keys.entry.authKey),
    onionKey: hex(keys.entry.onionKey),
    kemKey: hex(keys.entry.kemKey),
    subcredential: hex(credential),
    payload: hex(payload)
  })

const rustRespond = ({ handle, credential, serviceRandom }: Setup, message: Buffer, before: readonly Buffer[] = []) =>
  rust.ask('serviceRespond', {
    handle,
    rng: hex(serviceRandom),
    subcredentials: [...before, credential].map((bytes) => hex(bytes)),
    message: hex(message)
  })

describe('the handshake of services', () => {
  test.each([0, 1, 300, 800])('is the same byte for byte, with a payload of %i bytes', async (length) => {
    const setup = await fresh()
    const payload = randomBytes(length)
    const { client, message } = start(setup.clientRandom, setup.keys.entry, setup.credential, payload)
    const theirs = await rustStart(setup, payload)
    expect(theirs.bytes('message')).toEqual(message)
    expect(message.length).toBe(3198)

    const ours = respond(setup.serviceRandom, setup.keys, setup.credential, message.subarray(32))
    const answered = await rustRespond(setup, message.subarray(32), [randomBytes(32)])
    expect(answered.bytes('payload')).toEqual(payload)
    expect(ours.payload).toEqual(payload)
    expect(answered.bytes('reply')).toEqual(ours.reply)
    expect(secretsOf(answered)).toEqual(ours.secrets)
    expect(secretsOf(await rust.ask('serviceFinish', { handle: theirs.handle, reply: hex(ours.reply) }))).toEqual(ours.secrets)
    expect(finish(client, answered.bytes('reply'))).toEqual(ours.secrets)
  })

  test('is refused by either side, wherever it was touched', async () => {
    const setup = await fresh()
    const { client, message } = start(setup.clientRandom, setup.keys.entry, setup.credential, Buffer.from('payload'))
    const introduce = message.subarray(32)
    const { reply } = respond(setup.serviceRandom, setup.keys, setup.credential, introduce)
    const { handle } = await rustStart(setup, Buffer.from('payload'))
    const flipped = (bytes: Buffer, at: number): Buffer => {
      const out = Buffer.from(bytes)
      out[at] = (out[at] ?? 0) ^ 1
      return out
    }
    for (const at of [0, 31, 32, 1215, 1216, 2303, 2304, 2316, introduce.length - 33, introduce.length - 1]) {
      await expect(rustRespond(setup, flipped(introduce, at)), `byte ${at}`).rejects.toThrow(failed)
      expect(() => respond(setup.serviceRandom, setup.keys, setup.credential, flipped(introduce, at)), `byte ${at}`).toThrow()
    }
    for (const at of [0, 31, 32, 1119, 1120, reply.length - 1]) {
      await expect(rust.ask('serviceFinish', { handle, reply: hex(flipped(reply, at)) }), `byte ${at}`).rejects.toThrow(failed)
      expect(() => finish(client, flipped(reply, at)), `byte ${at}`).toThrow()
    }
    await expect(rustRespond({ ...setup, credential: randomBytes(32) }, introduce)).rejects.toThrow(failed)
    await expect(rustRespond(setup, introduce.subarray(1))).rejects.toThrow(failed)
  })
})

test('proof of work is the same in both implementations', async () => {
  const [seed, blinded] = [randomBytes(32), randomBytes(32)]
  let solved = 0
  for (let number = 0; number < 24; number++) {
    const nonce = Buffer.alloc(16, number)
    const asked = await rust.ask('pow', { seed: hex(seed), blinded: hex(blinded), effort: 3, nonce: hex(nonce) })
    expect(asked.get('valid')).toBe(pow(seed, blinded, 3, nonce))
    solved += pow(seed, blinded, 3, nonce) ? 1 : 0
  }
  expect(solved).toBeGreaterThan(0)
  expect(solved).toBeLessThan(24)
}, 60_000)
