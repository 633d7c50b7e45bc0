import { describe, expect, it } from 'vitest'
import { compareDistance } from '../../../ts/dht/id.js'
import { CLEANUP_INTERVAL_MS, MAX_REPUBLISH_MS } from '../../../ts/dht/limits.js'
import { fromHex, nodeIdOf, sha256, toHex } from '../../../ts/wire/index.js'
import { codeOfAsync, DhtNetwork, quiet, type TestNode } from './helpers.js'

const keyOf = (name: string) => toHex(sha256(Buffer.from(name)))
const data = (name: string, payload: string, ttl = 3600) => ({
  type: 'data' as const,
  key: keyOf(name),
  ttl,
  payload: Buffer.from(payload)
})
const textOf = (payload: Uint8Array) => Buffer.from(payload).toString()

describe('a DHT of 100 nodes', () => {
  it('finds what any node published from any other, and the nodes closest to a key', async () => {
    const net = new DhtNetwork()
    await net.grow(100)
    for (const { node } of net.nodes) expect(node.table.size).toBeGreaterThan(10)
    for (let i = 0; i < 10; i++) await net.nodes[(i * 7) % 100]!.node.publish(data(`name ${i}`, `value ${i}`))
    let found = 0
    for (let i = 0; i < 50; i++) {
      const records = await net.nodes[(i * 13 + 5) % 100]!.node.findValue(keyOf(`name ${i % 10}`))
      if (records.length === 1 && textOf(records[0]!.payload) === `value ${i % 10}`) found++
    }
    expect(found).toBe(50)
    const target = keyOf('somewhere')
    const truth = net.nodes
      .map(({ peer }) => peer.nodeId)
      .sort((a, b) => compareDistance(fromHex(target, 32), fromHex(a, 32), fromHex(b, 32)))
    const asker = net.nodes[42]!
    const closest = await asker.node.findNode(target)
    expect(closest.slice(0, 8).map((peer) => peer.nodeId)).toEqual(truth.filter((id) => id !== asker.peer.nodeId).slice(0, 8))
  }, 60_000)

  it('still finds after a third of the nodes died without a word', async () => {
    const net = new DhtNetwork()
    await net.grow(40)
    for (let i = 0; i < 10; i++) await net.nodes[i]!.node.publish(data(`name ${i}`, `value ${i}`))
    for (const made of net.nodes.filter((_, index) => index % 3 === 0)) net.kill(made)
    for (let i = 0; i < 10; i++) {
      const records = await net.nodes[3 * i + 1]!.node.findValue(keyOf(`name ${i}`))
      expect(records.map((record) => textOf(record.payload))).toEqual([`value ${i}`])
    }
  }, 60_000)
})

describe('publishing', () => {
  async function small(count = 12): Promise<{ net: DhtNetwork; nodes: readonly TestNode[] }> {
    const net = new DhtNetwork()
    await net.grow(count)
    return { net, nodes: net.nodes }
  }

  it('keeps several publishers of one key apart', async () => {
    const { nodes } = await small()
    await nodes[1]!.node.publish(data('shared', 'one'))
    await nodes[2]!.node.publish(data('shared', 'two'))
    const records = await nodes[9]!.node.findValue(keyOf('shared'))
    expect(records.map((record) => textOf(record.payload)).sort()).toEqual(['one', 'two'])
    const [only] = await nodes[9]!.node.findValue(keyOf('shared'), { publisher: nodes[2]!.signer.publicKey })
    expect(textOf(only!.payload)).toBe('two')
    expect(await codeOfAsync(() => nodes[9]!.node.findValue(keyOf('shared'), { type: 'node' }))).toBe('ERR_ANONNET_NOT_FOUND')
  })

  it('replaces by the higher seq', async () => {
    const { nodes } = await small()
    await nodes[1]!.node.publish(data('name', 'old'))
    await nodes[1]!.node.publish(data('name', 'new'))
    const records = await nodes[5]!.node.findValue(keyOf('name'))
    expect(records.map((record) => textOf(record.payload))).toEqual(['new'])
  })

  it('publishes anew before the record expires, and not after it was withdrawn', async () => {
    const { net, nodes } = await small()
    const { node } = nodes[1]!
    await node.publish(data('name', 'alive', 600))
    const [first] = await nodes[5]!.node.findValue(keyOf('name'))
    expect(node.nextRunMs()).toBeLessThanOrEqual(net.nowMs + 300_000)
    net.nowMs += 300_000
    await node.run()
    net.nowMs += 400_000
    const [second] = await nodes[5]!.node.findValue(keyOf('name'))
    expect(second!.seq).toBeGreaterThan(first!.seq)
    node.withdraw('data', keyOf('name'))
    net.nowMs += MAX_REPUBLISH_MS
    await node.run()
    expect(await codeOfAsync(() => nodes[5]!.node.findValue(keyOf('name')))).toBe('ERR_ANONNET_NOT_FOUND')
  })

  it('forgets what has expired', async () => {
    const { net, nodes } = await small()
    await nodes[1]!.node.publish(data('name', 'short', 60))
    const holder = nodes.find(({ node }) => node.store.size > 0)!
    net.nowMs += 61_000
    expect(await codeOfAsync(() => nodes[5]!.node.findValue(keyOf('name')))).toBe('ERR_ANONNET_NOT_FOUND')
    net.nowMs += CLEANUP_INTERVAL_MS
    await holder.node.run()
    expect(holder.node.store.size).toBe(0)
  })

  it('says so when there is nobody to store at, or nothing to find, or the argument is no key', async () => {
    const net = new DhtNetwork()
    const { node } = net.add(1)
    expect(await codeOfAsync(() => node.publish(data('name', 'value')))).toBe('ERR_ANONNET_NOT_FOUND')
    expect(await codeOfAsync(() => node.findValue(keyOf('name')))).toBe('ERR_ANONNET_NOT_FOUND')
    expect(await codeOfAsync(() => node.findValue('name'))).toBe('ERR_ANONNET_INVALID_ARGUMENT')
    expect(await codeOfAsync(() => node.publish({ ...data('name', ''), payload: new Uint8Array(16 * 1024 + 1) }))).toBe(
      'ERR_ANONNET_RECORD_INVALID'
    )
    expect(await codeOfAsync(() => node.publish({ ...data('name', ''), type: 'node' }))).toBe('ERR_ANONNET_RECORD_INVALID')
  })

  it("stores a node's own record under its id and nobody else's", async () => {
    const { nodes } = await small()
    const { node, peer } = nodes[3]!
    await node.publish({ type: 'node', key: peer.nodeId, ttl: 600, payload: Buffer.from('me') })
    const [record] = await nodes[8]!.node.findValue(peer.nodeId, { type: 'node' })
    expect(nodeIdOf(record!.publisher)).toBe(peer.nodeId)
  })

  it('throws the reason of a signal that was aborted', async () => {
    const { nodes } = await small()
    const reason = new Error('changed my mind')
    await expect(nodes[1]!.node.findValue(keyOf('name'), { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
  })

  it('does nothing after close', async () => {
    const { net, nodes } = await small(4)
    const { node } = nodes[1]!
    node.close()
    net.nowMs += 2 * MAX_REPUBLISH_MS
    const before = net.network.calls.length
    await node.run()
    await quiet()
    expect(net.network.calls.length).toBe(before)
  })

  it('refreshes buckets that nobody used for an hour', async () => {
    const { net, nodes } = await small()
    net.nowMs += MAX_REPUBLISH_MS + 1
    const before = net.network.calls.length
    await nodes[2]!.node.run()
    expect(net.network.calls.length).toBeGreaterThan(before)
    const after = net.network.calls.length
    await nodes[2]!.node.run()
    expect(net.network.calls.length).toBe(after)
  })
})
