/** A client that sleeps and wakes, on a network of real nodes in this process. */

import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type AnonNode, createTestnet, type DiagnosticEvent, type Testnet } from '../../ts/index.js'
import { socks5 } from '../helpers/proxy-client.js'
import { collect, echo, type Target, tcp } from '../helpers/servers.js'

let net: Testnet
let node: AnonNode
let echoing: Target
beforeAll(async () => {
  net = await createTestnet(5)
  echoing = await echo()
})
afterAll(async () => {
  await net?.close()
  await echoing?.close()
})
beforeEach(async () => {
  node = await net.createNode()
})
afterEach(() => node.close())

/** Sends a text and reads it back. */
async function say(text: string): Promise<string> {
  const socket = await node.connect(echoing.address)
  socket.end(text)
  return String(await collect(socket))
}
const numbers = (): number[] => [node.circuits().length, node.status().circuits.building, node.status().links]

describe('a dormant node', () => {
  it('has no circuit and no link, and makes none while nobody asks', async () => {
    expect(numbers()[2]).toBeGreaterThan(0)
    await node.dormant()
    expect(node.asleep).toBe(true)
    const timers = process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
    expect(numbers()).toEqual([0, 0, 0])
    await sleep(1_500)
    expect(numbers()).toEqual([0, 0, 0])
    expect(process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length).toBeLessThanOrEqual(timers)
    await node.dormant()
  })

  it('wakes for wake(), with the same guard and without asking for the list again', async () => {
    const events = node.events()
    const guards = (): Set<string> => new Set(node.circuits().map(({ hops }) => hops[0]!.nodeId))
    const before = guards()
    const { nodeId } = node
    await node.dormant()
    await node.wake()
    expect(node.asleep).toBe(false)
    expect(node.circuits().length).toBeGreaterThan(0)
    for (const guard of guards()) expect(before).toContain(guard)
    expect(node.nodeId).toBe(nodeId)
    expect(await say('awake')).toBe('awake')
    await node.close()
    const seen: DiagnosticEvent[] = []
    for await (const event of events) seen.push(event)
    expect(seen.flatMap((event) => (event.type === 'dormant' ? [event.state] : []))).toEqual(['dormant', 'awake'])
    expect(seen.filter(({ type }) => type === 'list:updated')).toEqual([])
  })

  it('wakes for connect(), for resolve() and for a client of its proxy', async () => {
    await node.dormant()
    expect(await say('by connect')).toBe('by connect')
    expect(node.asleep).toBe(false)
    await node.dormant()
    expect(await node.resolve('localhost')).toContain('127.0.0.1')
    const proxy = await node.listenProxy()
    await node.dormant()
    const { socket } = await socks5(proxy.address, '127.0.0.1', echoing.port)
    socket.end('by proxy')
    expect(String(await collect(socket))).toBe('by proxy')
    expect(node.asleep).toBe(false)
  })

  it('ends open streams at both ends by an error, never as if they were complete', async () => {
    const far = new Promise<Error>((resolve) => {
      void tcp((socket) => socket.on('error', resolve).resume()).then(async (server) => {
        const socket = await node.connect(server.address)
        socket.write('x')
        const deadline = Date.now() + 5_000
        while (server.sockets[0]?.bytesRead !== 1 && Date.now() < deadline) await sleep(5)
        const failed = once(socket, 'error')
        await node.dormant()
        expect((await failed)[0]).toMatchObject({ code: 'ERR_ANONNET_CIRCUIT_CLOSED', retry: 'now' })
        expect(socket.destroyed).toBe(true)
      })
    })
    expect(await far).toMatchObject({ code: 'ECONNRESET' })
  })

  it('ends a paused stream too, before and after its buffered bytes are read', async () => {
    const server = await tcp((socket) => socket.write('kept'))
    const socket = await node.connect(server.address)
    await once(socket, 'readable')
    const failed = once(socket, 'error')
    await node.dormant()
    // Nothing of another stream, that of the next life neither.
    await node.wake()
    socket.resume()
    expect((await failed)[0]).toMatchObject({ code: 'ERR_ANONNET_CIRCUIT_CLOSED' })
    await server.close()
  })

  it('refuses what is being connected, and those who wait for it to wake', async () => {
    await node.dormant()
    const connecting = node.connect(echoing.address, { isolate: 'x' })
    const asking = node.resolve('localhost', { isolate: 'y' })
    const waking = node.wake()
    const refused = [connecting, asking, waking].map((one) => expect(one).rejects.toMatchObject({ code: 'ERR_ANONNET_ABORTED' }))
    await node.dormant()
    await Promise.all(refused)
    await sleep(500)
    expect([node.asleep, ...numbers()]).toEqual([true, 0, 0, 0])
    expect(await say('still fine')).toBe('still fine')
  })

  it('sleeps and wakes a hundred times in turn, in any order', async () => {
    for (let round = 0; round < 100; round += 1) {
      const slept = node.dormant()
      if (round % 3 === 0) await slept
      if (round % 5 === 0) await sleep(round % 7)
      if (round % 2 === 0) node.wake().catch(() => undefined)
    }
    expect(await say('after all')).toBe('after all')
    await node.dormant()
    expect(numbers()).toEqual([0, 0, 0])
  })

  it('can be closed, and its wake() be aborted, with the reason as it is', async () => {
    await node.dormant()
    const reason = { why: 'enough' }
    const controller = new AbortController()
    const waking = node.wake({ signal: controller.signal })
    controller.abort(reason)
    await expect(waking).rejects.toBe(reason)
    await node.dormant()
    const closing = node.wake()
    await Promise.all([node.close(), expect(closing).rejects.toMatchObject({ code: 'ERR_ANONNET_CLOSED' })])
    await expect(node.dormant()).rejects.toMatchObject({ code: 'ERR_ANONNET_CLOSED' })
    await expect(node.wake()).rejects.toMatchObject({ code: 'ERR_ANONNET_CLOSED' })
  })
})
