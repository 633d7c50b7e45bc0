import { describe, expect, it } from 'vitest'
import { type FetcherOptions, ListFetcher } from '../../../ts/directory/fetcher.js'
import { DescriptorPublisher } from '../../../ts/directory/publisher.js'
import type { Peer } from '../../../ts/directory/types.js'
import { errorFromCode } from '../../../ts/errors/index.js'
import { nodeIdOf } from '../../../ts/wire/index.js'
import { BootstrapNetwork, codeOf, INTERVAL_MS, makeDescriptor, makeFacts, makeSigner, verify } from './helpers.js'

const ME: Peer = { nodeId: 'ab'.repeat(32), address: '127.5.0.1:1' }

async function running(relays = 3): Promise<BootstrapNetwork> {
  const net = new BootstrapNetwork(3)
  for (let i = 0; i < 3; i++) net.start(i)
  await net.advance(100)
  publish(net, 0, relays)
  await net.advance(2 * INTERVAL_MS)
  return net
}

function publish(net: BootstrapNetwork, from: number, count: number): void {
  for (let i = from; i < from + count; i++) {
    const relay = makeSigner(100 + i)
    net.publish(relay, makeDescriptor(relay, { address: `127.${i + 1}.0.1:1`, issued: Math.floor(net.nowMs / 1000) }))
  }
}

function fetcher(net: BootstrapNetwork, overrides: Partial<FetcherOptions> = {}): ListFetcher {
  return new ListFetcher({
    bootstrapKeys: net.keys,
    sources: net.nodes.map((_, index) => net.peer(index)),
    rpc: net.network.rpcOf(ME),
    now: () => net.nowMs,
    rng: () => 0.5,
    verify,
    minRelays: 3,
    ...overrides
  })
}

describe('the client', () => {
  it('fetches a list, keeps it, and comes back after it is no longer fresh', async () => {
    const net = await running()
    const seen: number[] = []
    const client = fetcher(net, { onList: (list) => seen.push(list.interval) })
    expect(codeOf(() => client.current())).toBe('ERR_ANONNET_NOT_BOOTSTRAPPED')
    expect(client.nextRunMs()).toBeLessThanOrEqual(net.nowMs)
    await client.run()
    const list = client.current()
    expect(list.relays).toHaveLength(3)
    expect(seen).toEqual([list.interval])
    expect(client.nextRunMs()).toBeGreaterThanOrEqual(list.freshUntil * 1000)
    expect(client.nextRunMs()).toBeLessThan(list.freshUntil * 1000 + INTERVAL_MS)
    await net.advance(INTERVAL_MS)
    await client.run()
    expect(client.current().interval).toBe(list.interval + 1)
    // The second came as a difference from the first.
    const again = fetcher(net, { cached: client.cached! })
    expect(again.current().digest).toBe(client.current().digest)
    expect(again.nextRunMs()).toBeGreaterThan(net.nowMs)
  })

  it('asks again soon while the list has too few relays', async () => {
    const net = await running(1)
    const client = fetcher(net)
    await client.run()
    expect(client.current().relays).toHaveLength(1)
    expect(client.nextRunMs() - net.nowMs).toBeLessThanOrEqual(INTERVAL_MS / 8)
    publish(net, 1, 3)
    for (const end = net.nowMs + 2 * INTERVAL_MS; net.nowMs < end; ) {
      await net.advance(50)
      if (client.nextRunMs() <= net.nowMs) await client.run()
    }
    expect(client.current().relays).toHaveLength(4)
  })

  it('gets it though one source is dead and one lies', async () => {
    const net = await running()
    net.stop(0)
    net.network.handlers.set(net.peer(1).nodeId, () => ({ list: new Uint8Array(50) }))
    const client = fetcher(net)
    await client.run()
    expect(client.current().relays).toHaveLength(3)
  })

  it('is not kept on an old list by sources that say there is no newer', async () => {
    const net = await running()
    const client = fetcher(net)
    await client.run()
    const old = client.current()
    await net.advance(INTERVAL_MS)
    // The two that are asked first.
    for (const index of [1, 2]) net.network.handlers.set(net.peer(index).nodeId, () => ({ same: true }))
    await client.run()
    expect(client.current().interval).toBe(old.interval + 1)
  })

  it('refuses older lists, other lists of the interval it has, and expired ones', async () => {
    const net = await running()
    const client = fetcher(net)
    await client.run()
    const old = client.cached!
    await net.advance(INTERVAL_MS)
    await client.run()
    expect(client.accept(client.cached!)).toBe(false)
    expect(codeOf(() => client.accept(old))).toBe('ERR_ANONNET_LIST_INVALID')
    expect(codeOf(() => client.accept(new Uint8Array(9)))).toBe('ERR_ANONNET_LIST_INVALID')
    const before = client.current()
    net.nowMs = before.validUntil * 1000
    expect(codeOf(() => client.current())).toBe('ERR_ANONNET_LIST_INVALID')
    expect(client.newest?.digest).toBe(before.digest)
    expect(codeOf(() => fetcher(net, { cached: old }).current())).toBe('ERR_ANONNET_NOT_BOOTSTRAPPED')
  })

  it('backs off while nobody answers, and starts afresh with other sources', async () => {
    const net = await running()
    const client = fetcher(net, { sources: [ME] })
    const pauses: number[] = []
    for (let i = 0; i < 12; i++) {
      await client.run()
      pauses.push(client.nextRunMs() - net.nowMs)
      net.nowMs = client.nextRunMs()
    }
    expect(pauses[0]).toBeLessThanOrEqual(250)
    expect(pauses[1]).toBeGreaterThan(pauses[0]!)
    expect(pauses.at(-1)).toBeLessThanOrEqual(60_000)
    expect(pauses.at(-1)).toBe(pauses.at(-2))
    client.setSources([0, 1, 2].map((index) => net.peer(index)))
    await net.advance(100)
    await client.run()
    expect(client.current().relays).toHaveLength(3)
  })

  it('serves what it has to others, as a relay does', async () => {
    const net = await running()
    const client = fetcher(net)
    await client.run()
    expect(client.handle('list.get', {}, { address: 'x' })).toEqual({ list: client.cached })
    expect(codeOf(() => client.handle('list.put', {}, { address: 'x' }))).toBe('ERR_ANONNET_RPC_INVALID')
  })

  it('runs once at a time and not after close', async () => {
    const net = await running()
    const client = fetcher(net)
    const calls = () => net.network.calls.filter((call) => call.from === ME.nodeId).length
    await Promise.all([client.run(), client.run()])
    expect(calls()).toBeLessThanOrEqual(2)
    const before = calls()
    client.close()
    await client.run()
    expect(calls()).toBe(before)
  })

  it('refuses a configuration with too few keys', () => {
    const net = new BootstrapNetwork(2)
    expect(codeOf(() => fetcher(net))).toBe('ERR_ANONNET_CONFIG_INVALID')
  })
})

describe('the publisher', () => {
  const { issued: _issued, lifetime: _lifetime, seq: _seq, ...facts } = makeFacts()
  const relay = makeSigner(500)

  function publisher(net: BootstrapNetwork, count = 3, lifetimeS?: number): DescriptorPublisher {
    return new DescriptorPublisher({
      bootstraps: Array.from({ length: count }, (_, index) => net.peer(index)),
      rpc: net.network.rpcOf({ nodeId: nodeIdOf(relay.publicKey), address: facts.address }),
      now: () => net.nowMs,
      rng: () => 0.5,
      signer: relay,
      facts,
      ...(lifetimeS === undefined ? {} : { lifetimeS })
    })
  }

  it('publishes everywhere, and the relay is in the next list', async () => {
    const net = await running(0)
    const mine = publisher(net)
    net.up(relay, facts.address)
    expect(mine.nextRunMs()).toBe(net.nowMs)
    await mine.run()
    expect(mine.takenBy).toBe(3)
    await net.advance(2 * INTERVAL_MS)
    expect(net.directories[0]!.list!.relays.map((entry) => entry.nodeId)).toEqual([mine.nodeId])
    expect(mine.nextRunMs()).toBeGreaterThan(net.nowMs + 3000_000)
  })

  it('retries where it failed, and only there', async () => {
    const net = await running(0)
    net.stop(2)
    const mine = publisher(net)
    await mine.run()
    expect(mine.takenBy).toBe(2)
    const first = mine.nextRunMs()
    expect(first - net.nowMs).toBeLessThanOrEqual(250)
    net.nowMs = first
    await mine.run()
    expect(mine.nextRunMs() - first).toBeGreaterThan(250 / 2)
    net.start(2)
    net.nowMs = mine.nextRunMs()
    const before = net.network.calls.length
    await mine.run()
    expect(net.network.calls.slice(before).filter((call) => call.method === 'desc.publish')).toHaveLength(1)
    expect(mine.takenBy).toBe(3)
  })

  it('issues anew after a third of the life, and at once when facts change; seq goes up', async () => {
    const net = await running(0)
    const mine = publisher(net, 3, 600)
    await mine.run()
    const first = mine.raw!
    await mine.run()
    expect(mine.raw).toBe(first)
    net.nowMs += 200_000
    await mine.run()
    const second = mine.raw!
    expect(second).not.toEqual(first)
    mine.update({ ...facts, bandwidth: 5 })
    expect(mine.nextRunMs()).toBe(net.nowMs)
    await mine.run()
    expect(mine.takenBy).toBe(3)
    expect(net.directories[0]!.agreement.store.entries()[0]!.signed.descriptor.bandwidth).toBe(5)
  })

  it('publishes again when a later list does not have the relay', async () => {
    const net = await running(0)
    const mine = publisher(net)
    await mine.run()
    const early = net.directories[0]!.list!
    mine.noteList(early)
    expect(mine.takenBy).toBe(3)
    mine.noteList({ ...early, validAfter: net.nowMs / 1000 + 1 })
    expect(mine.takenBy).toBe(0)
    net.nowMs = mine.nextRunMs()
    await mine.run()
    expect(mine.takenBy).toBe(3)
  })

  it('waits long where it was told that it publishes too often, and stops when closed', async () => {
    const net = new BootstrapNetwork(3)
    const mine = publisher(net, 1)
    net.network.handlers.set(net.peer(0).nodeId, () => {
      throw errorFromCode('ERR_ANONNET_RATE_LIMITED')
    })
    await mine.run()
    expect(mine.nextRunMs() - net.nowMs).toBeGreaterThanOrEqual(30_000)
    mine.close()
    const before = net.network.calls.length
    net.nowMs += 3600_000
    await mine.run()
    expect(net.network.calls.length).toBe(before)
  })

  it('says what is wrong with its own facts', async () => {
    const net = new BootstrapNetwork(3)
    const mine = publisher(net)
    mine.update({ ...facts, address: 'example.org:1' })
    await expect(mine.run()).rejects.toMatchObject({ code: 'ERR_ANONNET_DESCRIPTOR_INVALID' })
  })
})
