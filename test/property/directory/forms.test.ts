/** Round trips of every form, and foreign bytes: a typed error or a value, never anything else. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Agreement } from '../../../ts/directory/agreement.js'
import { parseDescriptor } from '../../../ts/directory/descriptor.js'
import { applyDiff, diff } from '../../../ts/directory/difference.js'
import { encodeBody, encodeList, listMessage, majorityOf, verifyList } from '../../../ts/directory/list.js'
import type { RelayDescriptor, Roles, Signer } from '../../../ts/directory/types.js'
import { DescriptorCache, parseVote } from '../../../ts/directory/vote.js'
import { isAnonNetError } from '../../../ts/errors/index.js'
import { decodeCbor, encodeCbor, nodeIdOf, parseAddress, prefixOf, sha256, toHex } from '../../../ts/wire/index.js'
import { INTERVAL_MS, makeDescriptor, makeSigner, START_S, verify } from '../../unit/directory/helpers.js'

const signer = makeSigner(1)
const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 })
const hexId = bytes32.map(toHex)
const port = fc.integer({ min: 1, max: 65535 })
const address = fc.oneof(
  fc.tuple(fc.ipV4(), port).map(([ip, number]) => `${ip}:${number}`),
  fc.tuple(fc.ipV6(), port).map(([ip, number]) => `[${ip}]:${number}`)
)
const policyLine = fc
  .tuple(
    fc.constantFrom('accept', 'reject'),
    fc.oneof(
      fc.constant('*'),
      fc.ipV4(),
      fc.ipV4().map((ip) => `${ip}/16`)
    ),
    port,
    port
  )
  .map(([word, host, a, b]) => `${word} ${host}:${Math.min(a, b)}-${Math.max(a, b)}`)

const facts: fc.Arbitrary<Partial<RelayDescriptor>> = fc.record({
  onionKey: bytes32,
  address,
  roles: fc.record<Roles>({ relay: fc.boolean(), exit: fc.boolean(), guard: fc.boolean(), dht: fc.boolean() }),
  exitPolicy: fc.array(policyLine, { maxLength: 32 }),
  family: fc.array(hexId, { maxLength: 32 }),
  versions: fc
    .uniqueArray(fc.integer({ min: 1, max: 65535 }), { minLength: 1, maxLength: 16 })
    .map((versions) => versions.sort((a, b) => a - b)),
  bandwidth: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
  issued: fc.nat(),
  lifetime: fc.integer({ min: 10, max: 10_800 }),
  seq: fc.maxSafeNat()
})

/** The result, or undefined for a typed error; anything else that is thrown fails the test. */
function typed<T>(run: () => T): T | undefined {
  try {
    return run()
  } catch (error) {
    if (isAnonNetError(error)) return undefined
    throw error
  }
}

/** Good bytes with some of them changed, removed or added. */
function mutated(good: Uint8Array): fc.Arbitrary<Uint8Array> {
  const change = fc.tuple(fc.nat(good.length - 1), fc.nat(255), fc.constantFrom('set', 'cut', 'insert'))
  return fc.array(change, { minLength: 1, maxLength: 4 }).map((changes) => {
    let bytes = [...good]
    for (const [at, value, how] of changes) {
      if (how === 'set') bytes[at % bytes.length] = value
      else if (how === 'insert') bytes.splice(at, 0, value)
      else bytes = [...bytes.slice(0, at), ...bytes.slice(at + 1 + (value % 8))]
    }
    return Uint8Array.from(bytes)
  })
}

describe('descriptors', () => {
  it('come back as issued', () => {
    fc.assert(
      fc.property(facts, (overrides) => {
        const { descriptor } = parseDescriptor(makeDescriptor(signer, overrides), verify)
        expect(descriptor).toMatchObject(overrides)
        expect(descriptor.nodeId).toBe(nodeIdOf(signer.publicKey))
      })
    )
  })

  it('changed anywhere, are refused with a typed error', () => {
    const good = makeDescriptor(signer)
    fc.assert(
      fc.property(mutated(good), (bytes) => {
        const parsed = typed(() => parseDescriptor(bytes, verify))
        // Only what is still the same body and signature may pass.
        if (parsed) expect(parsed.descriptor).toEqual(parseDescriptor(good, verify).descriptor)
      }),
      { numRuns: 400 }
    )
  })
})

describe('foreign bytes', () => {
  const voters = new Set([toHex(signer.publicKey)])
  const keys = [1, 2, 3].map((seed) => makeSigner(seed).publicKey)
  const list = signed(
    [10, 11],
    [1, 2, 3].map((seed) => makeSigner(seed))
  )
  const next = signed(
    [10, 12],
    [1, 2, 3].map((seed) => makeSigner(seed))
  )

  it('of any kind give a typed error', () => {
    const cache = new DescriptorCache(() => true)
    const anything = fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.anything({ maxDepth: 4 }).map(encodeAnything))
    fc.assert(
      fc.property(anything, (bytes) => {
        typed(() => parseDescriptor(bytes, () => true))
        typed(() => parseVote(bytes, INTERVAL_MS, voters, cache))
        typed(() => verifyList(bytes, keys, START_S * 1000, () => true))
        typed(() => applyDiff(list, bytes))
        typed(() => applyDiff(bytes, bytes))
        typed(() => diff(list, bytes))
      }),
      { numRuns: 500 }
    )
  })

  it('near good lists and differences give a typed error or the same list', () => {
    const nowMs = START_S * 1000
    const want = verifyList(list, keys, nowMs, verify)
    fc.assert(
      fc.property(mutated(list), (bytes) => {
        const parsed = typed(() => verifyList(bytes, keys, nowMs, verify))
        if (parsed) expect(parsed.relays).toEqual(want.relays)
      }),
      { numRuns: 300 }
    )
    const difference = diff(list, next)
    fc.assert(
      fc.property(mutated(difference), (bytes) => {
        const made = typed(() => applyDiff(list, bytes))
        const parsed = made && typed(() => verifyList(made, keys, nowMs, verify))
        if (parsed) expect(parsed.digest).toBe(toHex(sha256((decodeCbor(next, LOOSE) as [Uint8Array])[0])))
      }),
      { numRuns: 300 }
    )
  })

  it('as params of any request give a typed error or an answer', () => {
    const bootstraps = keys.map((publicKey, index) => ({ publicKey, address: `127.0.${index}.1:1` }))
    const agreement = new Agreement({ bootstraps, self: makeSigner(1), verify, intervalMs: INTERVAL_MS })
    const from = { nodeId: nodeIdOf(keys[1]!), address: '127.0.1.1:1' }
    const fields = fc.constantFrom('interval', 'have', 'votes', 'list', 'digest', 'signatures', 'descriptor', '__proto__', 'constructor')
    const values = fc.oneof(
      fc.nat(10),
      fc.constant(START_S / 2),
      fc.uint8Array({ maxLength: 64 }),
      fc.array(fc.uint8Array({ maxLength: 40 })),
      fc.anything()
    )
    const params = fc.oneof(fc.dictionary(fields, values), fc.anything())
    const method = fc.constantFrom('desc.publish', 'list.get', 'vote.exchange', 'vote.signature', 'other')
    fc.assert(
      fc.property(method, params, (name, value) => {
        typed(() => agreement.handle(name, value, from, START_S * 1000))
      }),
      { numRuns: 1000 }
    )
  })
})

describe('lists', () => {
  it('hold exactly when distinct configured keys that are a strict majority signed', () => {
    const pool = Array.from({ length: 10 }, (_, index) => makeSigner(index + 1))
    fc.assert(
      fc.property(
        fc.integer({ min: 3, max: 7 }),
        fc.array(fc.nat(9), { maxLength: 14 }),
        fc.array(fc.nat(13)),
        (count, signing, broken) => {
          const keys = pool.slice(0, count).map((one) => one.publicKey)
          const bytes = signed(
            [10],
            signing.map((index) => pool[index]!),
            (index) => !broken.includes(index)
          )
          // A key counts by its first signature; a wrong one there is no second chance.
          const good = new Set<number>()
          const seen = new Set<number>()
          signing.forEach((who, index) => {
            if (who < count && !seen.has(who) && !broken.includes(index)) good.add(who)
            seen.add(who)
          })
          const accepted = typed(() => verifyList(bytes, keys, START_S * 1000, verify)) !== undefined
          expect(accepted).toBe(good.size >= majorityOf(count))
        }
      ),
      { numRuns: 200 }
    )
  })

  it('are what a difference makes of any other list', () => {
    const seeds = fc.uniqueArray(fc.nat(14), { maxLength: 12 })
    fc.assert(
      fc.property(seeds, seeds, fc.nat(3), (a, b, heavier) => {
        const old = signed(a, [signer])
        const next = signed(b, [signer], undefined, heavier)
        expect(applyDiff(old, diff(old, next))).toEqual(next)
      }),
      { numRuns: 60 }
    )
  })
})

describe('addresses', () => {
  it('of every form are parsed, and share a prefix with themselves', () => {
    fc.assert(
      fc.property(address, (text) => {
        expect([4, 16]).toContain(parseAddress(text).ip.length)
        expect(prefixOf(text, { v4: 24, v6: 48 })).toMatch(/^[46]:[0-9a-f]+$/)
      })
    )
  })
})

const LOOSE = { maxBytes: 1e7, maxDepth: 16, maxItems: 1e5 }
const DESCRIPTORS = Array.from({ length: 15 }, (_, index) => {
  const relay = makeSigner(index + 100)
  return { id: nodeIdOf(relay.publicKey), raw: makeDescriptor(relay) }
})

/** A list of some relays, signed by some; `good` says which signatures are right. */
function signed(
  relays: readonly number[],
  signers: readonly Signer[],
  good: (index: number) => boolean = () => true,
  heavier = 0
): Uint8Array {
  const entries = relays
    .map((index) => DESCRIPTORS[index]!)
    .sort((a, b) => (a.id < b.id ? -1 : 1))
    .map((relay, index) => ({ descriptor: relay.raw, weight: index % 2 === 0 ? 5 : 5 + heavier, firstSeen: START_S }))
  const validAfterMs = START_S * 1000
  const head = { interval: 7, validAfterMs, freshUntilMs: validAfterMs + 1000, validUntilMs: validAfterMs + 9000, votes: [] }
  const body = encodeBody({ head, entries })
  const message = listMessage(sha256(body))
  return encodeList(
    body,
    signers.map((one, index) => [one.publicKey, good(index) ? one.sign(message) : new Uint8Array(64)] as const)
  )
}

function encodeAnything(value: unknown): Uint8Array {
  try {
    return encodeCbor(value)
  } catch {
    return new Uint8Array(1)
  }
}
