import { randomBytes } from 'node:crypto'
import { x25519 } from '@noble/curves/ed25519.js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { finish, respond, type Secrets, start } from './handshake.js'
import { type Answer, buildTimeoutMs, hex, Oracle, Refused } from './oracle.js'

let rust: Oracle
beforeAll(async () => {
  rust = await Oracle.start()
}, buildTimeoutMs)
afterAll(() => rust?.[Symbol.asyncDispose]())

const failed = 'ERR_ANONNET_HANDSHAKE_FAILED'

function fresh(extensionLength = 0) {
  const circuitKey = randomBytes(32)
  return {
    id: randomBytes(32),
    circuitKey,
    onionKey: Buffer.from(x25519.getPublicKey(circuitKey)),
    clientRandom: randomBytes(96),
    relayRandom: randomBytes(64),
    question: randomBytes(extensionLength),
    answer: randomBytes(extensionLength)
  }
}

type Setup = ReturnType<typeof fresh>

const rustStart = ({ id, onionKey, clientRandom, question }: Setup) =>
  rust.ask('handshakeStart', { rng: hex(clientRandom), id: hex(id), onionKey: hex(onionKey), extensions: hex(question) })

const rustRespond = ({ id, circuitKey, relayRandom, answer }: Setup, request: Buffer) =>
  rust.ask('handshakeRespond', {
    rng: hex(relayRandom),
    id: hex(id),
    circuitKey: hex(circuitKey),
    request: hex(request),
    extensions: hex(answer)
  })

const secretsOf = (answer: Answer): Secrets => ({
  forward: answer.bytes('forward'),
  backward: answer.bytes('backward'),
  bind: answer.bytes('bind'),
  resume: answer.bytes('resume')
})

describe('the two implementations', () => {
  test.each([0, 1, 100, 512])('say the same byte for byte, with extensions of %i bytes', async (length) => {
    for (let round = 0; round < 5; round += 1) {
      const setup = fresh(length)
      const { client, request } = start(setup.clientRandom, setup.id, setup.onionKey, setup.question)
      const theirs = await rustStart(setup)
      expect(theirs.bytes('request')).toEqual(request)

      const ours = respond(setup.relayRandom, setup.id, setup.circuitKey, request, setup.answer)
      const relay = await rustRespond(setup, request)
      expect(relay.bytes('reply')).toEqual(ours.reply)
      expect(relay.bytes('extensions')).toEqual(setup.question)
      expect(ours.extensions).toEqual(setup.question)
      expect(secretsOf(relay)).toEqual(ours.secrets)

      const finished = await rust.ask('handshakeFinish', { handle: theirs.handle, reply: hex(ours.reply) })
      expect(finished.bytes('extensions')).toEqual(setup.answer)
      expect(secretsOf(finished)).toEqual(ours.secrets)
      expect(finish(client, relay.bytes('reply'))).toEqual({ secrets: ours.secrets, extensions: setup.answer })
    }
  })

  test('use random bytes in the same order, and all of them', async () => {
    const setup = fresh()
    await expect(rustStart({ ...setup, clientRandom: randomBytes(95) })).rejects.toThrow('96 bytes of rng used, 95 given')
    const { request } = start(setup.clientRandom, setup.id, setup.onionKey, setup.question)
    await expect(rustRespond({ ...setup, relayRandom: randomBytes(65) }, request)).rejects.toThrow('64 bytes of rng used, 65 given')
  })
})

const flipped = (bytes: Buffer, at: number): Buffer => {
  const out = Buffer.from(bytes)
  out[at] = (out[at] ?? 0) ^ 1
  return out
}

describe('a changed handshake', () => {
  test('is refused by the relay, wherever the request was touched', async () => {
    const setup = fresh(20)
    const { request } = start(setup.clientRandom, setup.id, setup.onionKey, setup.question)
    for (const at of [0, 31, 32, 63, 64, 95, 96, 700, 1279, 1280, 1295, request.length - 33, request.length - 1]) {
      const changed = flipped(request, at)
      await expect(rustRespond(setup, changed), `byte ${at}`).rejects.toThrow(new Refused(failed))
      expect(() => respond(setup.relayRandom, setup.id, setup.circuitKey, changed, setup.answer), `byte ${at}`).toThrow()
    }
  })

  test('is refused by the client, wherever the reply was touched', async () => {
    const setup = fresh(20)
    const { client, request } = start(setup.clientRandom, setup.id, setup.onionKey, setup.question)
    const { reply } = respond(setup.relayRandom, setup.id, setup.circuitKey, request, setup.answer)
    for (const at of [0, 31, 32, 600, 1119, 1120, 1151, 1152, reply.length - 1]) {
      const { handle } = await rustStart(setup)
      const changed = flipped(reply, at)
      await expect(rust.ask('handshakeFinish', { handle, reply: hex(changed) }), `byte ${at}`).rejects.toThrow(new Refused(failed))
      expect(() => finish(client, changed), `byte ${at}`).toThrow()
    }
  })

  test('is refused when it is cut off', async () => {
    const setup = fresh(20)
    const { request } = start(setup.clientRandom, setup.id, setup.onionKey, setup.question)
    const { reply } = respond(setup.relayRandom, setup.id, setup.circuitKey, request, setup.answer)
    for (const length of [0, 31, 64, 1279, 1339, request.length - 1]) {
      await expect(rustRespond(setup, request.subarray(0, length)), `${length} bytes`).rejects.toThrow(new Refused(failed))
    }
    for (const length of [0, 31, 1119, 1179, reply.length - 1]) {
      const { handle } = await rustStart(setup)
      const cut = hex(reply.subarray(0, length))
      await expect(rust.ask('handshakeFinish', { handle, reply: cut }), `${length} bytes`).rejects.toThrow(new Refused(failed))
    }
  })

  test('is refused with a circuit key of small order', async () => {
    const setup = { ...fresh(), onionKey: Buffer.alloc(32) }
    await expect(rustStart(setup)).rejects.toThrow(new Refused(failed))
    expect(() => start(setup.clientRandom, setup.id, setup.onionKey, setup.question)).toThrow()
  })
})
