import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { openDescriptor, sealDescriptor } from '../../../ts/services/descriptor.js'
import { readIntroduction, writeIntroduction } from '../../../ts/services/introduction.js'
import { MAX_AUTH_CLIENTS, MAX_INTRO_POINTS } from '../../../ts/services/limits.js'
import type { IntroPoint, ServiceDescriptor } from '../../../ts/services/types.js'
import { toHex } from '../../../ts/wire/index.js'
import { codeOf } from '../directory/helpers.js'
import { makeService, plainCrypto } from './crypto.js'

const crypto = plainCrypto()
const { publicKey } = makeService()
const PLACE = { publicKey, period: 20_000, revision: 77 }

function points(count: number): IntroPoint[] {
  return Array.from({ length: count }, () => ({
    nodeId: toHex(crypto.randomBytes(32)),
    authKey: crypto.randomBytes(32),
    onionKey: crypto.randomBytes(32),
    kemKey: crypto.randomBytes(1184)
  }))
}

const POW = { seed: crypto.randomBytes(32), effort: 12 }
const descriptor = (count = 3): ServiceDescriptor => ({ introPoints: points(count), pow: POW })
const clients = (count: number) =>
  Array.from({ length: count }, () => {
    const secret = crypto.randomBytes(32)
    return { secret, publicKey: crypto.x25519Public(secret) }
  })

describe('descriptors', () => {
  it('come back whole, with and without a proof of work', () => {
    for (const pow of [POW, undefined]) {
      const written = { introPoints: points(3), pow }
      expect(openDescriptor(crypto, PLACE, sealDescriptor(crypto, PLACE, written))).toEqual(written)
    }
    const asksNothing = { introPoints: points(1), pow: { ...POW, effort: 0 } }
    expect(openDescriptor(crypto, PLACE, sealDescriptor(crypto, PLACE, asksNothing)).pow).toBeUndefined()
  })

  it('are a multiple of 4 KiB, 16 KiB at most with everything that may be in one', () => {
    for (const count of [1, 3, MAX_INTRO_POINTS]) expect(sealDescriptor(crypto, PLACE, descriptor(count)).length % 4096).toBe(0)
    const most = sealDescriptor(
      crypto,
      PLACE,
      descriptor(MAX_INTRO_POINTS),
      clients(MAX_AUTH_CLIENTS).map((client) => client.publicKey)
    )
    expect(most.length).toBeLessThanOrEqual(16 * 1024)
  })

  it('take no more clients and points than they may have', () => {
    const many = clients(MAX_AUTH_CLIENTS + 1).map((client) => client.publicKey)
    expect(codeOf(() => sealDescriptor(crypto, PLACE, descriptor(), many))).toBe('ERR_ANONNET_RESOURCE_LIMIT')
    expect(codeOf(() => sealDescriptor(crypto, PLACE, descriptor(MAX_INTRO_POINTS + 1)))).toBe('ERR_ANONNET_RESOURCE_LIMIT')
  })

  it('with authorization open to who is authorised, and to nobody else', () => {
    const authorised = clients(20)
    const written = descriptor()
    const sealed = sealDescriptor(
      crypto,
      PLACE,
      written,
      authorised.map((client) => client.publicKey)
    )
    for (const { secret } of authorised) expect(openDescriptor(crypto, PLACE, sealed, secret)).toEqual(written)
    expect(codeOf(() => openDescriptor(crypto, PLACE, sealed))).toBe('ERR_ANONNET_CLIENT_AUTH')
    expect(codeOf(() => openDescriptor(crypto, PLACE, sealed, crypto.randomBytes(32)))).toBe('ERR_ANONNET_CLIENT_AUTH_WRONG')
    // A key for a service that asks for none does no harm.
    expect(openDescriptor(crypto, PLACE, sealDescriptor(crypto, PLACE, written), crypto.randomBytes(32))).toEqual(written)
  })
})

describe('attack 25: a descriptor of another key or period', () => {
  it('does not open as that of any other service, period or revision', () => {
    const sealed = sealDescriptor(crypto, PLACE, descriptor())
    for (const place of [
      { ...PLACE, publicKey: makeService(2).publicKey },
      { ...PLACE, period: PLACE.period + 1 },
      { ...PLACE, period: PLACE.period - 1 },
      { ...PLACE, revision: PLACE.revision + 1 }
    ]) {
      expect(codeOf(() => openDescriptor(crypto, place, sealed))).toBe('ERR_ANONNET_RECORD_INVALID')
    }
  })
})

describe('attack 26: bombs for the parser', () => {
  it('whatever the bytes are, the answer is one error', () => {
    const good = sealDescriptor(crypto, PLACE, descriptor())
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 300 }),
          fc.nat(good.length - 1).map((at) => good.map((byte, i) => (i === at ? byte ^ 1 : byte)))
        ),
        (bytes) => {
          expect(codeOf(() => openDescriptor(crypto, PLACE, bytes))).toBe('ERR_ANONNET_RECORD_INVALID')
        }
      ),
      { numRuns: 200 }
    )
    expect(codeOf(() => openDescriptor(crypto, PLACE, new Uint8Array(16 * 1024 + 1)))).toBe('ERR_ANONNET_RECORD_INVALID')
  })

  it('also inside of what opens: nested, long, of other types', () => {
    const bomb = [...Array<number>(100).fill(0x81), 0x01]
    for (const inner of [bomb, [0xa1, 0x61, 0x76], [0xfb, 0, 0, 0, 0, 0, 0, 0, 0], [0xf7], [0x9f, 0xff], [0x62, 0xff, 0xff]]) {
      const tampered = {
        ...crypto,
        seal: (key: Uint8Array, purpose: string, plain: Uint8Array) =>
          crypto.seal(key, purpose, purpose.includes('outer') && plain.length > 0 ? padded(inner, plain.length) : plain)
      }
      expect(codeOf(() => openDescriptor(crypto, PLACE, sealDescriptor(tampered, PLACE, descriptor())))).toBe('ERR_ANONNET_RECORD_INVALID')
      const deeper = {
        ...crypto,
        seal: (key: Uint8Array, purpose: string, plain: Uint8Array) =>
          crypto.seal(key, purpose, purpose.includes('inner') ? padded(inner, plain.length) : plain)
      }
      expect(codeOf(() => openDescriptor(crypto, PLACE, sealDescriptor(deeper, PLACE, descriptor())))).toBe('ERR_ANONNET_RECORD_INVALID')
    }
  })

  it('an introduction is 256 bytes and comes back; anything else is refused', () => {
    const written = {
      cookie: crypto.randomBytes(20),
      rendezvous: 'ab'.repeat(32),
      pow: { seedHead: crypto.randomBytes(4), nonce: crypto.randomBytes(16), effort: 7 }
    }
    for (const one of [written, { ...written, pow: undefined }]) {
      const bytes = writeIntroduction(one)
      expect(bytes.length).toBe(256)
      expect(readIntroduction(bytes)).toEqual(one)
      expect(codeOf(() => readIntroduction(bytes.subarray(1)))).toBe('ERR_ANONNET_RECORD_INVALID')
      expect(codeOf(() => readIntroduction(bytes.map((byte, at) => (at === 255 ? 1 : byte))))).toBe('ERR_ANONNET_RECORD_INVALID')
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(codeOf(() => readIntroduction(bytes))).toBe('ERR_ANONNET_RECORD_INVALID')
      })
    )
  })
})

function padded(bytes: readonly number[], size: number): Uint8Array {
  const all = Buffer.alloc(size)
  all.writeUInt32BE(bytes.length)
  all.set(bytes, 4)
  return all
}

describe('attack 43: how many clients are authorised', () => {
  it('a descriptor has the same size with 0, 1 and 16 of them, and the next with 17 to 32', () => {
    const sizeWith = (count: number) =>
      sealDescriptor(
        crypto,
        PLACE,
        descriptor(),
        clients(count).map((client) => client.publicKey)
      ).length
    expect(new Set([0, 1, 7, 16].map(sizeWith)).size).toBe(1)
    expect(new Set([17, 24, 32].map(sizeWith)).size).toBe(1)
  })

  it('to who knows the address the entries of 0 and of 16 clients look alike', () => {
    const outer: Uint8Array[] = []
    const spy = {
      ...crypto,
      seal: (key: Uint8Array, purpose: string, plain: Uint8Array) => {
        if (purpose.includes('outer') && plain.length > 0) outer.push(plain)
        return crypto.seal(key, purpose, plain)
      }
    }
    for (const count of [0, 16])
      sealDescriptor(
        spy,
        PLACE,
        descriptor(),
        clients(count).map((client) => client.publicKey)
      )
    const lengths = outer.map((plain) => Buffer.from(plain).readUInt32BE())
    expect(lengths[0]).toBe(lengths[1])
  })
})
