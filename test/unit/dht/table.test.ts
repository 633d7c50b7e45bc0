import { describe, expect, it } from 'vitest'
import { commonBits, idInBucket } from '../../../ts/dht/id.js'
import { BUCKET_SIZE, MAX_CANDIDATES, MAX_FAILURES, MAX_REPLACEMENTS } from '../../../ts/dht/limits.js'
import { PREFIX_LIMITS } from '../../../ts/dht/prefixes.js'
import { type Contact, contactOf, RoutingTable } from '../../../ts/dht/table.js'
import { toHex } from '../../../ts/wire/index.js'
import { addressOf, DhtNetwork, quiet, seededBytes } from './helpers.js'

const SELF = new Uint8Array(32)
const random = seededBytes(7)

/** A contact in the bucket of ids that have `bits` bits in common with SELF. */
function inBucket(bits: number, index: number, address = addressOf(index)): Contact {
  return contactOf({ nodeId: toHex(idInBucket(SELF, bits, random(32))), address })
}

describe('the routing table', () => {
  it('keeps 16 contacts a bucket and names the one seen longest ago when a newcomer answers', () => {
    const table = new RoutingTable(SELF)
    const contacts = Array.from({ length: BUCKET_SIZE }, (_, index) => inBucket(0, index))
    for (const contact of contacts) expect(table.seen(contact, 1).kind).toBe('added')
    expect(table.seen(contacts[0]!, 2).kind).toBe('known')
    const newcomer = inBucket(0, 99)
    expect(table.seen(newcomer, 3)).toEqual({ kind: 'full', ping: contacts[1] })
    expect(table.size).toBe(BUCKET_SIZE)
    expect(table.failed(contacts[1]!.nodeId, true)).toBe(newcomer)
    expect(table.size).toBe(BUCKET_SIZE - 1)
    expect(table.seen(newcomer, 4).kind).toBe('added')
    expect(table.seen(inBucket(1, 100), 5).kind).toBe('added')
  })

  it('remembers at most 16 newcomers of a full bucket, the latest first', () => {
    const table = new RoutingTable(SELF)
    const contacts = Array.from({ length: BUCKET_SIZE }, (_, index) => inBucket(0, index))
    for (const contact of contacts) table.seen(contact, 1)
    const newcomers = Array.from({ length: MAX_REPLACEMENTS + 4 }, (_, index) => inBucket(0, 100 + index))
    for (const newcomer of newcomers) table.seen(newcomer, 2)
    table.seen(newcomers[10]!, 3)
    const order = contacts.map((contact) => table.failed(contact.nodeId, true))
    expect(order[0]).toBe(newcomers[10])
    expect(order.filter((newcomer) => newcomer !== undefined)).toHaveLength(MAX_REPLACEMENTS)
    expect(order).not.toContain(newcomers[0])
    expect(table.failed('00', true)).toBeUndefined()
  })

  it('drops a contact after failures in a row, not after single ones', () => {
    const table = new RoutingTable(SELF)
    const contact = inBucket(3, 1)
    table.seen(contact, 1)
    for (let i = 1; i < MAX_FAILURES; i++) table.failed(contact.nodeId)
    table.seen(contact, 2)
    for (let i = 1; i < MAX_FAILURES; i++) table.failed(contact.nodeId)
    expect(table.has(contact.nodeId)).toBe(true)
    table.failed(contact.nodeId)
    expect(table.has(contact.nodeId)).toBe(false)
  })

  it('gives the place of a prefix back when its node goes or moves', () => {
    const table = new RoutingTable(SELF)
    const [a, b, c, d] = [0, 1, 2, 3].map((index) => inBucket(index, index, `10.1.1.${index + 1}:4000`)) as [
      Contact,
      Contact,
      Contact,
      Contact
    ]
    expect([a, b, c].map((contact) => table.seen(contact, 1).kind)).toEqual(['added', 'added', 'refused'])
    expect(table.seen({ ...a, address: '10.2.1.1:4000' }, 2).kind).toBe('known')
    expect(table.seen(c, 2).kind).toBe('added')
    table.failed(b.nodeId, true)
    expect(table.seen(d, 2).kind).toBe('added')
    // Moving into a prefix that is full costs the place.
    expect(table.seen({ ...a, address: '10.1.1.77:4000' }, 3).kind).toBe('refused')
    expect(table.has(a.nodeId)).toBe(false)
    expect(PREFIX_LIMITS).toEqual({ narrow: 2, wide: 8 })
  })

  it('never takes its own id, and knows which buckets are idle and how far its neighbourhood reaches', () => {
    const table = new RoutingTable(SELF)
    expect(table.seen(contactOf({ nodeId: toHex(SELF), address: '10.0.0.1:1' }), 1).kind).toBe('refused')
    expect(table.radiusBits(1)).toBe(0)
    table.seen(inBucket(4, 1), 10)
    table.seen(inBucket(9, 2), 10)
    expect(table.radiusBits(1)).toBe(9)
    expect(table.radiusBits(2)).toBe(4)
    expect(table.radiusBits(3)).toBe(0)
    table.used(idInBucket(SELF, 4, random(32)), 50)
    expect(table.idle(20)).toEqual([9])
  })
})

describe('ping before evict', () => {
  it('keeps an old contact that answers, and puts the newcomer in the place of one that does not', async () => {
    const net = new DhtNetwork()
    const center = net.add(1)
    // Nodes of the farthest bucket, until it is full.
    const others = []
    for (let seed = 100; others.length < BUCKET_SIZE + 2; seed++) {
      const made = net.add(seed)
      if (commonBits(center.node.table.self, Buffer.from(made.peer.nodeId, 'hex')) === 0) others.push(made)
    }
    for (const other of others.slice(0, BUCKET_SIZE)) {
      center.node.handle('dht.ping', {}, other.peer)
      await quiet(2)
    }
    expect(center.node.table.size).toBe(BUCKET_SIZE)
    const [first, second] = others
    center.node.handle('dht.ping', {}, others[BUCKET_SIZE]!.peer)
    await quiet()
    expect(center.node.table.has(first!.peer.nodeId)).toBe(true)
    expect(center.node.table.has(others[BUCKET_SIZE]!.peer.nodeId)).toBe(false)
    net.kill(second!)
    center.node.handle('dht.ping', {}, others[BUCKET_SIZE + 1]!.peer)
    await quiet()
    expect(center.node.table.has(second!.peer.nodeId)).toBe(false)
    expect(center.node.table.has(others[BUCKET_SIZE + 1]!.peer.nodeId)).toBe(true)
    expect(center.node.table.size).toBe(BUCKET_SIZE)
  })
})

describe('strangers', () => {
  it('are pinged 16 at a time, and further ones dropped', async () => {
    const net = new DhtNetwork()
    const center = net.add(1)
    let waiting = 0
    net.network.delay = async () => {
      waiting++
      await new Promise(() => {})
    }
    for (let index = 0; index < 3 * MAX_CANDIDATES; index++) {
      center.node.handle('dht.ping', {}, { nodeId: toHex(idInBucket(SELF, index % 200, random(32))), address: addressOf(index) })
    }
    await quiet()
    expect(waiting).toBe(MAX_CANDIDATES)
  })
})
