/** The class of records that services use: what a store, a lookup and a STORE accept of it. */
import { describe, expect, it } from 'vitest'
import { MAX_PAYLOAD_BYTES } from '../../../ts/dht/limits.js'
import { type DhtRecord, issueRecord, parseRecord, type SignedRecord } from '../../../ts/dht/record.js'
import { RecordStore } from '../../../ts/dht/store.js'
import {
  periodOf,
  periodStartS,
  SERVICE_OVERLAP_S,
  SERVICE_PERIOD_S,
  SERVICE_REPLICAS,
  SERVICE_TTL_S,
  serviceKey,
  toHex
} from '../../../ts/wire/index.js'
import { makeService, plainCrypto } from '../services/crypto.js'
import { codeOf, codeOfAsync, DhtNetwork, makeSigner, START_S, verify } from './helpers.js'

const crypto = plainCrypto()
const { seed, publicKey } = makeService()
const PERIOD = periodOf(START_S * 1000)
const NOW_MS = START_S * 1000

function record(overrides: Partial<Omit<DhtRecord, 'publisher'>> & { period?: number; replica?: number } = {}): SignedRecord {
  const { period = PERIOD, replica = 0, ...rest } = overrides
  const blinded = crypto.blind(publicKey, period)
  return issueRecord(
    {
      type: 'service',
      key: serviceKey(blinded, replica),
      seq: 5,
      issued: periodStartS(period),
      ttl: SERVICE_TTL_S,
      payload: Buffer.from('sealed'),
      ...rest
    },
    { publicKey: blinded, sign: (message) => crypto.sign(seed, period, message) }
  )
}

const taken = (signed: SignedRecord, nowMs: number) => new RecordStore(() => false).put(signed, 'p', nowMs)
const put = (signed: SignedRecord, nowMs = NOW_MS, store = new RecordStore(() => false)) => codeOf(() => store.put(signed, 'p', nowMs))

describe('attack 25: a service record of another key or period', () => {
  it('lies only where its blinded key says', () => {
    for (let replica = 0; replica < SERVICE_REPLICAS; replica++) {
      const good = record({ replica })
      expect(toHex(parseRecord(good.raw, verify).record.publisher)).toBe(toHex(crypto.blind(publicKey, PERIOD)))
    }
    const wrong = [
      { key: '11'.repeat(32) },
      { replica: SERVICE_REPLICAS },
      { key: serviceKey(crypto.blind(publicKey, PERIOD + 1), 0) },
      { key: serviceKey(publicKey, 0) }
    ]
    for (const overrides of wrong) expect(codeOf(() => record(overrides))).toBe('ERR_ANONNET_RECORD_INVALID')
  })

  it('nobody else can sign one for it', () => {
    const thief = makeSigner(9)
    const { key } = record().record
    const forged = () =>
      issueRecord(
        { type: 'service', key, seq: 99, issued: periodStartS(PERIOD), ttl: SERVICE_TTL_S, payload: new Uint8Array(1) },
        { publicKey: crypto.blind(publicKey, PERIOD), sign: thief.sign }
      )
    expect(codeOf(() => parseRecord(forged().raw, verify))).toBe('ERR_ANONNET_RECORD_INVALID')
    expect(
      codeOf(() =>
        issueRecord({ type: 'service', key, seq: 99, issued: periodStartS(PERIOD), ttl: SERVICE_TTL_S, payload: new Uint8Array(1) }, thief)
      )
    ).toBe('ERR_ANONNET_RECORD_INVALID')
  })
})

describe('attack 24: replay and rollback of a service record', () => {
  it('an older revision, or another one of the same number, does not replace what is there', () => {
    const store = new RecordStore(() => false)
    store.put(record({ seq: 8 }), 'p', NOW_MS)
    expect(put(record({ seq: 7 }), NOW_MS, store)).toBe('ERR_ANONNET_RECORD_INVALID')
    expect(put(record({ seq: 8, payload: Buffer.from('other') }), NOW_MS, store)).toBe('ERR_ANONNET_RECORD_INVALID')
    store.put(record({ seq: 9 }), 'p', NOW_MS)
    expect(store.get(record().record.key, NOW_MS)[0]?.record.seq).toBe(9)
  })

  it('one of another day is not taken, and not returned', () => {
    for (const period of [PERIOD - 2, PERIOD + 2]) expect([period, put(record({ period }))]).toEqual([period, 'ERR_ANONNET_RECORD_INVALID'])
    const startMs = periodStartS(PERIOD) * 1000
    const [earlyMs, lateMs] = [startMs - SERVICE_OVERLAP_S * 1000, startMs + (SERVICE_PERIOD_S + SERVICE_OVERLAP_S) * 1000]
    expect(put(record(), earlyMs - 1)).toBe('ERR_ANONNET_RECORD_INVALID')
    taken(record(), earlyMs)
    taken(record(), lateMs - 1)
    expect(put(record(), lateMs)).toBe('ERR_ANONNET_RECORD_INVALID')
  })

  it('what is not stored anew goes after three hours, whatever it says; what is stored anew stays', () => {
    const store = new RecordStore(() => false)
    const { key } = record().record
    store.put(record(), 'p', NOW_MS)
    const ttlMs = SERVICE_TTL_S * 1000
    expect(store.get(key, NOW_MS + ttlMs - 1)).toHaveLength(1)
    expect(store.get(key, NOW_MS + ttlMs)).toHaveLength(0)
    store.put(record(), 'q', NOW_MS + ttlMs - 1)
    expect(store.get(key, NOW_MS + 2 * ttlMs - 2)).toHaveLength(1)
    for (const ttl of [1, SERVICE_TTL_S - 1, SERVICE_TTL_S + 1]) expect(codeOf(() => record({ ttl }))).toBe('ERR_ANONNET_RECORD_INVALID')
    expect(codeOf(() => record({ issued: START_S }))).toBe('ERR_ANONNET_RECORD_INVALID')
  })

  it('one over 16 KiB is refused before anything else', () => {
    taken(record({ payload: new Uint8Array(MAX_PAYLOAD_BYTES) }), NOW_MS)
    expect(codeOf(() => record({ payload: new Uint8Array(MAX_PAYLOAD_BYTES + 1) }))).toBe('ERR_ANONNET_RECORD_INVALID')
  })
})

describe('a last hop that asks for services', () => {
  it('stores what it is given around the key, and finds the newest of it', async () => {
    const net = new DhtNetwork()
    await net.grow(40)
    net.nowMs = NOW_MS
    const [first, second, third] = [net.nodes[3]!.node, net.nodes[20]!.node, net.nodes[33]!.node]
    expect(await first.storeService(record({ seq: 5 }).raw)).toBeGreaterThanOrEqual(8)
    expect(await second.storeService(record({ seq: 6 }).raw)).toBeGreaterThanOrEqual(8)
    const found = parseRecord(await third.findService(record().record.key), verify)
    expect(found.record.seq).toBe(6)
    // Only those that have not the newer one can be given the older one again, and who asks takes the newer.
    expect(await first.storeService(record({ seq: 5 }).raw)).toBeLessThan(8)
    expect(parseRecord(await third.findService(record().record.key), verify).record.seq).toBe(6)
    expect(await codeOfAsync(() => third.findService(record({ replica: 1 }).record.key))).toBe('ERR_ANONNET_NOT_FOUND')
  }, 30_000)

  it('finds it among data records of many publishers under the same key, and hears of nothing but it', async () => {
    const net = new DhtNetwork()
    await net.grow(40)
    net.nowMs = NOW_MS
    const { key } = record().record
    await net.nodes[3]!.node.storeService(record().raw)
    const large = new Uint8Array(MAX_PAYLOAD_BYTES)
    const buried = Array.from({ length: 4 }, (_, index) =>
      issueRecord({ type: 'data', key, seq: 1, issued: START_S, ttl: 3_600, payload: large }, makeSigner(500 + index))
    )
    // Everywhere: whoever keeps the service's record, and whoever never got it.
    for (const { node } of net.nodes) for (const signed of buried) node.store.put(signed, 'q', NOW_MS)
    expect(parseRecord(await net.nodes[33]!.node.findService(key), verify).record.seq).toBe(5)
    const keepers = net.nodes.filter(({ node }) => node.store.get(key, NOW_MS).some((signed) => signed.record.type === 'service'))
    expect(keepers.length).toBeGreaterThanOrEqual(8)
    for (const { node } of keepers) expect(node.store.get(key, NOW_MS)).toHaveLength(1)
    // Where nobody has it they are no service.
    const other = record({ replica: 1 }).record.key
    const elsewhere = issueRecord({ type: 'data', key: other, seq: 1, issued: START_S, ttl: 3_600, payload: large }, makeSigner(600))
    for (const { node } of net.nodes) node.store.put(elsewhere, 'q', NOW_MS)
    expect(await codeOfAsync(() => net.nodes[33]!.node.findService(other))).toBe('ERR_ANONNET_NOT_FOUND')
  }, 30_000)

  it('stores nothing else for anybody', async () => {
    const net = new DhtNetwork()
    await net.grow(4)
    const other = issueRecord(
      { type: 'data', key: '11'.repeat(32), seq: 1, issued: START_S, ttl: 60, payload: new Uint8Array(1) },
      makeSigner(5)
    )
    expect(await codeOfAsync(() => net.nodes[0]!.node.storeService(other.raw))).toBe('ERR_ANONNET_RECORD_INVALID')
    expect(await codeOfAsync(() => net.nodes[0]!.node.storeService(new Uint8Array(20)))).toBe('ERR_ANONNET_RECORD_INVALID')
    expect(await codeOfAsync(() => net.nodes[0]!.node.storeService(record({ period: PERIOD - 2 }).raw))).toBe('ERR_ANONNET_RECORD_INVALID')
  })
})
