/** Every kind of event comes from a real node, on its channel and from events(), and none names anybody. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { DIAGNOSTIC_TYPES, onDiagnostic } from '../../ts/diagnostics/index.js'
import { type AnonNode, createTestnet, type DiagnosticEvent, type Testnet } from '../../ts/index.js'
import { socks5 } from '../helpers/proxy-client.js'
import { collect, echo, type Target } from '../helpers/servers.js'

const published: DiagnosticEvent[] = []
const unsubscribe = DIAGNOSTIC_TYPES.map((type) => onDiagnostic(type, (event) => published.push(event)))
let net: Testnet
let node: AnonNode
let echoing: Target
const read: DiagnosticEvent[] = []
let reading: Promise<void>

beforeAll(async () => {
  net = await createTestnet(4)
  echoing = await echo()
  node = await net.createNode()
  const events = node.events()
  reading = (async () => {
    for await (const event of events) read.push(event)
  })()
})
afterAll(async () => {
  for (const end of unsubscribe) end()
  await net?.close()
  await echoing?.close()
})

const streams = (): unknown[] => read.flatMap((event) => (event.type === 'stream' ? [event.state] : []))

describe('a node tells', () => {
  it('of its streams: connected, refused and closed, those of proxy clients too', async () => {
    const socket = await node.connect(echoing.address)
    const { circuit } = socket
    socket.end('x')
    await collect(socket)
    await expect.poll(streams).toEqual(['connected', 'closed'])
    expect(read.find(({ type }) => type === 'stream')).toMatchObject({ circuit, waitedMs: expect.any(Number) })
    await node.connect('127.0.0.1:1').catch(() => undefined)
    await expect.poll(() => read.at(-1)).toMatchObject({ type: 'stream', state: 'refused', code: 'ERR_ANONNET_STREAM_REFUSED' })
    const proxy = await node.listenProxy()
    // A public address, which the client may have asked its own resolver for: a warning. No exit here takes that port, so nothing leaves this
    // machine. And nobody may be asked for that name.
    expect((await socks5(proxy.address, '203.0.113.1', 25)).code).not.toBe(0)
    expect((await socks5(proxy.address, 'x.onion', 80)).code).not.toBe(0)
    const through = await socks5(proxy.address, '127.0.0.1', echoing.port)
    through.socket.end('y')
    expect(String(await collect(through.socket))).toBe('y')
    await expect.poll(() => streams().slice(3), { timeout: 5_000 }).toEqual(['refused', 'refused', 'connected', 'closed'])
    await proxy.close()
  }, 60_000)

  it('of everything else, once nobody is left to talk to', async () => {
    await node.dormant()
    await node.wake()
    await Promise.all(net.relays.map((relay) => relay.close({ drainMs: 0 })))
    await node.connect(echoing.address, { timeoutMs: 15_000 }).catch(() => undefined)
    await expect.poll(() => read.some(({ type }) => type === 'network'), { timeout: 20_000, interval: 100 }).toBe(true)
    await node.close()
    await reading
    expect(read.at(-1)).toMatchObject({ type: 'closed' })
    const seen = new Set(published.map(({ type }) => type))
    expect(DIAGNOSTIC_TYPES.filter((type) => !seen.has(type))).toEqual([])
    const { instance } = read[0]!
    expect(read).toEqual(published.filter((event) => event.instance === instance).slice(-read.length))
  }, 60_000)

  it('without a name, an address, a node id or a key in any of them', () => {
    expect(JSON.stringify(published)).not.toMatch(/[0-9a-f]{32}|\d+\.\d+\.\d+\.\d+|onion|localhost/i)
  })
})
