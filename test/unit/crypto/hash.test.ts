import { randomBytes } from 'node:crypto'
import { ed25519 } from '@noble/curves/ed25519.js'
import { sha3_256, shake256 } from '@noble/hashes/sha3.js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ascii, concat, encap, h, nodeId, open, seal, sealSalted, xof } from './hash.js'
import { buildTimeoutMs, hex, Oracle, Refused } from './oracle.js'

let rust: Oracle
beforeAll(async () => {
  rust = await Oracle.start()
}, buildTimeoutMs)
afterAll(() => rust?.[Symbol.asyncDispose]())

const domain = 'anonnet:1:test'

describe('hashes', () => {
  test.each([[[]], [[0]], [[1, 0, 40]], [[136, 137]], [[5000]]])(
    'of parts of %j bytes are the same in three libraries',
    async (lengths) => {
      const parts = lengths.map((length) => randomBytes(length))
      const whole = concat(encap(ascii(domain)), ...parts)
      expect(h(domain, ...parts)).toEqual(Buffer.from(sha3_256(whole)))
      expect((await rust.ask('h', { domain, parts: parts.map(hex) })).bytes('out')).toEqual(h(domain, ...parts))
      for (const length of [1, 64, 256, 1000]) {
        expect(xof(domain, length, ...parts)).toEqual(Buffer.from(shake256(whole, { dkLen: length })))
        expect((await rust.ask('xof', { domain, parts: parts.map(hex), length })).bytes('out')).toEqual(xof(domain, length, ...parts))
      }
    }
  )

  test('name nodes', async () => {
    for (let round = 0; round < 5; round += 1) {
      const publicKey = randomBytes(32)
      expect((await rust.ask('nodeId', { publicKey: hex(publicKey) })).bytes('out')).toEqual(nodeId(publicKey))
    }
  })
})

describe('signatures', () => {
  test('are the same, and verify both ways', async () => {
    const [seed, message] = [randomBytes(32), randomBytes(100)]
    const theirs = await rust.ask('sign', { seed: hex(seed), message: hex(message) })
    expect(theirs.bytes('publicKey')).toEqual(Buffer.from(ed25519.getPublicKey(seed)))
    expect(theirs.bytes('signature')).toEqual(Buffer.from(ed25519.sign(message, seed)))
    const question = { publicKey: theirs.text('publicKey'), signature: theirs.text('signature') }
    expect((await rust.ask('verify', { ...question, message: hex(message) })).get('valid')).toBe(true)
    expect((await rust.ask('verify', { ...question, message: hex(randomBytes(100)) })).get('valid')).toBe(false)
    const weak = { publicKey: `01${'00'.repeat(31)}`, signature: '00'.repeat(64), message: '' }
    await expect(rust.ask('verify', weak)).rejects.toThrow(new Refused('ERR_ANONNET_KEY_INVALID'))
  })
})

describe('records', () => {
  test.each([0, 1, 16, 1104])('of %i bytes are the same, and open both ways', async (length) => {
    const [key, aad, plaintext] = [randomBytes(32), randomBytes(9), randomBytes(length)]
    const fields = { key: hex(key), aad: hex(aad), plaintext: hex(plaintext) }
    const record = seal(key, aad, plaintext)
    expect((await rust.ask('seal', fields)).bytes('record')).toEqual(record)
    expect((await rust.ask('open', { ...fields, record: hex(record) })).bytes('plaintext')).toEqual(plaintext)
    expect(open(key, aad, record)).toEqual(plaintext)

    const salt = randomBytes(32)
    const salted = sealSalted(key, salt, domain, aad, plaintext)
    expect((await rust.ask('sealSalted', { ...fields, rng: hex(salt), purpose: domain })).bytes('record')).toEqual(salted)
    expect((await rust.ask('openSalted', { ...fields, purpose: domain, record: hex(salted) })).bytes('plaintext')).toEqual(plaintext)
  })

  test('that were changed do not open', async () => {
    const [key, aad] = [randomBytes(32), randomBytes(9)]
    const record = seal(key, aad, randomBytes(50))
    for (const at of [0, 11, 12, 40, 61, 62, 77]) {
      const changed = Buffer.from(record)
      changed[at] = (changed[at] ?? 0) ^ 1
      const question = { key: hex(key), aad: hex(aad), record: hex(changed) }
      await expect(rust.ask('open', question), `byte ${at}`).rejects.toThrow(new Refused('ERR_ANONNET_RECORD_INVALID'))
      expect(() => open(key, aad, changed), `byte ${at}`).toThrow()
    }
  })
})
