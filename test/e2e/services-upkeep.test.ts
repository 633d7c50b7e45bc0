/** What keeps a service findable, end to end: real relays on loopback, the real addon, last hops that store nothing. */
import { randomBytes } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { DhtNode } from '../../ts/dht/index.js'
import { type AnonNode, createTestnet, type Testnet } from '../../ts/index.js'
import { eventually } from '../helpers/processes.js'
import { collect } from '../helpers/servers.js'

let net: Testnet
let host: AnonNode
let client: AnonNode

beforeAll(async () => {
  net = await createTestnet(10)
  ;[host, client] = await Promise.all([net.createNode(), net.createNode()])
}, 120_000)

afterAll(() => net?.close(), 60_000)

afterEach(() => {
  vi.restoreAllMocks()
})

/** A record that last hops say they stored so often, and did not. */
function pretend(times: number): { left: number; stored: number } {
  const put = DhtNode.prototype.storeService
  const told = { left: times, stored: 0 }
  vi.spyOn(DhtNode.prototype, 'storeService').mockImplementation(function (this: DhtNode, raw) {
    if (told.left > 0) {
      told.left -= 1
      return Promise.resolve(16)
    }
    told.stored += 1
    return put.call(this, raw)
  })
  return told
}

describe('a publication that last hops only say they stored', { timeout: 120_000 }, () => {
  it('is not what a service counts as published', async () => {
    const told = pretend(2)
    const service = await host.listen({ port: 80 }, (socket) => socket.end('here'))
    expect(told.left).toBe(0)
    expect(told.stored).toBeGreaterThan(0)
    expect(String(await collect(await client.connect(`${service.address}:80`)))).toBe('here')
    await service.close()
  })

  it('is noticed when a change was published, and made again', async () => {
    const service = await host.listen({ port: 80 }, (socket) => socket.end('here'))
    const told = pretend(2)
    // Whatever the other circuits with three hops are for: one of them is an introduction point's.
    const last = new Set(host.circuits().flatMap(({ hops }) => (hops.length === 3 ? [hops[2]?.nodeId] : [])))
    const guards = new Set(host.circuits().map(({ hops }) => hops[0]?.nodeId))
    for (const relay of net.relays.filter(({ nodeId }) => last.has(nodeId) && !guards.has(nodeId))) {
      if (told.left === 2) await relay.close()
      await eventually('a change is published, or it was no introduction point', 15_000, () => told.left < 2 || undefined).catch(
        () => undefined
      )
      if (told.left < 2) break
    }
    expect(told.left).toBeLessThan(2)
    await eventually('the descriptor is stored after all', 60_000, () => told.stored > 0 || undefined)
    await eventually('and found', 60_000, async () => {
      client.authorize(service.address, undefined)
      return client.connect(`${service.address}:80`, { isolate: String(Math.random()) }).then(collect, () => undefined)
    })
    await service.close()
  })
})

describe('listen', { timeout: 120_000 }, () => {
  it('refuses a service that the node publishes already, and takes it again once that is closed', async () => {
    const key = randomBytes(32)
    const service = await host.listen({ port: 80, key }, (socket) => socket.end('one'))
    await expect(host.listen({ port: 443, key }, (socket) => socket.end('two'))).rejects.toMatchObject({
      code: 'ERR_ANONNET_INVALID_ARGUMENT'
    })
    expect(String(await collect(await client.connect(`${service.address}:80`)))).toBe('one')
    await service.close()
    const again = await host.listen({ port: 443, key }, (socket) => socket.end('two'))
    await again.close()
  })

  it('ends with the node', async () => {
    const node = await net.createNode()
    pretend(Infinity)
    const listening = node
      .listen({ port: 80 }, (socket) => socket.end())
      .then(
        () => 'listens',
        (error: unknown) => error
      )
    await node.close()
    const late = new Promise((resolve) => setTimeout(resolve, 20_000, 'still waits').unref())
    expect(await Promise.race([listening, late])).toMatchObject({ code: 'ERR_ANONNET_CLOSED' })
  })
})
