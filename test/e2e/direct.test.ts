/** Direct links between two nodes of a network in this process: no relay carries them. */

import { randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type AnonNode, type AnonSocket, createTestnet, type DirectListener, type DirectPeer, type Testnet } from '../../ts/index.js'
import { collect, echoesBothWays } from '../helpers/servers.js'

const MIB = 1024 * 1024

let net: Testnet
let here: AnonNode
let there: AnonNode

beforeAll(async () => {
  net = await createTestnet(4)
  ;[here, there] = await Promise.all([net.createNode(), net.createNode()])
})
afterAll(() => net?.close())

/** A listener that keeps its sockets, and what it was told of the other ends. */
async function listener(
  options: Parameters<AnonNode['listenDirect']>[0] = {},
  handler?: (socket: AnonSocket) => void
): Promise<{ listening: DirectListener; sockets: AnonSocket[]; peers: DirectPeer[] }> {
  const sockets: AnonSocket[] = []
  const peers: DirectPeer[] = []
  const listening = await there.listenDirect(options, (socket, peer) => {
    sockets.push(socket)
    peers.push(peer)
    handler?.(socket)
  })
  return { listening, sockets, peers }
}

const echo = (socket: AnonSocket): void => void socket.pipe(socket)
const code = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'none',
    (error: { code: string }) => error.code
  )
const portOf = (address: string): number => Number(address.slice(address.lastIndexOf(':') + 1))

async function until(holds: () => boolean): Promise<void> {
  const deadline = Date.now() + 10_000
  while (!holds()) {
    if (Date.now() > deadline) throw new Error('took too long')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** Resolves once the number has been the same for half a second. */
async function still(number: () => number): Promise<number> {
  for (let before = -1, same = 0; same < 5; ) {
    await new Promise((resolve) => setTimeout(resolve, 100))
    same = number() === before ? same + 1 : 0
    before = number()
  }
  return number()
}

describe('a direct link', () => {
  it('carries 32 MiB each way at once, hashes right, and ends when both have ended', async () => {
    const { listening } = await listener({}, echo)
    const socket = await here.connectDirect(listening.address)
    await echoesBothWays(socket)
    await listening.close()
  })

  it('shows each end the other, and its listener an identity that is neither node’s', async () => {
    const { listening, peers, sockets } = await listener()
    const socket = await here.connectDirect(listening.address)
    await until(() => peers.length === 1)
    expect([socket.remoteAddress, socket.remoteFamily, socket.remotePort]).toEqual(['127.0.0.1', 'IPv4', portOf(listening.address)])
    expect(sockets[0]!.remoteAddress).toBe('127.0.0.1')
    expect(peers[0]!.address).toBe(`127.0.0.1:${sockets[0]!.remotePort}`)
    expect(peers[0]!.nodeId).toMatch(/^[0-9a-f]{64}$/)
    const ids = [here.nodeId, there.nodeId, peers[0]!.nodeId, listening.address.slice(0, 64)]
    expect(new Set(ids).size).toBe(4)
    expect(socket.circuit).toBeUndefined()
    socket.destroy()
    await listening.close()
  })

  it('has the identity that its keys say', async () => {
    const [one, other] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)]
    const first = await listener({ key: one })
    const second = await listener({ key: one })
    expect(first.listening.address.slice(0, 65)).toBe(second.listening.address.slice(0, 65))
    for (const count of [1, 2]) {
      const socket = await here.connectDirect(first.listening.address, { key: other })
      // Who is gone before the listener has taken him is never told of.
      await until(() => first.peers.length === count)
      socket.destroy()
    }
    expect(first.peers[0]!.nodeId).toBe(first.peers[1]!.nodeId)
    await first.listening.close()
    await second.listening.close()
  })

  it('lets the listener speak first, half-closes, and brings the last byte of who closes at once', async () => {
    const heard: Promise<Buffer>[] = []
    const { listening } = await listener({ allowHalfOpen: true }, (socket) => {
      socket.write('welcome ')
      heard.push(collect(socket))
      void heard[0]!.then((all) => socket.end(`got ${all.length}`))
    })
    const socket = await here.connectDirect(listening.address, { allowHalfOpen: true })
    socket.end(Buffer.alloc(3 * MIB))
    expect((await collect(socket)).toString()).toBe(`welcome got ${3 * MIB}`)
    await listening.close()

    const sender = await listener({}, (one) => one.end(Buffer.alloc(2 * MIB)))
    const one = await here.connectDirect(sender.listening.address)
    await until(() => sender.sockets[0]?.destroyed === true || one.bytesRead > 0)
    // The sender has closed, or will any moment, and its listener takes no more: the rest still comes.
    await sender.listening.close()
    expect((await collect(one)).length).toBe(2 * MIB)
  })

  it('that is destroyed is an error at the other end, and never an end', async () => {
    const { listening, sockets } = await listener()
    let rounds = 0
    for (const close of [(near: AnonSocket, _: AnonSocket) => near.destroy(), (_: AnonSocket, far: AnonSocket) => far.destroy()]) {
      const socket = await here.connectDirect(listening.address)
      socket.write('x')
      rounds += 1
      await until(() => sockets.length === rounds && sockets.at(-1)?.bytesRead === 1)
      const far = sockets.at(-1)!
      far.resume()
      socket.resume()
      const errors: string[] = []
      for (const end of [socket, far]) end.on('error', (error) => errors.push((error as { code?: string }).code ?? ''))
      const ended: string[] = []
      for (const end of [socket, far]) end.on('end', () => ended.push('end'))
      close(socket, far)
      await until(() => socket.closed && far.closed)
      expect([errors, ended]).toEqual([['ERR_ANONNET_STREAM_RESET'], []])
    }
    await listening.close()
  })

  it.each(['up', 'down'])('stalls its writer while the reader does not read, with flat memory (%s)', async (direction) => {
    const { listening, sockets } = await listener()
    const socket = await here.connectDirect(listening.address)
    await until(() => sockets.length === 1)
    const [from, to] = direction === 'up' ? [socket, sockets[0]!] : [sockets[0]!, socket]
    const block = Buffer.alloc(MIB)
    let written = 0
    let stop = false
    const write = (): void => {
      if (stop) return
      from.write(block, (error) => {
        if (error) return
        written += block.length
        write()
      })
    }
    write()
    const stalled = await still(() => written)
    // Nothing was read: the first window, and what the sender keeps for the path.
    expect(stalled).toBeLessThan(4 * MIB)
    const rss = process.memoryUsage().rss
    let read = 0
    to.on('data', (chunk: Buffer) => {
      read += chunk.length
      if (read > 64 * MIB) to.pause()
    })
    await until(() => read > 64 * MIB)
    await still(() => written)
    expect(written - read).toBeLessThan(16 * MIB)
    expect(process.memoryUsage().rss - rss).toBeLessThan(64 * MIB)
    stop = true
    socket.destroy()
    await listening.close()
  })

  it('is refused with a code', async () => {
    const { listening } = await listener()
    const at = listening.address.slice(65)
    const wrong = `${'00'.repeat(32)}@${at}`
    expect(await code(here.connectDirect(wrong))).toBe('ERR_ANONNET_LINK_IDENTITY')
    const relay = net.relays[0]!
    expect(await code(here.connectDirect(`${relay.nodeId}@${relay.address}`))).toBe('ERR_ANONNET_LINK_PROTOCOL')
    for (const bad of ['', at, `xx@${at}`, `${'00'.repeat(32)}@localhost:1`, `${'00'.repeat(32)}@127.0.0.1:0`])
      expect(await code(here.connectDirect(bad))).toBe('ERR_ANONNET_INVALID_ADDRESS')
    expect(await code(here.connectDirect(wrong, { key: new Uint8Array(31) }))).toBe('ERR_ANONNET_KEY_INVALID')
    expect(await code(there.listenDirect({ key: new Uint8Array(33) }, () => undefined))).toBe('ERR_ANONNET_KEY_INVALID')
    expect(await code(there.listenDirect({ listen: '0.0.0.0:0' }, () => undefined))).toBe('ERR_ANONNET_CONFIG_INVALID')
    expect(await code(there.listenDirect({ listen: at }, () => undefined))).toBe('ERR_ANONNET_BIND_FAILED')
    expect(await code(there.listenDirect({ maxLinks: 0 }, () => undefined))).toBe('ERR_ANONNET_INVALID_ARGUMENT')
    await listening.close()
    expect(await code(here.connectDirect(listening.address, { timeoutMs: 500 }))).toBe('ERR_ANONNET_LINK_UNREACHABLE')
    expect(await code(here.connectDirect(listening.address))).toBe('ERR_ANONNET_LINK_UNREACHABLE')
  }, 20_000)

  it('obeys a signal, with its reason as it is', async () => {
    const { listening } = await listener()
    await listening.close()
    const controller = new AbortController()
    const reason = new Error('enough')
    const connecting = here.connectDirect(listening.address, { signal: controller.signal })
    setTimeout(() => controller.abort(reason), 50)
    await expect(connecting).rejects.toBe(reason)
    await expect(here.connectDirect(listening.address, { signal: controller.signal })).rejects.toBe(reason)
    await expect(there.listenDirect({ signal: controller.signal }, () => undefined)).rejects.toBe(reason)
  })
})

describe('a direct listener', () => {
  it('has as many links as it was told and refuses one more; a place comes free', async () => {
    const { listening, sockets } = await listener({ maxLinks: 8 }, echo)
    const open = await Promise.all(Array.from({ length: 8 }, () => here.connectDirect(listening.address)))
    expect(await code(here.connectDirect(listening.address))).toBe('ERR_ANONNET_RATE_LIMITED')
    open[0]!.destroy()
    await until(() => sockets.some((socket) => socket.destroyed))
    let again: AnonSocket | undefined
    for (const deadline = Date.now() + 10_000; again === undefined && Date.now() < deadline; )
      again = await here.connectDirect(listening.address).catch(() => undefined)
    again!.end('x')
    expect((await collect(again!)).toString()).toBe('x')
    for (const socket of open) socket.destroy()
    await listening.close()
  })

  it('goes on under garbage', async () => {
    const { listening } = await listener({}, echo)
    const port = portOf(listening.address)
    const raw = createSocket('udp4')
    for (let i = 0; i < 2_000; i += 1) raw.send(randomBytes(1 + ((i * 37) % 1_400)), port, '127.0.0.1')
    const socket = await here.connectDirect(listening.address)
    socket.end('still here')
    expect((await collect(socket)).toString()).toBe('still here')
    raw.close()
    await listening.close()
  })

  it('whose handler throws loses that link alone', async () => {
    const { listening } = await listener({}, () => {
      throw new Error('planted')
    })
    const socket = await here.connectDirect(listening.address)
    socket.resume()
    const [error] = (await once(socket, 'error')) as [{ code: string }]
    expect(error.code).toBe('ERR_ANONNET_STREAM_RESET')
    await listening.close()
  })

  it('and its links end with their node', async () => {
    const node = await net.createNode()
    let far: AnonSocket | undefined
    const listening = await node.listenDirect({}, (socket) => {
      far = socket
    })
    const socket = await here.connectDirect(listening.address)
    await until(() => far !== undefined)
    const ended = once(socket.resume(), 'error')
    await node.close()
    expect(((await ended) as [{ code: string }])[0].code).toBe('ERR_ANONNET_STREAM_RESET')
    expect(far!.destroyed).toBe(true)
  })
})
