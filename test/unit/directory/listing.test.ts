/** Which relays the bootstrap nodes list, given which answer. */
import { describe, expect, it } from 'vitest'
import { MAX_PING_REPLY_BYTES, MAX_RUNNING_TESTS } from '../../../ts/directory/limits.js'
import type { RpcCall, RpcOptions, Signer } from '../../../ts/directory/types.js'
import { errorFromCode } from '../../../ts/errors/index.js'
import { nodeIdOf } from '../../../ts/wire/index.js'
import { BootstrapNetwork, makeDescriptor, makeSigner, START_S } from './helpers.js'

const INTERVAL_MS = 8000
const idOf = (signer: Signer): string => nodeIdOf(signer.publicKey)
const at = (index: number): string => `127.${index + 1}.0.1:4000`

/** Three nodes that run, and relays that all of them know, answer at their addresses, and are listed. */
async function listing(relays: number): Promise<{ net: BootstrapNetwork; signers: Signer[] }> {
  const net = new BootstrapNetwork(3, INTERVAL_MS)
  for (let i = 0; i < 3; i++) net.start(i)
  await net.advance(100)
  const signers = Array.from({ length: relays }, (_, index) => makeSigner(100 + index))
  signers.forEach((signer, index) => {
    net.up(signer, at(index))
    net.publishOnly(signer, makeDescriptor(signer, { address: at(index) }))
  })
  await net.advance(INTERVAL_MS)
  expect(listed(net)).toEqual(signers.map(idOf).sort())
  return { net, signers }
}

/** Node ids of the newest list, which is the same at all that run. */
function listed(net: BootstrapNetwork): string[] {
  const lists = net.directories.flatMap((directory) => directory?.list ?? [])
  expect(new Set(lists.map(({ digest }) => digest)).size).toBe(1)
  expect(lists[0]!.interval).toBe(Math.floor(net.nowMs / net.intervalMs))
  return lists[0]!.relays.map(({ nodeId }) => nodeId)
}

/** Pings of these relays end as told, whatever the relay does; other calls go their way. */
function lying(relays: readonly Signer[], end: () => Promise<unknown>): (honest: RpcCall) => RpcCall {
  const ids = new Set(relays.map(idOf))
  return (honest) => (peer, method, params, options) =>
    method === 'ping' && ids.has(peer.nodeId) ? end() : honest(peer, method, params, options)
}

const answer = async (): Promise<unknown> => null
const silence = async (): Promise<unknown> => {
  throw errorFromCode('ERR_ANONNET_TIMEOUT')
}
const never = (): Promise<unknown> => new Promise(() => undefined)

describe('the list', () => {
  it('loses a dead relay within two intervals, and has it again when it is back', async () => {
    const { net, signers } = await listing(4)
    net.down(signers[1]!)
    await net.advance(2 * INTERVAL_MS)
    expect(listed(net)).toEqual([0, 2, 3].map((index) => idOf(signers[index]!)).sort())
    net.up(signers[1]!)
    await net.advance(2 * INTERVAL_MS)
    expect(listed(net)).toEqual(signers.map(idOf).sort())
  })

  it('keeps a relay that misses one test', async () => {
    const { net, signers } = await listing(2)
    const tests = new Map<string | undefined, number>()
    let missed = 0
    net.network.handlers.set(idOf(signers[0]!), (_method, _params, from) => {
      const test = tests.get(from.nodeId) ?? 0
      tests.set(from.nodeId, test + 1)
      // Of each node's tests every second one, the first of them included.
      if (test % 2 === 1) return null
      missed++
      throw errorFromCode('ERR_ANONNET_TIMEOUT')
    })
    for (let i = 0; i < 4; i++) {
      await net.advance(INTERVAL_MS)
      expect(listed(net)).toHaveLength(2)
    }
    expect(missed).toBeGreaterThan(20)
  })

  it('never has a relay that never answered, or that answers elsewhere', async () => {
    const { net, signers } = await listing(2)
    const [dead, elsewhere] = [makeSigner(300), makeSigner(301)]
    net.up(elsewhere, '127.50.0.1:4001')
    for (let seq = 1; seq < 6; seq++) {
      // So late that the next vote comes after one failed test, not two.
      await net.advance(INTERVAL_MS - (net.nowMs % INTERVAL_MS) - 50)
      net.publishOnly(dead, makeDescriptor(dead, { seq, address: '127.49.0.1:4000' }))
      net.publishOnly(elsewhere, makeDescriptor(elsewhere, { seq, address: '127.50.0.1:4000' }))
      await net.advance(300)
      expect(listed(net)).toEqual(signers.map(idOf).sort())
    }
  })

  it('has a relay that refuses the question: it answered', async () => {
    const { net, signers } = await listing(1)
    const proud = makeSigner(300)
    net.network.handlers.set(idOf(proud), () => {
      throw errorFromCode('ERR_ANONNET_UNSUPPORTED')
    })
    net.publishOnly(proud, makeDescriptor(proud, { address: at(5) }))
    await net.advance(2 * INTERVAL_MS)
    expect(listed(net)).toEqual([...signers, proud].map(idOf).sort())
  })

  it('follows a relay to its new address once it answers there', async () => {
    const { net, signers } = await listing(2)
    const [mover] = signers
    net.publishOnly(mover!, makeDescriptor(mover!, { seq: 2, address: '127.60.0.1:4000' }))
    await net.advance(INTERVAL_MS)
    expect(listed(net)).toEqual([idOf(signers[1]!)])
    net.up(mover!, '127.60.0.1:4000')
    await net.advance(2 * INTERVAL_MS)
    expect(listed(net)).toEqual(signers.map(idOf).sort())
    expect(net.directories[0]!.list!.relays.find(({ nodeId }) => nodeId === idOf(mover!))!.address).toBe('127.60.0.1:4000')
  })

  it('is not emptied by a restart of all bootstrap nodes, and does not gain who never answered', async () => {
    const { net, signers } = await listing(4)
    const dead = makeSigner(300)
    net.publishOnly(dead, makeDescriptor(dead, { address: at(9) }))
    await net.advance(INTERVAL_MS)
    const states: unknown[] = net.directories.map((directory) => JSON.parse(JSON.stringify(directory!.toState())))
    expect((states[0] as { descriptors: unknown[] }).descriptors).toHaveLength(5)
    for (const index of [0, 1, 2]) net.stop(index)
    net.nowMs += 2 * INTERVAL_MS
    // Not one test ends before they vote again.
    states.forEach((state, index) => {
      net.start(
        index,
        state,
        (honest) => (peer, method, params, options) => (method === 'ping' ? never() : honest(peer, method, params, options))
      )
    })
    await net.advance(2 * INTERVAL_MS)
    expect(listed(net)).toEqual(signers.map(idOf).sort())
  })

  it('is not moved by one of three nodes that lies about who answers', async () => {
    const { net, signers } = await listing(2)
    const dead = makeSigner(300)
    net.publishOnly(dead, makeDescriptor(dead, { address: at(9) }))
    net.stop(2)
    let lies = 0
    const counted = (end: () => Promise<unknown>) => () => {
      lies++
      return end()
    }
    net.start(2, undefined, (honest) => lying([dead], counted(answer))(lying(signers.slice(0, 1), counted(silence))(honest)))
    net.publishOnly(dead, makeDescriptor(dead, { address: at(9) }), [2])
    for (let i = 0; i < 4; i++) {
      await net.advance(INTERVAL_MS)
      expect(listed(net)).toEqual(signers.map(idOf).sort())
    }
    // It did what a liar does: its own vote has the dead relay and lacks a living one.
    expect(lies).toBeGreaterThan(8)
    const { store } = net.directories[2]!.agreement
    expect(
      store
        .listable()
        .map(({ signed }) => signed.descriptor.nodeId)
        .sort()
    ).toEqual([idOf(signers[1]!), idOf(dead)].sort())
  })

  it('comes in time while tests hang, and has who was listed before', async () => {
    const { net, signers } = await listing(3)
    for (const index of [0, 1, 2]) {
      const state: unknown = JSON.parse(JSON.stringify(net.directories[index]!.toState()))
      net.stop(index)
      net.start(index, state, lying(signers, never))
    }
    await net.advance(INTERVAL_MS - (net.nowMs % INTERVAL_MS) - 50)
    await net.advance(50)
    for (let i = 0; i < 4; i++) await net.settle()
    expect(net.directories.map((directory) => directory!.reachability.running)).toEqual([3, 3, 3])
    expect(listed(net)).toEqual(signers.map(idOf).sort())
  })
})

describe('a bootstrap node', () => {
  it('tests 32 relays at the same time at most, and has asked all of them in the end', async () => {
    const net = new BootstrapNetwork(3, INTERVAL_MS)
    const waiting: (() => void)[] = []
    const seen: (RpcOptions | undefined)[] = []
    let most = 0
    const directory = net.start(0, undefined, () => (_peer, method, _params, options) => {
      if (method !== 'ping') return silence()
      seen.push(options)
      return new Promise((resolve) => {
        most = Math.max(
          most,
          waiting.push(() => resolve(null))
        )
      })
    })
    const relays = Array.from({ length: 100 }, (_, index) => makeSigner(1000 + index))
    relays.forEach((relay, index) => {
      net.publishOnly(relay, makeDescriptor(relay, { address: at(index) }), [0])
    })
    await net.settle()
    expect(waiting).toHaveLength(MAX_RUNNING_TESTS)
    // A place that is free is taken at once, not with the next run.
    waiting.shift()!()
    await new Promise((resolve) => setImmediate(resolve))
    expect(waiting).toHaveLength(MAX_RUNNING_TESTS)
    while (waiting.length > 0) {
      waiting.shift()!()
      await net.settle()
    }
    expect([most, seen.length]).toEqual([MAX_RUNNING_TESTS, 100])
    expect(seen[0]).toMatchObject({ timeoutMs: 2000, maxReplyBytes: MAX_PING_REPLY_BYTES, fresh: true })
    expect(directory.agreement.store.listable()).toHaveLength(100)
    await directory.tested()
  })

  it('forgets with the descriptor whether its relay answered', async () => {
    const net = new BootstrapNetwork(3, INTERVAL_MS)
    for (let i = 0; i < 3; i++) net.start(i)
    await net.advance(100)
    const [short, long] = [makeSigner(300), makeSigner(301)]
    net.publish(short, makeDescriptor(short, { lifetime: 12, address: at(1) }))
    net.publish(long, makeDescriptor(long, { address: at(2) }))
    await net.advance(INTERVAL_MS)
    expect(net.directories[0]!.reachability.size).toBe(2)
    await net.advance(2 * INTERVAL_MS)
    expect(net.directories.map((directory) => [directory!.reachability.size, directory!.agreement.store.size])).toEqual([
      [1, 1],
      [1, 1],
      [1, 1]
    ])
    expect(net.network.calls.filter(({ to, method }) => to === idOf(short) && method === 'ping').length).toBeGreaterThan(3)
  })

  it('wakes when a test is due, says when one is over, and tests nobody after close', async () => {
    const net = new BootstrapNetwork(3, INTERVAL_MS)
    for (let i = 0; i < 3; i++) net.start(i)
    const directory = net.directories[0]!
    await net.advance(INTERVAL_MS)
    await net.advance(2000)
    const relay = makeSigner(300)
    net.publish(relay, makeDescriptor(relay), [0])
    const settled = net.settled
    await net.settle()
    expect(net.settled).toBeGreaterThan(settled)
    const pings = () => net.network.calls.filter(({ method }) => method === 'ping').length
    expect(pings()).toBe(1)
    // The list of the interval is finished: nothing else is due before the test is.
    const next = directory.reachability.nextPollMs()
    expect(next - net.nowMs).toBeGreaterThanOrEqual(1000)
    expect(next - net.nowMs).toBeLessThanOrEqual(INTERVAL_MS / 4)
    expect(directory.nextRunMs()).toBe(next)
    net.nowMs = Math.ceil(next)
    // Nothing that a restart needs changes with a test.
    expect(directory.agreementDue()).toBe(false)
    await net.settle()
    expect(pings()).toBe(2)
    directory.close()
    net.nowMs += INTERVAL_MS
    expect(directory.agreementDue()).toBe(true)
    await directory.run()
    await net.settle()
    expect(pings()).toBe(2)
  })

  it('tests but does not vote while it is held, also when an interval begins meanwhile', async () => {
    const net = new BootstrapNetwork(3, INTERVAL_MS)
    for (let i = 0; i < 3; i++) net.start(i, undefined, undefined, true)
    const relay = makeSigner(300)
    net.publish(relay, makeDescriptor(relay, { issued: START_S }))
    await net.advance(INTERVAL_MS + 1000)
    expect(net.directories.map((directory) => directory!.toState().vote)).toEqual([undefined, undefined, undefined])
    expect(net.directories.map((directory) => directory!.agreement.store.listable().length)).toEqual([1, 1, 1])
    for (const directory of net.directories) directory!.begin()
    await Promise.all(net.directories.map((directory) => directory!.run()))
    await net.advance(200)
    expect(listed(net)).toEqual([idOf(relay)])
  })
})
