/** Rows of the table of attacks that concern the DHT; each test is named after its row. */
import { describe, expect, it } from 'vitest'
import { compareDistance } from '../../../ts/dht/id.js'
import { MAX_PAYLOAD_BYTES, MAX_RECORD_BYTES } from '../../../ts/dht/limits.js'
import { issueRecord, parseRecord, RECORD_DOMAIN, type SignedRecord } from '../../../ts/dht/record.js'
import { RecordStore } from '../../../ts/dht/store.js'
import { contactOf, RoutingTable } from '../../../ts/dht/table.js'
import type { Signer } from '../../../ts/directory/types.js'
import { decodeCbor, encodeCbor, fromHex, nodeIdOf, sha256, signedMessage, toHex } from '../../../ts/wire/index.js'
import { codeOf, codeOfAsync, DhtNetwork, makeSigner, quiet, START_S, verify } from './helpers.js'

const NOW_MS = START_S * 1000
const keyOf = (name: string) => toHex(sha256(Buffer.from(name)))

function record(
  signer: Signer,
  overrides: { key?: string; seq?: number; issued?: number; ttl?: number; payload?: Uint8Array } = {}
): SignedRecord {
  return issueRecord(
    { type: 'data', key: keyOf('victim'), seq: 1, issued: START_S, ttl: 3600, payload: Buffer.from('value'), ...overrides },
    signer
  )
}

describe('attack 20: many ids per prefix', () => {
  it('lets at most 2 of 1,000 ids of one /24 into the table, and 8 of one /16', () => {
    const table = new RoutingTable(new Uint8Array(32))
    const idAt = (index: number) => keyOf(`sybil ${index}`)
    for (let i = 0; i < 1000; i++) table.seen(contactOf({ nodeId: idAt(i), address: `10.1.1.${1 + (i % 250)}:4000` }), NOW_MS)
    expect(table.size).toBe(2)
    for (let i = 0; i < 1000; i++) table.seen(contactOf({ nodeId: idAt(i + 1000), address: `10.1.${i % 250}.1:4000` }), NOW_MS)
    expect(table.size).toBe(8)
    for (let i = 0; i < 1000; i++)
      table.seen(contactOf({ nodeId: idAt(i + 2000), address: `[2001:db8:${(i % 250).toString(16)}::1]:4000` }), NOW_MS)
    expect(table.size).toBe(16)
    for (let i = 0; i < 50; i++)
      table.seen(contactOf({ nodeId: idAt(i + 3000), address: `[2001:db9:7:${i.toString(16)}::1]:4000` }), NOW_MS)
    expect(table.size).toBe(18)
  })
})

describe('attack 22: eclipse of a key', () => {
  it('returns the value though the 50 ids closest to the key are hostile', async () => {
    const net = new DhtNetwork()
    await net.grow(60)
    const key = fromHex(keyOf('victim'), 32)
    // Of many identities the attacker keeps the 50 closest to the key; all of them closer than most honest nodes.
    const hostile = Array.from({ length: 400 }, (_, index) => makeSigner(100_000 + index))
      .map((signer) => ({ signer, nodeId: nodeIdOf(signer.publicKey) }))
      .sort((a, b) => compareDistance(key, fromHex(a.nodeId, 32), fromHex(b.nodeId, 32)))
      .slice(0, 50)
      .map(({ nodeId }, index) => ({ nodeId, address: `99.${index}.0.1:4000` }))
    for (const peer of hostile) {
      // Takes every STORE and never gives it back; knows only its own.
      net.network.handlers.set(peer.nodeId, (method) =>
        method === 'dht.findNode' || method === 'dht.findValue'
          ? { nodes: hostile.slice(0, 16).map((other) => [fromHex(other.nodeId, 32), other.address]), token: new Uint8Array(22) }
          : {}
      )
    }
    for (const { node } of net.nodes) await node.join(hostile)
    const nearest = [...hostile, ...net.nodes.map(({ peer }) => peer)]
      .sort((a, b) => compareDistance(key, fromHex(a.nodeId, 32), fromHex(b.nodeId, 32)))
      .slice(0, 16)
    expect(nearest.filter((peer) => hostile.some((other) => other.nodeId === peer.nodeId)).length).toBeGreaterThan(12)
    await net.nodes[3]!.node.publish({ type: 'data', key: keyOf('victim'), ttl: 3600, payload: Buffer.from('value') })
    for (const asker of [7, 23, 41, 58]) {
      const [found] = await net.nodes[asker]!.node.findValue(keyOf('victim'))
      expect(Buffer.from(found!.payload).toString()).toBe('value')
    }
  }, 60_000)
})

describe('attack 23: ending a lookup early with an old record', () => {
  it('returns the higher seq though hostile nodes answer first with an old valid record', async () => {
    const net = new DhtNetwork()
    await net.grow(40)
    const publisher = net.nodes[3]!
    const old = issueRecord(
      { type: 'data', key: keyOf('victim'), seq: 1, issued: START_S, ttl: 3600, payload: Buffer.from('old') },
      publisher.signer
    )
    await publisher.node.publish({ type: 'data', key: keyOf('victim'), ttl: 3600, payload: Buffer.from('new') })
    const asker = net.nodes[20]!
    // The three nodes the asker turns to first lie.
    const key = fromHex(keyOf('victim'), 32)
    const liars = asker.node.table.closest(key, 3)
    for (const liar of liars) {
      const honest = net.network.handlers.get(liar.nodeId)!
      net.network.handlers.set(liar.nodeId, (method, params, from) =>
        method === 'dht.findValue'
          ? { ...(honest('dht.findNode', { target: key }, from) as object), records: [old.raw] }
          : honest(method, params, from)
      )
    }
    const [found] = await asker.node.findValue(keyOf('victim'))
    expect(Buffer.from(found!.payload).toString()).toBe('new')
  })
})

describe('attack 24: replay and rollback', () => {
  it('refuses an older seq, another record of the same seq, an expired one and one of the future', () => {
    const signer = makeSigner(1)
    const store = new RecordStore(() => false)
    store.put(record(signer, { seq: 5 }), 'p', NOW_MS)
    store.put(record(signer, { seq: 5 }), 'p', NOW_MS)
    expect(store.size).toBe(1)
    expect(codeOf(() => store.put(record(signer, { seq: 4 }), 'p', NOW_MS))).toBe('ERR_ANONNET_RECORD_INVALID')
    expect(codeOf(() => store.put(record(signer, { seq: 5, payload: Buffer.from('other') }), 'p', NOW_MS))).toBe(
      'ERR_ANONNET_RECORD_INVALID'
    )
    expect(codeOf(() => store.put(record(signer, { seq: 6, ttl: 60 }), 'p', NOW_MS + 60_000))).toBe('ERR_ANONNET_RECORD_INVALID')
    expect(codeOf(() => store.put(record(signer, { seq: 6, issued: START_S + 301 }), 'p', NOW_MS))).toBe('ERR_ANONNET_RECORD_INVALID')
    expect(store.get(keyOf('victim'), NOW_MS)[0]!.record.seq).toBe(5)
  })

  it('does not believe expired records that a node returns', async () => {
    const net = new DhtNetwork()
    const asker = net.add(1)
    const liar = net.add(2)
    await asker.node.join([liar.peer])
    const expired = record(makeSigner(9), { ttl: 60 })
    net.nowMs += 60_000
    net.network.handlers.set(liar.peer.nodeId, () => ({ nodes: [], records: [expired.raw] }))
    expect(await codeOfAsync(() => asker.node.findValue(keyOf('victim')))).toBe('ERR_ANONNET_NOT_FOUND')
  })
})

describe('attack 26: inflated records and parser bombs', () => {
  const sealed = (body: Uint8Array, signer = makeSigner(1)) => encodeCbor([body, signer.sign(signedMessage(RECORD_DOMAIN, body))])
  const fields = () =>
    decodeCbor((decodeCbor(record(makeSigner(1)).raw, { maxBytes: 1e6, maxDepth: 9, maxItems: 99 }) as [Uint8Array])[0], {
      maxBytes: 1e6,
      maxDepth: 9,
      maxItems: 99
    }) as Record<string, unknown>

  it('takes 16 KiB of payload and refuses one byte more', () => {
    const full = record(makeSigner(1), { payload: new Uint8Array(MAX_PAYLOAD_BYTES) })
    expect(full.raw.length).toBeLessThanOrEqual(MAX_RECORD_BYTES)
    expect(parseRecord(full.raw, verify).record.payload.length).toBe(MAX_PAYLOAD_BYTES)
    expect(codeOf(() => record(makeSigner(1), { payload: new Uint8Array(MAX_PAYLOAD_BYTES + 1) }))).toBe('ERR_ANONNET_RECORD_INVALID')
    const tooLong = sealed(encodeCbor({ ...fields(), payload: new Uint8Array(MAX_PAYLOAD_BYTES + 1) }))
    expect(codeOf(() => parseRecord(tooLong, verify))).toBe('ERR_ANONNET_RECORD_INVALID')
  })

  it('refuses what is nested, endless, tagged, not UTF-8, of wrong types, or has other fields', () => {
    expect(parseRecord(sealed(encodeCbor(fields())), verify).record.seq).toBe(1)
    const bombs: Uint8Array[] = [
      new Uint8Array(16_000).fill(0x81),
      new Uint8Array(16_000).fill(0xa1),
      Uint8Array.of(0x9f, 0xff),
      Uint8Array.of(0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
      Uint8Array.of(0xbb, 0, 0x20, 0, 0, 0, 0, 0, 0),
      Uint8Array.of(0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
      Uint8Array.of(0xc1, 0x00),
      Uint8Array.of(0x62, 0xff, 0xfe),
      Uint8Array.of(),
      encodeCbor(null),
      encodeCbor([new Uint8Array(1), new Uint8Array(64), 1])
    ]
    for (const bomb of bombs) {
      expect(codeOf(() => parseRecord(bomb, verify))).toBe('ERR_ANONNET_RECORD_INVALID')
      expect(codeOf(() => parseRecord(sealed(bomb), verify))).toBe('ERR_ANONNET_RECORD_INVALID')
    }
    const wrong = [
      { v: 2 },
      { type: 9 },
      { key: 'x' },
      { key: new Uint8Array(31) },
      { seq: -1 },
      { seq: 1.5 },
      { issued: null },
      { ttl: 0 },
      { ttl: 10 ** 9 },
      { payload: 'text' },
      { extra: 1 },
      { type: 2 }
    ]
    for (const change of wrong) {
      expect(codeOf(() => parseRecord(sealed(encodeCbor({ ...fields(), ...change })), verify))).toBe('ERR_ANONNET_RECORD_INVALID')
    }
  })

  it('refuses a record signed by another key, or for another purpose', () => {
    const body = encodeCbor(fields())
    expect(codeOf(() => parseRecord(sealed(body, makeSigner(2)), verify))).toBe('ERR_ANONNET_RECORD_INVALID')
    const otherDomain = encodeCbor([body, makeSigner(1).sign(signedMessage('anonnet:1:descriptor', body))])
    expect(codeOf(() => parseRecord(otherDomain, verify))).toBe('ERR_ANONNET_RECORD_INVALID')
  })
})

describe('attack 27: eviction by a flood of values', () => {
  it('still serves the victim after 50,000 STOREs, and holds 10,000 keys at most', () => {
    const signer = makeSigner(1)
    const store = new RecordStore(() => false)
    store.put(record(signer), 'victim prefix', NOW_MS)
    // The flood's records are not signed one by one: the store takes what was verified before.
    const template = record(makeSigner(2), { ttl: 24 * 3600 })
    let refused = 0
    for (let i = 0; i < 50_000; i++) {
      const key = i.toString(16).padStart(64, '0')
      const flood = { ...template, record: { ...template.record, key }, digest: key }
      try {
        store.put(flood, `hostile prefix ${i % 40}`, NOW_MS)
      } catch {
        refused++
      }
    }
    expect(store.size).toBeLessThanOrEqual(10_000)
    expect(refused).toBeGreaterThan(40_000)
    expect(store.get(keyOf('victim'), NOW_MS)).toHaveLength(1)
    // New honest records still get in, and stay.
    store.put(record(makeSigner(3), { key: keyOf('newcomer'), ttl: 60 }), 'another prefix', NOW_MS)
    expect(store.get(keyOf('newcomer'), NOW_MS)).toHaveLength(1)
  }, 60_000)

  it('lets one class of records fill only its own share', () => {
    const store = new RecordStore(() => false, { records: 20, bytes: 2e6 })
    const node = makeSigner(4)
    for (let i = 0; i < 20; i++) {
      try {
        store.put(record(makeSigner(2), { key: keyOf(`k${i}`) }), 'p', NOW_MS)
      } catch {
        // full
      }
    }
    expect(store.size).toBe(6)
    store.put(
      issueRecord({ type: 'node', key: nodeIdOf(node.publicKey), seq: 1, issued: START_S, ttl: 60, payload: new Uint8Array(1) }, node),
      'p',
      NOW_MS
    )
    expect(store.size).toBe(7)
  })
})

describe('attack 28: poisoning of the table by unsolicited announcements', () => {
  it('ignores nodes that are only told of, and strangers whose address does not answer', async () => {
    const net = new DhtNetwork()
    const victim = net.add(1)
    const friend = net.add(2)
    await victim.node.join([friend.peer])
    const ghosts = Array.from({ length: 16 }, (_, index) => ({ nodeId: keyOf(`ghost ${index}`), address: `77.${index}.0.1:4000` }))
    net.network.handlers.set(friend.peer.nodeId, (method) =>
      method === 'dht.ping' ? {} : { nodes: ghosts.map((ghost) => [fromHex(ghost.nodeId, 32), ghost.address]) }
    )
    await victim.node.findNode(keyOf('anything'))
    expect(victim.node.table.contacts().map((contact) => contact.nodeId)).toEqual([friend.peer.nodeId])
    // A request over an authenticated link from an address where nobody listens; and one without authentication.
    victim.node.handle('dht.ping', {}, ghosts[0]!)
    victim.node.handle('dht.findNode', { target: new Uint8Array(32) }, { address: '77.0.0.1:4000' })
    await quiet()
    expect(victim.node.table.size).toBe(1)
    const honest = net.add(3)
    victim.node.handle('dht.ping', {}, honest.peer)
    await quiet()
    expect(victim.node.table.has(honest.peer.nodeId)).toBe(true)
  })
})
