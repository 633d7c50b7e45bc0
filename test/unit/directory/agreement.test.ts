import { describe, expect, it } from 'vitest'
import { computeConsensus } from '../../../ts/directory/consensus.js'
import { encodeList, listMessage, verifyList } from '../../../ts/directory/list.js'
import { DescriptorCache, issueVote, parseVote, type VoteEntry } from '../../../ts/directory/vote.js'
import { fromHex, nodeIdOf, sha256, toHex } from '../../../ts/wire/index.js'
import { BootstrapNetwork, codeOf, INTERVAL_MS, makeDescriptor, makeSigner, START_S, verify } from './helpers.js'

const cache = new DescriptorCache(verify)

function entries(count: number, base = 100): VoteEntry[] {
  return Array.from({ length: count }, (_, index) => ({
    signed: cache.parse(makeDescriptor(makeSigner(base + index), { address: `127.${index + 1}.0.1:4000` })),
    firstSeen: START_S
  }))
}

describe('agreement of the bootstrap nodes', () => {
  it('lists what was published within two intervals, the same at all', async () => {
    const net = new BootstrapNetwork(3)
    for (let i = 0; i < 3; i++) net.start(i)
    await net.advance(100)
    const relays = Array.from({ length: 6 }, (_, index) => makeSigner(100 + index))
    relays.forEach((relay, index) => {
      net.publish(relay, makeDescriptor(relay, { address: `127.${index + 1}.0.1:4000` }))
    })
    await net.advance(2 * INTERVAL_MS)
    const digests = net.directories.map((directory) => directory?.list?.digest)
    expect(new Set(digests).size).toBe(1)
    const list = verifyList(net.directories[0]!.list!.raw, net.keys, net.nowMs, verify)
    expect(list.relays.map((relay) => relay.nodeId)).toEqual(relays.map((relay) => nodeIdOf(relay.publicKey)).sort())
    expect(list.validAfter).toBe((list.interval * INTERVAL_MS) / 1000)
  })

  it('is done within a few round trips of the start of an interval', async () => {
    const net = new BootstrapNetwork(3)
    for (let i = 0; i < 3; i++) net.start(i)
    await net.advance(INTERVAL_MS - 50)
    await net.advance(50)
    const interval = Math.floor(net.nowMs / INTERVAL_MS)
    for (let i = 0; i < 4; i++) await net.settle()
    expect(net.directories.map((directory) => directory?.list?.interval)).toEqual([interval, interval, interval])
  })

  it('goes on with one dead node of three, and stops with two dead', async () => {
    const net = new BootstrapNetwork(3)
    net.start(0)
    net.start(1)
    const relay = makeSigner(100)
    await net.advance(INTERVAL_MS)
    net.publish(relay, makeDescriptor(relay))
    await net.advance(2 * INTERVAL_MS)
    const list = net.directories[0]!.list!
    expect(list.digest).toBe(net.directories[1]!.list!.digest)
    expect(list.interval).toBe(Math.floor(net.nowMs / INTERVAL_MS) - (net.nowMs % INTERVAL_MS === 0 ? 1 : 0))
    expect(list.relays).toHaveLength(1)
    net.stop(1)
    const before = net.directories[0]!.list!.interval
    await net.advance(3 * INTERVAL_MS)
    expect(net.directories[0]!.list!.interval).toBeLessThanOrEqual(before + 1)
  })

  it('brings a node that comes late up to date, without a vote of its own for that interval', async () => {
    const net = new BootstrapNetwork(3)
    net.start(0)
    net.start(1)
    const relay = makeSigner(100)
    await net.advance(INTERVAL_MS)
    net.publish(relay, makeDescriptor(relay))
    await net.advance(2 * INTERVAL_MS + 1000)
    const late = net.start(2)
    await net.advance(300)
    expect(late.list?.digest).toBe(net.directories[0]!.list!.digest)
    expect(late.toState().vote).toBeUndefined()
    // It votes in the next interval, for the relay that it learned of from the list.
    await net.advance(INTERVAL_MS)
    expect(late.toState().vote).toBeDefined()
    expect(late.list?.relays).toHaveLength(1)
    expect(new Set(net.directories.map((directory) => directory?.list?.digest)).size).toBe(1)
  })

  it('goes on after a restart with the vote it had, and nobody sees it equivocate', async () => {
    const net = new BootstrapNetwork(3)
    for (let i = 0; i < 3; i++) net.start(i)
    const relay = makeSigner(100)
    await net.advance(100)
    net.publish(relay, makeDescriptor(relay))
    // Only node 0 is up when the interval begins: it has voted, and no list can exist.
    net.stop(1)
    net.stop(2)
    await net.advance(INTERVAL_MS)
    const state = JSON.parse(JSON.stringify(net.directories[0]!.toState()))
    expect(state.vote).toBeDefined()
    net.stop(0)
    const restarted = net.start(0, state)
    restarted.handle(
      'desc.publish',
      { descriptor: makeDescriptor(makeSigner(101)) },
      { nodeId: nodeIdOf(makeSigner(101).publicKey), address: 'x' }
    )
    net.start(1)
    net.start(2)
    await net.advance(1500)
    expect(restarted.agreement.equivocators()).toEqual([])
    expect(restarted.toState().vote).toBe(state.vote)
    expect(new Set(net.directories.map((directory) => directory?.list?.digest)).size).toBe(1)
    expect(restarted.list).toBeDefined()
  })

  it('without its state a restarted node takes its vote back from the others', async () => {
    const net = new BootstrapNetwork(3)
    net.start(0)
    net.start(1)
    await net.advance(INTERVAL_MS - 50)
    net.stop(1)
    await net.advance(100)
    const vote = net.directories[0]!.toState().vote
    net.start(1)
    await net.settle()
    net.stop(0)
    const forgot = net.start(0)
    await net.advance(200)
    expect(forgot.toState().vote).toBe(vote)
    expect(forgot.agreement.equivocators()).toEqual([])
  })

  it('leaves out a node that sends different votes, and keeps both as proof', async () => {
    const net = new BootstrapNetwork(3)
    net.start(0)
    net.start(1)
    await net.advance(INTERVAL_MS)
    const relay = makeSigner(100)
    net.publish(relay, makeDescriptor(relay))
    await net.advance(INTERVAL_MS - 50)
    const interval = Math.floor(net.nowMs / INTERVAL_MS) + 1
    const liar = { nodeId: net.peer(2).nodeId, address: net.peer(2).address }
    const votes = [entries(2, 300), entries(1, 400)].map((list) => issueVote(interval, INTERVAL_MS, list, net.signers[2]!))
    votes.forEach((vote, index) => {
      net.directories[index]!.handle('vote.exchange', { interval, have: [], votes: [vote] }, liar)
    })
    await net.advance(1000)
    expect(net.directories.slice(0, 2).map((directory) => directory!.agreement.equivocators())).toEqual([
      [toHex(net.signers[2]!.publicKey)],
      [toHex(net.signers[2]!.publicKey)]
    ])
    const lists = net.directories.slice(0, 2).map((directory) => directory!.list!)
    expect(lists[0]!.digest).toBe(lists[1]!.digest)
    expect(lists[0]!.interval).toBe(interval)
    expect(lists[0]!.relays.map((entry) => entry.nodeId)).toEqual([nodeIdOf(relay.publicKey)])
  })

  it('settles on one list when a liar gives its signature to two', async () => {
    const net = new BootstrapNetwork(3)
    net.start(0)
    net.start(1)
    await net.advance(INTERVAL_MS)
    const interval = Math.floor(net.nowMs / INTERVAL_MS) + 1
    await net.advance(INTERVAL_MS - 50)
    // Node 0 and node 1 vote; the liar makes a list with its own vote and one of theirs, and signs it together with node 0's signature.
    const own = parseVote(issueVote(interval, INTERVAL_MS, [], net.signers[0]!), INTERVAL_MS, new Set(net.keys.map(toHex)), cache)
    const liars = parseVote(
      issueVote(interval, INTERVAL_MS, entries(3, 500), net.signers[2]!),
      INTERVAL_MS,
      new Set(net.keys.map(toHex)),
      cache
    )
    const body = computeConsensus(interval, INTERVAL_MS, [own, liars])
    const message = listMessage(sha256(body))
    const forged = encodeList(
      body,
      [net.signers[2]!, makeSigner(99)].map((signer) => [signer.publicKey, signer.sign(message)] as const)
    )
    expect(codeOf(() => verifyList(forged, net.keys, net.nowMs, verify))).toBe('ERR_ANONNET_LIST_INVALID')
    await net.advance(1000)
    const good = net.directories[0]!.list!
    const digest = toHex(sha256(body))
    const answer = net.directories[0]!.handle(
      'vote.signature',
      { interval, digest: fromHex(digest, 32), signatures: [[net.signers[2]!.publicKey, net.signers[2]!.sign(message)]] },
      { nodeId: net.peer(2).nodeId, address: '127.0.0.9:1' }
    ) as { digest: Uint8Array }
    expect(toHex(answer.digest)).toBe(good.digest)
    await net.advance(300)
    expect(net.directories.slice(0, 2).map((directory) => directory!.list!.digest)).toEqual([good.digest, good.digest])
  })

  it('takes over the better of two lists of one interval that majorities signed', async () => {
    const net = new BootstrapNetwork(3)
    net.start(0)
    await net.advance(INTERVAL_MS)
    const interval = Math.floor(net.nowMs / INTERVAL_MS)
    const voters = new Set(net.keys.map(toHex))
    const votes = net.signers.map((signer) => parseVote(issueVote(interval, INTERVAL_MS, [], signer), INTERVAL_MS, voters, cache))
    const [two, three] = [votes.slice(0, 2), votes].map((counted) => {
      const body = computeConsensus(interval, INTERVAL_MS, counted)
      const message = listMessage(sha256(body))
      const raw = encodeList(
        body,
        net.signers.slice(1).map((signer) => [signer.publicKey, signer.sign(message)] as const)
      )
      return { raw, digest: sha256(body) }
    })
    let offered = two!
    net.network.handlers.set(net.peer(1).nodeId, (method) =>
      method === 'list.get' ? { list: offered.raw } : { interval, have: [], votes: [], list: offered.digest }
    )
    await net.advance(400)
    expect(net.directories[0]!.list!.digest).toBe(toHex(two!.digest))
    offered = three!
    const say = (digest: Uint8Array) =>
      net.directories[0]!.handle(
        'vote.exchange',
        { interval, have: [], votes: [], list: digest },
        { nodeId: net.peer(1).nodeId, address: 'x' }
      )
    say(three!.digest)
    await net.advance(100)
    expect(net.directories[0]!.list!.digest).toBe(toHex(three!.digest))
    offered = two!
    say(two!.digest)
    await net.advance(100)
    expect(net.directories[0]!.list!.digest).toBe(toHex(three!.digest))
  })

  it('takes a late vote into account while no majority has signed', async () => {
    const net = new BootstrapNetwork(5)
    for (const i of [0, 1, 2]) net.start(i)
    await net.advance(INTERVAL_MS)
    const relay = makeSigner(100)
    net.publish(relay, makeDescriptor(relay))
    await net.advance(INTERVAL_MS - 50)
    net.stop(2)
    await net.advance(700)
    expect(net.directories[0]!.list!.interval).toBe(Math.floor(net.nowMs / INTERVAL_MS) - 1)
    net.start(2)
    await net.advance(700)
    expect(net.directories.slice(0, 3).map((directory) => directory!.list!.interval)).toEqual(
      new Array(3).fill(Math.floor(net.nowMs / INTERVAL_MS))
    )
  })

  it('does not count forged signatures, nor lets them stand in for the right ones', async () => {
    const net = new BootstrapNetwork(3)
    const directory = net.start(0)
    await net.advance(INTERVAL_MS)
    const interval = Math.floor(net.nowMs / INTERVAL_MS)
    const peer = { nodeId: net.peer(1).nodeId, address: '127.0.1.1:9000' }
    const vote = issueVote(interval, INTERVAL_MS, [], net.signers[1]!)
    directory.handle('vote.exchange', { interval, have: [], votes: [vote] }, peer)
    await net.advance(600)
    const say = (signatures: unknown[], digest?: Uint8Array) =>
      directory.handle('vote.signature', { interval, signatures, ...(digest ? { digest } : {}) }, peer) as { digest: Uint8Array }
    const { digest } = say([])
    const forged = net.signers.slice(1).map((signer) => [signer.publicKey, new Uint8Array(64)])
    say(forged, digest)
    expect(directory.list).toBeUndefined()
    say([[net.signers[1]!.publicKey, net.signers[1]!.sign(listMessage(digest))]], digest)
    expect(directory.list?.digest).toBe(toHex(digest))
  })

  it('answers garbage, strangers and wrong intervals with typed errors', async () => {
    const net = new BootstrapNetwork(3)
    const directory = net.start(0)
    await net.advance(100)
    const peer = { nodeId: net.peer(1).nodeId, address: '127.0.1.1:9000' }
    const stranger = { nodeId: '00'.repeat(32), address: '127.0.1.1:9000' }
    const interval = Math.floor(net.nowMs / INTERVAL_MS)
    const exchange = { interval, have: [], votes: [] }
    expect(codeOf(() => directory.handle('vote.exchange', exchange, stranger))).toBe('ERR_ANONNET_RPC_REFUSED')
    expect(codeOf(() => directory.handle('vote.exchange', exchange, { address: 'x' }))).toBe('ERR_ANONNET_RPC_REFUSED')
    expect(codeOf(() => directory.handle('vote.exchange', { ...exchange, interval: interval - 2 }, peer))).toBe('ERR_ANONNET_RPC_REFUSED')
    expect(codeOf(() => directory.handle('vote.exchange', { ...exchange, extra: 1 }, peer))).toBe('ERR_ANONNET_RPC_INVALID')
    expect(codeOf(() => directory.handle('vote.exchange', { ...exchange, votes: [new Uint8Array(9)] }, peer))).toBe(
      'ERR_ANONNET_LIST_INVALID'
    )
    expect(codeOf(() => directory.handle('vote.signature', null, peer))).toBe('ERR_ANONNET_RPC_INVALID')
    expect(codeOf(() => directory.handle('vote.nonsense', {}, peer))).toBe('ERR_ANONNET_RPC_INVALID')
    expect(codeOf(() => directory.handle('list.get', {}, stranger))).toBe('ERR_ANONNET_NOT_BOOTSTRAPPED')
    expect(codeOf(() => directory.handle('list.get', { have: 'x' }, stranger))).toBe('ERR_ANONNET_RPC_INVALID')
    const relay = makeSigner(100)
    const descriptor = makeDescriptor(relay)
    expect(codeOf(() => directory.handle('desc.publish', { descriptor }, { address: 'x' }))).toBe('ERR_ANONNET_RPC_REFUSED')
    expect(codeOf(() => directory.handle('desc.publish', { descriptor }, stranger))).toBe('ERR_ANONNET_DESCRIPTOR_INVALID')
    expect(codeOf(() => directory.handle('desc.publish', { descriptor: 5 }, stranger))).toBe('ERR_ANONNET_RPC_INVALID')
  })

  it('survives peers that answer nonsense', async () => {
    const net = new BootstrapNetwork(4)
    for (const i of [0, 1, 2]) net.start(i)
    const answers: unknown[] = [
      null,
      5,
      [],
      {},
      { interval: 1, have: [], votes: [] },
      { interval: 'x' },
      { list: new Uint8Array(4) },
      { diff: new Uint8Array(3) }
    ]
    let turn = 0
    net.network.handlers.set(net.peer(3).nodeId, () => answers[turn++ % answers.length])
    await net.advance(3 * INTERVAL_MS)
    expect(turn).toBeGreaterThan(3)
    const interval = Math.floor(net.nowMs / INTERVAL_MS)
    expect(net.directories.slice(0, 3).map((directory) => directory!.list!.interval >= interval - 1)).toEqual([true, true, true])
  })

  it('refuses configurations that cannot agree, and damaged state', () => {
    const net = new BootstrapNetwork(3)
    expect(codeOf(() => net.start(0, { version: 1, descriptors: [], lists: ['%%'] }))).toBe('ERR_ANONNET_STORE_FAILED')
    expect(codeOf(() => net.start(0, { version: 1, descriptors: [['AAAA', 1]], lists: [] }))).toBe('ERR_ANONNET_STORE_FAILED')
    expect(codeOf(() => net.start(0, { version: 2, descriptors: [], lists: [] }))).toBe('ERR_ANONNET_STORE_FAILED')
    expect(codeOf(() => new BootstrapNetwork(2).start(0))).toBe('ERR_ANONNET_CONFIG_INVALID')
  })
})
