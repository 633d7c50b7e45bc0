/** Whatever the order in which messages arrive, and whatever a minority of bootstrap nodes does: all honest nodes end with one list. */
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { Agreement, type Outgoing } from '../../../ts/directory/agreement.js'
import { listMessage } from '../../../ts/directory/list.js'
import type { Peer, RelayList, Signer } from '../../../ts/directory/types.js'
import { DescriptorCache, issueVote } from '../../../ts/directory/vote.js'
import { nodeIdOf } from '../../../ts/wire/index.js'
import { INTERVAL_MS, makeDescriptor, makeSigner, overWire, START_S, verify } from '../../unit/directory/helpers.js'

type Fault = 'silent' | 'equivocates' | 'garbage' | 'signs anything'

const SIGNERS = Array.from({ length: 5 }, (_, index) => makeSigner(index + 1))
const RELAYS = Array.from({ length: 6 }, (_, index) => {
  const signer = makeSigner(50 + index)
  // Two versions of each, so that votes also differ in what they know of one relay.
  const versions = [1, 2].map((seq) => makeDescriptor(signer, { seq, address: `127.${index + 1}.0.1:1`, bandwidth: 1000 * (index + 1) }))
  return { nodeId: nodeIdOf(signer.publicKey), versions }
})
const FIRST = Math.floor((START_S * 1000) / INTERVAL_MS) + 1

interface Scenario {
  readonly count: number
  readonly faults: readonly Fault[]
  /** Of each honest node and relay: 0 unknown, else the version that it knows. */
  readonly known: readonly (readonly number[])[]
  /** Choices of the scheduler, used round and round. */
  readonly choices: readonly number[]
}

const scenarios: fc.Arbitrary<Scenario> = fc.integer({ min: 3, max: 5 }).chain((count) =>
  fc.record({
    count: fc.constant(count),
    faults: fc.array(fc.constantFrom<Fault>('silent', 'equivocates', 'garbage', 'signs anything'), { maxLength: Math.ceil(count / 2) - 1 }),
    known: fc.array(fc.array(fc.integer({ min: 0, max: 2 }), { minLength: RELAYS.length, maxLength: RELAYS.length }), {
      minLength: count,
      maxLength: count
    }),
    choices: fc.array(fc.nat(1000), { minLength: 1, maxLength: 60 })
  })
)

/** Runs one interval and returns the lists of the honest nodes. */
function play({ count, faults, known, choices }: Scenario): (RelayList | undefined)[] {
  const signers = SIGNERS.slice(0, count)
  const bootstraps = signers.map((signer, index) => ({ publicKey: signer.publicKey, address: `127.0.${index}.1:9` }))
  const peers: Peer[] = bootstraps.map((node) => ({ nodeId: nodeIdOf(node.publicKey), address: node.address }))
  let nowMs = (FIRST - 1) * INTERVAL_MS
  const honest = signers.slice(faults.length).map((self, index) => {
    const agreement = new Agreement({ bootstraps, self, verify, intervalMs: INTERVAL_MS })
    known[index]?.forEach((version, relay) => {
      const descriptor = RELAYS[relay]!.versions[version - 1]
      if (descriptor) agreement.handle('desc.publish', { descriptor }, { nodeId: RELAYS[relay]!.nodeId, address: 'x' }, nowMs)
    })
    return { agreement, peer: peers[faults.length + index]! }
  })
  // The interval before the one of interest: nothing was sent, nobody voted.
  for (const { agreement } of honest) for (const call of agreement.poll(nowMs)) agreement.settle(call, undefined, nowMs)

  let turn = 0
  const choose = (below: number) => (choices[turn++ % choices.length]! + turn) % below
  const queue: (() => void)[] = []
  const liars = faults.map((fault, index) => ({ fault, signer: signers[index]!, peer: peers[index]! }))
  const reply = (call: Outgoing, from: Peer): unknown => {
    const target = honest.find((other) => other.peer.nodeId === call.peer.nodeId)
    if (target) {
      try {
        return overWire(target.agreement.handle(call.method, overWire(call.params), from, nowMs))
      } catch {
        return undefined
      }
    }
    const liar = liars.find((other) => other.peer.nodeId === call.peer.nodeId)!
    return lie(liar.fault, liar.signer, call, choose)
  }
  nowMs = FIRST * INTERVAL_MS
  for (const { fault, signer, peer } of liars) {
    if (fault !== 'equivocates' && fault !== 'signs anything') continue
    for (const { agreement } of honest) {
      for (let repeat = 0; repeat < 2; repeat++) {
        queue.push(() => {
          const params = { interval: FIRST, have: [], votes: [voteOf(signer, choose)] }
          agreement.handle('vote.exchange', overWire(params), peer, nowMs)
        })
      }
    }
  }
  const end = (FIRST + 1) * INTERVAL_MS - 1
  for (let steps = 0; nowMs < end; steps++) {
    expect(steps).toBeLessThan(20_000)
    for (const { agreement, peer } of honest) {
      for (const call of agreement.poll(nowMs)) {
        queue.push(() => {
          const answer = reply(call, peer)
          queue.push(() => agreement.settle(call, answer, nowMs))
        })
      }
    }
    if (queue.length > 0) queue.splice(choose(queue.length), 1)[0]!()
    else nowMs = Math.min(end, Math.max(nowMs + 1, Math.min(...honest.map(({ agreement }) => agreement.nextPollMs(nowMs)))))
  }
  return honest.map(({ agreement }) => agreement.archive.lists.find((list) => list.interval === FIRST))
}

const cache = new DescriptorCache(verify)

/** One of several votes that a liar has. */
function voteOf(signer: Signer, choose: (below: number) => number): Uint8Array {
  const entries = RELAYS.slice(0, choose(3)).map((relay) => ({ signed: cache.parse(relay.versions[0]!), firstSeen: START_S }))
  return issueVote(FIRST, INTERVAL_MS, entries, signer)
}

function lie(fault: Fault, signer: Signer, call: Outgoing, choose: (below: number) => number): unknown {
  if (fault === 'silent') return undefined
  if (fault === 'garbage') return [null, 5, {}, [], { interval: FIRST, have: [], votes: [new Uint8Array(5)] }][choose(5)]
  if (call.method === 'vote.exchange') return { interval: FIRST, have: [], votes: [voteOf(signer, choose)] }
  const { digest } = call.params as { digest?: Uint8Array }
  if (fault === 'signs anything' && digest)
    return { interval: FIRST, digest, signatures: [[signer.publicKey, signer.sign(listMessage(digest))]] }
  return undefined
}

it('agrees on one list whatever the order of delivery and whatever a minority does', () => {
  fc.assert(
    fc.property(scenarios, (scenario) => {
      const lists = play(scenario)
      for (const list of lists) expect(list).toBeDefined()
      expect(new Set(lists.map((list) => list?.digest)).size).toBe(1)
      const votes = scenario.known.slice(0, lists.length)
      const listed = new Set(lists[0]!.relays.map((relay) => relay.nodeId))
      RELAYS.forEach((relay, index) => {
        const knowing = votes.filter((known) => (known[index] ?? 0) > 0).length
        // What all honest nodes know is in; what none of them knows cannot get in.
        if (knowing === lists.length) expect(listed).toContain(relay.nodeId)
        if (knowing === 0) expect(listed).not.toContain(relay.nodeId)
      })
    }),
    { numRuns: Number(process.env.RUNS ?? 60) }
  )
}, 120_000)
