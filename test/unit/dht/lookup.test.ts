import { describe, expect, it } from 'vitest'
import { ANSWERS_PER_PATH, MAX_LOOKUP_QUERIES, MAX_SHORTLIST } from '../../../ts/dht/limits.js'
import { lookup, type QueryResult } from '../../../ts/dht/lookup.js'
import { issueRecord } from '../../../ts/dht/record.js'
import { type Contact, contactOf } from '../../../ts/dht/table.js'
import { sha256, toHex } from '../../../ts/wire/index.js'
import { addressOf, codeOfAsync, DhtNetwork, makeSigner, START_S } from './helpers.js'

const TARGET = new Uint8Array(32)
const SELF = new Uint8Array(32).fill(255)
const LIMITS = { narrow: 2, wide: 8 }

/** A contact whose distance to TARGET grows with `distance`. */
function at(distance: number, address = addressOf(distance % 50_000)): Contact {
  return contactOf({ nodeId: distance.toString(16).padStart(64, '0'), address })
}

function run(start: Contact[], answer: (contact: Contact) => Partial<QueryResult> | undefined, paths = 1) {
  const asked: string[] = []
  const query = async (contact: Contact): Promise<QueryResult> => {
    asked.push(contact.address)
    const result = answer(contact)
    if (!result) throw new Error('no answer')
    return { nodes: [], hasValue: false, ...result }
  }
  return lookup({ target: TARGET, self: SELF, start, prefixLimits: LIMITS, query, paths }).then((result) => ({
    ...result,
    addresses: asked
  }))
}

describe('a path of a lookup', () => {
  it('goes on until three nodes had the value, and no further', async () => {
    const start = Array.from({ length: 16 }, (_, index) => at(index + 1))
    const all = await run(start, () => ({ hasValue: true }))
    expect(all.asked).toBe(ANSWERS_PER_PATH)
    // The nodes in front have nothing: it goes on behind them.
    const late = await run(start, (contact) => ({ hasValue: contact.id[31]! > 10 }))
    expect(late.asked).toBeGreaterThanOrEqual(10 + ANSWERS_PER_PATH)
  })

  it('asks a node at its right address though a liar gave a wrong one', async () => {
    const [liar, friend] = [at(50), at(51)]
    const honest = at(1)
    const wrong = { nodeId: honest.nodeId, address: '99.9.9.9:1' }
    const result = await run(
      [liar, friend],
      (contact) => {
        if (contact.address === wrong.address) return undefined
        if (contact === liar) return { nodes: [wrong] }
        return contact === friend ? { nodes: [honest] } : {}
      },
      2
    )
    expect(result.closest[0]).toMatchObject({ nodeId: honest.nodeId, address: honest.address })
  })

  it('does not let a node with two addresses steer two paths', async () => {
    const [first, second] = [at(50, '20.1.0.1:1'), at(50, '20.2.0.1:1')]
    const result = await run([first, second], (contact) => ({ nodes: contact === first ? [at(1)] : contact === second ? [at(2)] : [] }), 2)
    expect(result.addresses).toContain(addressOf(1))
    expect(result.addresses).not.toContain(addressOf(2))
    expect(result.closest.filter((contact) => contact.nodeId === first.nodeId)).toHaveLength(1)
  })

  it('asks at most 2 nodes of a /24 and 8 of a /16', async () => {
    const crowd = Array.from({ length: 40 }, (_, index) => at(index + 1, `20.1.${index % 10}.${index + 1}:1`))
    const result = await run(crowd, () => ({}))
    expect(result.asked).toBe(8)
  })

  it('is bounded though hostile nodes always know closer ones', async () => {
    let invented = 1_000_000
    const answer = () => ({ nodes: Array.from({ length: 16 }, () => at(--invented)) })
    const result = await run([at(2_000_000), at(2_000_001), at(2_000_002), at(2_000_003)], answer, 4)
    expect(result.asked).toBe(MAX_LOOKUP_QUERIES)
    const crowd = await run(
      Array.from({ length: 2 * MAX_SHORTLIST }, (_, index) => at(index + 1)),
      () => undefined
    )
    expect(crowd.asked).toBeLessThanOrEqual(MAX_SHORTLIST)
    expect(crowd.closest).toEqual([])
  })

  it('stops asking when its signal is aborted', async () => {
    const abort = new AbortController()
    let asked = 0
    const query = async () => {
      if (++asked === 2) abort.abort()
      return { nodes: [], hasValue: false }
    }
    const start = Array.from({ length: 16 }, (_, index) => at(index + 1))
    await lookup({ target: TARGET, self: SELF, start, prefixLimits: LIMITS, query, signal: abort.signal })
    expect(asked).toBeLessThan(16)
  })
})

describe('records that come back', () => {
  it('of another key are not taken, though their signature is right', async () => {
    const net = new DhtNetwork()
    const asker = net.add(1)
    const liar = net.add(2)
    await asker.node.join([liar.peer])
    const key = toHex(sha256(Buffer.from('wanted')))
    const other = issueRecord(
      { type: 'data', key: '11'.repeat(32), seq: 9, issued: START_S, ttl: 600, payload: new Uint8Array(1) },
      makeSigner(3)
    )
    net.network.handlers.set(liar.peer.nodeId, () => ({ nodes: [], records: [other.raw] }))
    expect(await codeOfAsync(() => asker.node.findValue(key))).toBe('ERR_ANONNET_NOT_FOUND')
    expect(await asker.node.findValue('11'.repeat(32))).toHaveLength(1)
  })
})
