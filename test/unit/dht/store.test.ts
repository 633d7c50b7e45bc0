import { describe, expect, it } from 'vitest'
import { idInBucket } from '../../../ts/dht/id.js'
import {
  BUCKET_SIZE,
  FAR_BITS,
  MAX_PUBLISHED_RECORDS,
  MAX_PUBLISHERS_PER_KEY,
  MAX_RECORD_TTL_S,
  TOKEN_LIFETIME_MS
} from '../../../ts/dht/limits.js'
import { Publications } from '../../../ts/dht/publications.js'
import { issueRecord, type SignedRecord } from '../../../ts/dht/record.js'
import { RecordStore } from '../../../ts/dht/store.js'
import { contactOf } from '../../../ts/dht/table.js'
import { TokenKey } from '../../../ts/dht/token.js'
import { sha256, toHex } from '../../../ts/wire/index.js'
import { addressOf, codeOf, codeOfAsync, DhtNetwork, makeSigner, START_S, seededBytes } from './helpers.js'

const NOW_MS = START_S * 1000
const keyOf = (name: string) => toHex(sha256(Buffer.from(name)))

function make(seed: number, name: string, overrides: { seq?: number; ttl?: number; payload?: Uint8Array } = {}): SignedRecord {
  return issueRecord(
    { type: 'data', key: keyOf(name), seq: 1, issued: START_S, ttl: 600, payload: Buffer.from('x'), ...overrides },
    makeSigner(seed)
  )
}

/** A store with room for five data records. */
function small(isFar: (key: string) => boolean = () => false): RecordStore {
  return new RecordStore(isFar, { records: 18, bytes: 2e6 })
}

const held = (store: RecordStore, names: readonly string[], nowMs = NOW_MS) =>
  names.filter((name) => store.get(keyOf(name), nowMs).length > 0)

describe('the store makes room', () => {
  it('by what has expired first', () => {
    const store = small()
    ;['a', 'b', 'c', 'd', 'e', 'f'].slice(0, 5).forEach((name, index) => {
      store.put(make(1, name, { ttl: name === 'c' ? 60 : 600 }), `p${index}`, NOW_MS)
    })
    store.put(make(1, 'new', { ttl: 70 }), 'p0', NOW_MS + 61_000)
    expect(held(store, ['a', 'b', 'c', 'd', 'e', 'new'], NOW_MS + 61_000)).toEqual(['a', 'b', 'd', 'e', 'new'])
  })

  it('then by what is far outside the radius, and takes nothing far itself', () => {
    const far = new Set([keyOf('c'), keyOf('far')])
    const store = small((key) => far.has(key))
    for (const name of ['a', 'b', 'c', 'd', 'e']) store.put(make(1, name), `p-${name}`, NOW_MS)
    expect(codeOf(() => store.put(make(1, 'far'), 'q', NOW_MS))).toBe('ERR_ANONNET_RESOURCE_LIMIT')
    store.put(make(1, 'new', { ttl: 60 }), 'p-a', NOW_MS)
    expect(held(store, ['a', 'b', 'c', 'd', 'e', 'new'])).toEqual(['a', 'b', 'd', 'e', 'new'])
  })

  it('judges anew what is far when it cleans up', () => {
    const far = new Set<string>()
    const store = small((key) => far.has(key))
    for (const name of ['a', 'b', 'c', 'd', 'e']) store.put(make(1, name), `p-${name}`, NOW_MS)
    far.add(keyOf('b'))
    expect(store.cleanUp(NOW_MS)).toBe(0)
    store.put(make(1, 'new'), 'q', NOW_MS)
    expect(held(store, ['a', 'b', 'new'])).toEqual(['a', 'new'])
    far.clear()
    store.cleanUp(NOW_MS)
    expect(store.cleanUp(NOW_MS + 600_000)).toBe(5)
    expect(store.size).toBe(0)
  })

  it('then by the heaviest prefix, of which the shortest ttl goes', () => {
    const store = small()
    store.put(make(1, 'light', { ttl: 10 }), 'light', NOW_MS)
    ;[300, 100, 200, 400].forEach((ttl, index) => {
      store.put(make(1, `heavy${index}`, { ttl }), 'heavy', NOW_MS)
    })
    store.put(make(1, 'new', { ttl: 20 }), 'new', NOW_MS)
    expect(held(store, ['light', 'heavy0', 'heavy1', 'heavy2', 'heavy3', 'new'])).toEqual(['light', 'heavy0', 'heavy2', 'heavy3', 'new'])
    // The heaviest prefix only replaces its own, and only by what lives longer.
    expect(codeOf(() => store.put(make(1, 'heavy4', { ttl: 150 }), 'heavy', NOW_MS))).toBe('ERR_ANONNET_RESOURCE_LIMIT')
    store.put(make(1, 'heavy5', { ttl: 250 }), 'heavy', NOW_MS)
    expect(held(store, ['light', 'heavy0', 'heavy2', 'heavy5', 'new'])).toEqual(['light', 'heavy0', 'heavy5', 'new'])
  })

  it('last by the shortest ttl of all, among equally heavy prefixes', () => {
    const store = small()
    ;[300, 100, 200, 400, 500].forEach((ttl, index) => {
      store.put(make(1, `k${index}`, { ttl }), `p${index}`, NOW_MS)
    })
    expect(codeOf(() => store.put(make(1, 'short', { ttl: 50 }), 'q', NOW_MS))).toBe('ERR_ANONNET_RESOURCE_LIMIT')
    store.put(make(1, 'new', { ttl: 150 }), 'q', NOW_MS)
    expect(held(store, ['k0', 'k1', 'k2', 'k3', 'k4', 'new'])).toEqual(['k0', 'k2', 'k3', 'k4', 'new'])
  })

  it('by bytes as well as by number, and keeps the old version of what it refuses', () => {
    const store = new RecordStore(() => false, { records: 200, bytes: 10_000 })
    store.put(make(1, 'a', { payload: new Uint8Array(2000), ttl: 300 }), 'p', NOW_MS)
    expect(codeOf(() => store.put(make(1, 'b', { payload: new Uint8Array(2000), ttl: 100 }), 'p', NOW_MS))).toBe(
      'ERR_ANONNET_RESOURCE_LIMIT'
    )
    expect(codeOf(() => store.put(make(1, 'a', { payload: new Uint8Array(4000), seq: 2 }), 'p', NOW_MS))).toBe('ERR_ANONNET_RESOURCE_LIMIT')
    expect(store.get(keyOf('a'), NOW_MS)[0]!.record.seq).toBe(1)
    store.put(make(1, 'a', { payload: new Uint8Array(2500), seq: 2 }), 'p', NOW_MS)
    expect(store.get(keyOf('a'), NOW_MS)[0]!.record.seq).toBe(2)
    expect(store.size).toBe(1)
  })

  it('keeps at most 16 publishers of a key, spread over prefixes', () => {
    const store = new RecordStore(() => false)
    store.put(make(1, 'k', { ttl: 60 }), 'honest', NOW_MS)
    for (let seed = 2; seed < 40; seed++) {
      try {
        store.put(make(seed, 'k', { ttl: 600 + seed }), 'hostile', NOW_MS)
      } catch {
        // no room
      }
    }
    const found = store.get(keyOf('k'), NOW_MS)
    expect(found).toHaveLength(MAX_PUBLISHERS_PER_KEY)
    expect(found.some((signed) => signed.record.ttl === 60)).toBe(true)
    expect(codeOf(() => store.put(make(99, 'k', { ttl: 60 }), 'hostile', NOW_MS))).toBe('ERR_ANONNET_RESOURCE_LIMIT')
  })

  it('counts a record that came from two prefixes for the lighter one', () => {
    const store = small()
    const victim = make(1, 'victim', { ttl: 10 })
    for (const name of ['a', 'b', 'c']) store.put(make(2, name, { ttl: 300 }), 'heavy', NOW_MS)
    // The flooder copies the victim's record first, from its own prefix.
    store.put(victim, 'heavy', NOW_MS)
    store.put(victim, 'light', NOW_MS)
    store.put(make(2, 'd', { ttl: 400 }), 'heavy', NOW_MS)
    store.put(make(2, 'e', { ttl: 400 }), 'heavy', NOW_MS)
    expect(held(store, ['victim'])).toEqual(['victim'])
    store.put(victim, 'heavy', NOW_MS)
    store.put(make(2, 'f', { ttl: 500 }), 'heavy', NOW_MS)
    expect(held(store, ['victim'])).toEqual(['victim'])
  })
})

describe('tokens', () => {
  it('hold for ten minutes, for the asker, with this key', () => {
    const key = new TokenKey(new Uint8Array(32).fill(1))
    const token = key.issue('aa', NOW_MS)
    expect(key.accepts(token, 'aa', NOW_MS)).toBe(true)
    expect(key.accepts(token, 'aa', NOW_MS + TOKEN_LIFETIME_MS)).toBe(true)
    expect(key.accepts(token, 'aa', NOW_MS + TOKEN_LIFETIME_MS + 1)).toBe(false)
    expect(key.accepts(token, 'aa', NOW_MS - 60_000)).toBe(false)
    expect(key.accepts(token, 'bb', NOW_MS)).toBe(false)
    expect(new TokenKey(new Uint8Array(32).fill(2)).accepts(token, 'aa', NOW_MS)).toBe(false)
    expect(key.accepts(token.with(0, 9), 'aa', NOW_MS)).toBe(false)
  })
})

describe('the radius', () => {
  it('ends 4 bits beyond the 16 nodes nearest to us, and has no end while we know fewer', () => {
    const { node } = new DhtNetwork().add(1)
    const random = seededBytes(3)
    const inBucket = (bits: number) => toHex(idInBucket(node.table.self, bits, random(32)))
    for (let i = 0; i < BUCKET_SIZE - 1; i++) node.table.seen(contactOf({ nodeId: inBucket(12), address: addressOf(i) }), NOW_MS)
    expect(node.store.isFar(inBucket(0))).toBe(false)
    node.table.seen(contactOf({ nodeId: inBucket(10), address: addressOf(99) }), NOW_MS)
    expect(node.store.isFar(inBucket(10 - FAR_BITS))).toBe(false)
    expect(node.store.isFar(inBucket(10 - FAR_BITS - 1))).toBe(true)
  })
})

describe('requests', () => {
  it('STORE needs an authenticated link and a token of a FIND', async () => {
    const net = new DhtNetwork()
    const { node } = net.add(1)
    const asker = net.add(2)
    const record = make(3, 'k', { ttl: 1000 }).raw
    const key = sha256(Buffer.from('k'))
    const { token } = node.handle('dht.findValue', { key }, asker.peer) as { token: Uint8Array }
    expect(node.handle('dht.findNode', { target: key }, { address: asker.peer.address })).not.toHaveProperty('token')
    expect(codeOf(() => node.handle('dht.store', { record, token }, { address: asker.peer.address }))).toBe('ERR_ANONNET_RPC_REFUSED')
    expect(codeOf(() => node.handle('dht.store', { record, token }, { ...asker.peer, nodeId: '11'.repeat(32) }))).toBe(
      'ERR_ANONNET_RPC_REFUSED'
    )
    expect(codeOf(() => node.handle('dht.store', { record: record.with(90, 1), token }, asker.peer))).toBe('ERR_ANONNET_RECORD_INVALID')
    expect(node.handle('dht.store', { record, token }, asker.peer)).toEqual({})
    net.nowMs += TOKEN_LIFETIME_MS + 1
    expect(codeOf(() => node.handle('dht.store', { record, token }, asker.peer))).toBe('ERR_ANONNET_RPC_REFUSED')
    const answer = node.handle('dht.findValue', { key }, asker.peer) as { records: unknown[] }
    expect(answer.records).toEqual([record])
    net.nowMs += 600_000
    expect(node.handle('dht.findValue', { key }, asker.peer)).not.toHaveProperty('records')
  })

  it('of the wrong form get a typed error', () => {
    const { node } = new DhtNetwork().add(1)
    const from = { address: '10.0.0.1:1' }
    for (const [method, params] of [
      ['dht.ping', 5],
      ['dht.ping', { x: 1 }],
      ['dht.findNode', {}],
      ['dht.findNode', { target: new Uint8Array(31) }],
      ['dht.findValue', { key: 'x' }],
      ['dht.store', { record: new Uint8Array(20_000), token: new Uint8Array(22) }],
      ['dht.store', { record: new Uint8Array(2), token: new Uint8Array(21) }],
      ['dht.other', {}]
    ] as const) {
      expect(codeOf(() => node.handle(method, params, from))).toBe('ERR_ANONNET_RPC_INVALID')
    }
  })

  it('survive nodes that answer nonsense, and those do not get into the table', async () => {
    const net = new DhtNetwork()
    const asker = net.add(1)
    const liars = Array.from({ length: 6 }, (_, index) => net.add(10 + index))
    const answers: unknown[] = [
      null,
      { nodes: 5 },
      { nodes: [[1, 2]] },
      { nodes: [[new Uint8Array(32), 'example.org:80']] },
      { nodes: [], records: [new Uint8Array(3)] },
      'x'
    ]
    liars.forEach((liar, index) => {
      net.network.handlers.set(liar.peer.nodeId, () => answers[index])
    })
    expect(await asker.node.join(liars.map((liar) => liar.peer))).toBe(0)
    liars.forEach((liar, index) => {
      net.network.handlers.set(liar.peer.nodeId, (method) => (method === 'dht.ping' ? {} : answers[index]))
    })
    await asker.node.join(liars.map((liar) => liar.peer))
    expect(await codeOfAsync(() => asker.node.findValue(keyOf('k')))).toBe('ERR_ANONNET_NOT_FOUND')
    // Forged records are no answer, and what is wrong twice in a row goes.
    await asker.node.findNode(keyOf('k'))
    await asker.node.findNode(keyOf('k'))
    expect(asker.node.table.size).toBeLessThanOrEqual(1)
  })
})

describe('publications', () => {
  it('are bounded, and number their versions upwards even when the clock stands still', () => {
    const publications = new Publications(makeSigner(1))
    const publication = { type: 'data' as const, key: keyOf('k'), ttl: MAX_RECORD_TTL_S, payload: new Uint8Array(1) }
    const first = publications.issue(publication, NOW_MS)
    const second = publications.issue(publication, NOW_MS)
    expect(second.record.seq).toBe(first.record.seq + 1)
    for (let i = 1; i < MAX_PUBLISHED_RECORDS; i++) publications.issue({ ...publication, key: keyOf(`k${i}`) }, NOW_MS)
    expect(codeOf(() => publications.issue({ ...publication, key: keyOf('one more') }, NOW_MS))).toBe('ERR_ANONNET_RESOURCE_LIMIT')
    expect(codeOf(() => publications.issue({ ...publication, ttl: MAX_RECORD_TTL_S + 1 }, NOW_MS))).toBe('ERR_ANONNET_RECORD_INVALID')
    expect(publications.due(NOW_MS)).toHaveLength(0)
    expect(publications.due(publications.nextDueMs())).toHaveLength(MAX_PUBLISHED_RECORDS)
  })
})
