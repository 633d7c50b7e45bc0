import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { commonBits, compareDistance, idInBucket } from '../../../ts/dht/id.js'
import { ALPHA, BUCKET_SIZE, LOOKUP_PATHS, MAX_LOOKUP_QUERIES, MAX_PUBLISHERS_PER_KEY } from '../../../ts/dht/limits.js'
import { lookup } from '../../../ts/dht/lookup.js'
import { readFindReply, readStore } from '../../../ts/dht/messages.js'
import { issueRecord, parseRecord, type SignedRecord } from '../../../ts/dht/record.js'
import { RecordStore } from '../../../ts/dht/store.js'
import { type Contact, contactOf, RoutingTable } from '../../../ts/dht/table.js'
import { isAnonNetError } from '../../../ts/errors/index.js'
import { encodeCbor, Malformed, NARROW_PREFIX, prefixOf, sha256, toHex, WIDE_PREFIX } from '../../../ts/wire/index.js'
import { addressOf, DhtNetwork, makeSigner, START_S, verify } from '../../unit/dht/helpers.js'

const id = fc.uint8Array({ minLength: 32, maxLength: 32 })
const big = (bytes: Uint8Array) => BigInt(`0x${toHex(bytes)}`)
const sign = (value: number | bigint) => (value < 0 ? -1 : value > 0 ? 1 : 0)

/** Whether `run` returned or threw an error that it may throw. */
function tame(run: () => unknown): boolean {
  try {
    run()
    return true
  } catch (error) {
    if (isAnonNetError(error) || error instanceof Malformed) return false
    throw error
  }
}

describe('ids', () => {
  it('are ordered as XOR distances are', () => {
    fc.assert(
      fc.property(id, id, id, (target, a, b) => {
        const distance = (big(target) ^ big(a)) - (big(target) ^ big(b))
        expect(sign(compareDistance(target, a, b))).toBe(sign(distance))
      })
    )
  })

  it('made for a bucket are in it', () => {
    fc.assert(
      fc.property(id, fc.integer({ min: 0, max: 255 }), id, (self, bits, random) => {
        expect(commonBits(self, idInBucket(self, bits, random))).toBe(bits)
        expect(commonBits(self, self)).toBe(256)
      })
    )
  })
})

describe('records', () => {
  const fields = fc.record({
    type: fc.constant('data' as const),
    key: id.map(toHex),
    seq: fc.maxSafeNat(),
    issued: fc.nat(),
    ttl: fc.integer({ min: 1, max: 86_400 }),
    payload: fc.uint8Array({ maxLength: 2000 })
  })
  const signer = makeSigner(1)

  it('come back as issued', () => {
    fc.assert(
      fc.property(fields, (record) => {
        expect(parseRecord(issueRecord(record, signer).raw, verify).record).toEqual({ ...record, publisher: signer.publicKey })
      })
    )
  })

  it('changed anywhere, are refused with a typed error', () => {
    const good = issueRecord({ type: 'data', key: '11'.repeat(32), seq: 1, issued: START_S, ttl: 60, payload: new Uint8Array(40) }, signer)
    const flips = fc.array(fc.tuple(fc.nat(good.raw.length - 1), fc.integer({ min: 1, max: 255 })), { minLength: 1, maxLength: 3 })
    fc.assert(
      fc.property(flips, (changes) => {
        const bytes = new Uint8Array(good.raw)
        for (const [at, mask] of changes) bytes[at] = (bytes[at] ?? 0) ^ mask
        fc.pre(Buffer.compare(bytes, good.raw) !== 0)
        expect(tame(() => parseRecord(bytes, verify))).toBe(false)
      }),
      { numRuns: 400 }
    )
    fc.assert(fc.property(fc.nat(good.raw.length - 1), (length) => !tame(() => parseRecord(good.raw.subarray(0, length), verify))))
  })

  it('and messages of any bytes or values give a typed error', () => {
    const net = new DhtNetwork()
    const { node } = net.add(1)
    const names = fc.constantFrom('target', 'key', 'record', 'token', 'nodes', 'records', '__proto__')
    const values = fc.oneof(id, fc.uint8Array({ maxLength: 30 }), fc.array(fc.tuple(id, fc.string())), fc.anything())
    const method = fc.constantFrom('dht.ping', 'dht.findNode', 'dht.findValue', 'dht.store', 'dht.x')
    fc.assert(
      fc.property(
        method,
        fc.oneof(fc.dictionary(names, values), fc.anything()),
        fc.uint8Array({ maxLength: 300 }),
        (name, value, bytes) => {
          tame(() => node.handle(name, value, { nodeId: 'ab'.repeat(32), address: '10.0.0.1:1' }))
          tame(() => readFindReply(value))
          tame(() => readStore(value))
          tame(() => parseRecord(bytes, () => true))
          tame(() => parseRecord(encodeCbor([bytes, new Uint8Array(64)]), () => true))
        }
      ),
      { numRuns: 1000 }
    )
  })
})

describe('the routing table', () => {
  // Few ids and few prefixes, so that everything collides.
  const contact = fc
    .tuple(fc.nat(60), fc.integer({ min: 1, max: 3 }), fc.nat(3), fc.nat(9))
    .map(([name, a, b, c]) => contactOf({ nodeId: toHex(sha256(Uint8Array.of(name))), address: `10.${a}.${b}.${c + 1}:1` }))
  const step = fc.oneof(
    fc.record({ kind: fc.constant('seen' as const), contact }),
    fc.record({ kind: fc.constant('failed' as const), contact, gone: fc.boolean() })
  )

  it('never holds more than its limits allow, and gives every place back', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const table = new RoutingTable(new Uint8Array(32))
        const limits = { narrow: 2, wide: 8 }
        steps.forEach((one, index) => {
          if (one.kind === 'seen') table.seen(one.contact, index)
          else table.failed(one.contact.nodeId, one.gone)
          const contacts = table.contacts()
          expect(new Set(contacts.map((other) => other.nodeId)).size).toBe(contacts.length)
          for (const [bits, limit] of [
            [NARROW_PREFIX, limits.narrow],
            [WIDE_PREFIX, limits.wide]
          ] as const) {
            const counts = countBy(contacts.map((other) => prefixOf(other.address, bits)))
            expect(Math.max(0, ...counts)).toBeLessThanOrEqual(limit)
          }
          for (const count of countBy(contacts.map((other) => String(commonBits(table.self, other.id)))))
            expect(count).toBeLessThanOrEqual(BUCKET_SIZE)
        })
        for (const other of table.contacts()) table.failed(other.nodeId, true)
        expect(table.size).toBe(0)
        // All places are free again.
        expect(table.seen(contactOf({ nodeId: 'ff'.repeat(32), address: '10.1.0.1:1' }), 1).kind).toBe('added')
      }),
      { numRuns: 100 }
    )
  })

  it('gives the closest contacts, closest first', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(5000), { maxLength: 60 }), id, fc.nat(20), (names, target, count) => {
        const table = new RoutingTable(new Uint8Array(32), { narrow: 1000, wide: 1000 })
        for (const name of names) table.seen(contactOf({ nodeId: toHex(sha256(Buffer.from(`${name}`))), address: addressOf(name) }), 1)
        const all = table.contacts().map((contact) => big(contact.id) ^ big(target))
        const closest = table.closest(target, count).map((contact) => big(contact.id) ^ big(target))
        expect(closest).toEqual(all.sort((a, b) => sign(a - b)).slice(0, count))
      }),
      { numRuns: 60 }
    )
  })
})

describe('the store', () => {
  const put = fc.record({
    key: fc.nat(8),
    publisher: fc.nat(20),
    seq: fc.nat(4),
    ttl: fc.integer({ min: 1, max: 50 }),
    prefix: fc.nat(4),
    far: fc.boolean()
  })
  const template = issueRecord(
    { type: 'data', key: '00'.repeat(32), seq: 1, issued: START_S, ttl: 60, payload: new Uint8Array(1) },
    makeSigner(1)
  )
  const keyOf = (key: number) => toHex(sha256(Uint8Array.of(key)))
  const make = (one: { key: number; publisher: number; seq: number; ttl: number }): SignedRecord => ({
    ...template,
    publisher: String(one.publisher),
    digest: JSON.stringify(one),
    record: { ...template.record, key: keyOf(one.key), seq: one.seq, ttl: one.ttl }
  })

  it('keeps within its room, never goes back to a lower seq, never returns what has expired', () => {
    fc.assert(
      fc.property(fc.array(put, { maxLength: 120 }), (puts) => {
        const far = new Set<string>()
        const store = new RecordStore((key) => far.has(key), { records: 20, bytes: 1e6 })
        puts.forEach((one, index) => {
          const nowMs = START_S * 1000 + index * 300
          if (one.far) far.add(keyOf(one.key))
          const before = store.get(keyOf(one.key), nowMs).find((signed) => signed.publisher === String(one.publisher))
          const stored = tame(() => store.put(make(one), `p${one.prefix}`, nowMs))
          const found = store.get(keyOf(one.key), nowMs)
          const after = found.find((signed) => signed.publisher === String(one.publisher))
          if (stored) expect(after?.record.seq).toBe(one.seq)
          else expect(after?.record.seq).toBe(before?.record.seq)
          if (before && stored) expect(one.seq).toBeGreaterThanOrEqual(before.record.seq)
          for (const signed of found) expect(nowMs).toBeLessThan((START_S + signed.record.ttl) * 1000)
          expect(found.length).toBeLessThanOrEqual(MAX_PUBLISHERS_PER_KEY)
          expect(store.size).toBeLessThanOrEqual(12)
        })
        store.cleanUp(START_S * 1000 + 60_000)
        expect(store.size).toBe(0)
      }),
      { numRuns: 150 }
    )
  })
})

describe('a lookup', () => {
  it('ends, asks no node twice, stays within its bounds, and finds the closest of those that answer', async () => {
    const scenario = fc.record({
      seed: fc.nat(1000),
      count: fc.integer({ min: 1, max: 80 }),
      dead: fc.array(fc.nat(79), { maxLength: 30 })
    })
    await fc.assert(
      fc.asyncProperty(scenario, async ({ seed, count, dead }) => {
        const contacts = Array.from({ length: count }, (_, index) =>
          contactOf({ nodeId: toHex(sha256(Buffer.from(`${seed}/${index}`))), address: addressOf(index) })
        )
        const target = sha256(Buffer.from(`target ${seed}`))
        const self = sha256(Buffer.from('self'))
        const asked: string[] = []
        let running = 0
        const query = async (contact: Contact) => {
          asked.push(contact.nodeId)
          expect(++running).toBeLessThanOrEqual(LOOKUP_PATHS * ALPHA)
          await Promise.resolve()
          running--
          if (dead.includes(contacts.findIndex((other) => other.nodeId === contact.nodeId))) throw new Error('dead')
          const nodes = [...contacts].sort((a, b) => compareDistance(target, a.id, b.id)).slice(0, BUCKET_SIZE)
          return { nodes, hasValue: false }
        }
        const result = await lookup({ target, self, start: contacts.slice(0, 20), prefixLimits: { narrow: 2, wide: 8 }, query })
        expect(new Set(asked).size).toBe(asked.length)
        expect(asked.length).toBeLessThanOrEqual(MAX_LOOKUP_QUERIES)
        expect(result.asked).toBe(asked.length)
        const alive = contacts.filter((_, index) => !dead.includes(index)).sort((a, b) => compareDistance(target, a.id, b.id))
        const [best] = alive.filter((contact) => asked.includes(contact.nodeId))
        expect(result.closest[0]?.nodeId).toBe(best?.nodeId)
      }),
      { numRuns: 60 }
    )
  })
})

function countBy(names: readonly string[]): number[] {
  const counts = new Map<string, number>()
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1)
  return [...counts.values()]
}
