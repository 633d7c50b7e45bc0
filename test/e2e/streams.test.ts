/** Streams through three relays of a network in this process: every byte is real, from the client to a target on loopback. */

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { Agent, get, type IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type AnonNode, createTestnet, type Testnet } from '../../ts/index.js'
import { collect, echo, echoesBothWays, type Target, tcp, web } from '../helpers/servers.js'

let net: Testnet
let node: AnonNode
let echoing: Target
let site: Target

beforeAll(async () => {
  net = await createTestnet(6)
  node = await net.createNode()
  echoing = await echo()
  site = await web()
})
afterAll(async () => {
  await net?.close()
  await echoing?.close()
  await site?.close()
})

const MIB = 1024 * 1024

describe('a node', () => {
  it('is ready in a moment', async () => {
    const times: number[] = []
    for (let round = 0; round < 5; round += 1) {
      const start = performance.now()
      const one = await net.createNode()
      times.push(performance.now() - start)
      await one.close()
    }
    times.sort((a, b) => a - b)
    expect(times[2]).toBeLessThan(1_500)
  })

  it('shows the path of each stream: three relays, none of them twice, the last one an exit', async () => {
    const socket = await node.connect(echoing.address)
    const circuit = node.circuits().find(({ id }) => id === socket.circuit)!
    const ids = circuit.hops.map(({ nodeId }) => nodeId)
    expect(new Set(ids).size).toBe(3)
    const listed = net.relays.map(({ nodeId }) => nodeId)
    for (const id of ids) expect(listed).toContain(id)
    expect(circuit.streams).toBe(1)
    const exit = net.relays.find(({ nodeId }) => nodeId === ids[2])!
    expect(exit.status().relay!.exitStreams).toBeGreaterThan(0)
    expect(node.status()).toMatchObject({ role: 'client', bootstrap: { percent: 100 }, list: { relays: 6 } })
    socket.destroy()
  })
})

describe('a stream', () => {
  it('carries bytes both ways and half-closes', async () => {
    const server = await tcp((socket) => {
      // Answers only after its client has ended: without half-close this would never come.
      void collect(socket).then((all) => socket.end(`got ${all.length}`))
    })
    const socket = await node.connect(server.address)
    socket.write('abc')
    socket.end('def')
    expect((await collect(socket)).toString()).toBe('got 6')
    await server.close()
  })

  it('with allowHalfOpen goes on writing after the far end ended', async () => {
    let got: Promise<Buffer> | undefined
    const server = await tcp((socket) => {
      socket.end('first')
      got = collect(socket)
    })
    const socket = await node.connect(server.address, { allowHalfOpen: true })
    expect((await collect(socket)).toString()).toBe('first')
    expect(socket.readyState).toBe('writeOnly')
    socket.end('second')
    await once(socket, 'close')
    expect((await got)!.toString()).toBe('second')
    await server.close()
  })

  it('carries 32 MiB each way at once, hashes right', async () => {
    const socket = await node.connect(echoing.address)
    await echoesBothWays(socket)
  })

  it('stalls the far sender when its reader is slow, with flat memory', async () => {
    let written = 0
    const block = Buffer.alloc(MIB)
    const server = await tcp((socket) => {
      const push = (): void => {
        for (let ok = true; ok && !socket.destroyed; ) {
          written += block.length
          ok = socket.write(block)
        }
      }
      socket.on('drain', push)
      push()
    })
    const socket = await node.connect(server.address)
    socket.pause()
    let before = -1
    for (let still = 0; still < 5; ) {
      await new Promise((resolve) => setTimeout(resolve, 100))
      still = written === before ? still + 1 : 0
      before = written
    }
    const stalledAt = written
    const rss = process.memoryUsage().rss
    await new Promise((resolve) => setTimeout(resolve, 500))
    expect(written).toBe(stalledAt)
    // Windows, queues and the kernel's buffers: a bounded amount, of which 2 MiB is the largest window.
    expect(stalledAt).toBeLessThan(24 * MIB)
    expect(process.memoryUsage().rss - rss).toBeLessThan(16 * MIB)
    let read = 0
    for await (const chunk of socket) {
      read += (chunk as Buffer).length
      if (read > stalledAt + 8 * MIB) break
    }
    expect(written).toBeGreaterThan(stalledAt)
    await server.close()
  })

  it('stalls its own writer when the far reader is slow, and another stream of the circuit goes on', async () => {
    const server = await tcp((socket) => socket.pause())
    const socket = await node.connect(server.address)
    const block = Buffer.alloc(MIB)
    let taken = 0
    let waiting = false
    const write = (): void => {
      socket.write(block, (error) => {
        if (error) return
        taken += block.length
        waiting = false
        write()
      })
      waiting = true
    }
    write()
    let before = -1
    for (let still = 0; still < 5; ) {
      await new Promise((resolve) => setTimeout(resolve, 100))
      still = taken === before ? still + 1 : 0
      before = taken
    }
    expect(waiting).toBe(true)
    expect(taken).toBeLessThan(24 * MIB)
    const other = await node.connect(echoing.address)
    expect(other.circuit).toBe(socket.circuit)
    other.end('still here')
    expect((await collect(other)).toString()).toBe('still here')
    socket.destroy()
    await server.close()
  })

  it('is reset at the far end when it is destroyed', async () => {
    const server = await tcp((socket) => socket.resume())
    const socket = await node.connect(server.address)
    socket.write('x')
    const deadline = Date.now() + 5_000
    while (server.sockets[0]?.bytesRead !== 1 && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 5))
    const closed = new Promise((resolve) => server.sockets[0]!.once('close', resolve))
    socket.destroy()
    expect(await closed).toBe(true)
    await server.close()
  })

  it('never ends cleanly at the far end when it is destroyed right after its first byte', async () => {
    const ends: Promise<boolean>[] = []
    const server = await tcp((socket) => {
      socket.resume()
      const reset = new Promise<boolean>((resolve) => {
        socket.once('error', () => resolve(true))
        // libuv says "end" where a byte and a reset are there at once, with or without AnonNet. Only after a real end can one still write.
        socket.once('end', () => socket.write('?', (error) => resolve(error != null)))
      })
      ends.push(reset)
    })
    const rounds = 200
    for (let round = 0; round < rounds; round += 10) {
      const one = async (): Promise<void> => {
        const socket = await node.connect(server.address)
        socket.write('x')
        socket.destroy()
      }
      await Promise.all(Array.from({ length: 10 }, one))
    }
    // Not awaited: what is given up while it is opened may have reached the target, and must not look complete either.
    for (let round = 0; round < rounds; round += 1) {
      const socket = node.createConnection({ host: '127.0.0.1', port: server.port })
      socket.on('error', () => undefined)
      socket.write('x')
      setTimeout(() => socket.destroy(), round / 10)
    }
    // Those that were connected have reached the target, however late it takes them from its queue; what else reached it comes with them.
    await expect.poll(() => ends.length, { timeout: 20_000 }).toBeGreaterThanOrEqual(rounds)
    await new Promise((resolve) => setTimeout(resolve, 500))
    const seen = await Promise.all(ends)
    expect(seen.filter((reset) => !reset)).toEqual([])
    await server.close()
  }, 60_000)

  it('shares its circuit with others of its isolation key, up to dozens', async () => {
    const sockets = await Promise.all(Array.from({ length: 40 }, () => node.connect(echoing.address, { isolate: 'many' })))
    expect(new Set(sockets.map(({ circuit }) => circuit)).size).toBe(1)
    const answers = await Promise.all(
      sockets.map((socket, index) => {
        socket.end(`number ${index}`)
        return collect(socket)
      })
    )
    expect(answers.map(String)).toEqual(sockets.map((_, index) => `number ${index}`))
  })

  it('never shares a circuit with another isolation key (attack 40)', async () => {
    const keyed = await Promise.all(
      Array.from({ length: 30 }, async (_, index) => {
        const isolate = `key ${index % 5}`
        return { isolate, socket: await node.connect(echoing.address, { isolate }) }
      })
    )
    const owner = new Map<number, string>()
    for (const { isolate, socket } of keyed) {
      expect(owner.get(socket.circuit!) ?? isolate).toBe(isolate)
      owner.set(socket.circuit!, isolate)
      socket.destroy()
    }
    expect(new Set(owner.values()).size).toBe(5)
  })

  it('aborts while connecting, with the reason as it is, and reaches nothing', async () => {
    const reason = { why: 'enough' }
    const controller = new AbortController()
    const connecting = node.connect(echoing.address, { signal: controller.signal })
    controller.abort(reason)
    await expect(connecting).rejects.toBe(reason)
  })

  it('works as net.Socket for http.Agent, with keep-alive', async () => {
    class Through extends Agent {
      override createConnection(options: { host?: string; port?: number }): Duplex {
        return node.createConnection({ host: options.host!, port: options.port! })
      }
    }
    const agent = new Through({ keepAlive: true, maxSockets: 1 })
    for (let round = 0; round < 3; round += 1) {
      const response = await new Promise<IncomingMessage>((resolve, reject) => {
        get({ host: '127.0.0.1', port: site.port, path: `/${round}/5000`, agent }, resolve).once('error', reject)
      })
      expect((await collect(response)).readUInt32BE(0)).toBe(round)
    }
    expect(site.sockets).toHaveLength(1)
    agent.destroy()
  })
})

describe('failures', () => {
  it('have the code of what happened', async () => {
    const closed = await tcp(() => undefined)
    await closed.close()
    await expect(node.connect(closed.address)).rejects.toMatchObject({ code: 'ERR_ANONNET_STREAM_REFUSED', name: 'StreamError' })
    await expect(node.connect('127.0.0.1:25')).rejects.toMatchObject({ code: expect.stringMatching(/NO_PATH|EXIT_POLICY/) })
    await expect(node.connect('no-such-name.invalid:80')).rejects.toMatchObject({ code: 'ERR_ANONNET_NAME_NOT_RESOLVED' })
    await expect(node.resolve('no-such-name.invalid')).rejects.toMatchObject({ code: 'ERR_ANONNET_NAME_NOT_RESOLVED' })
  })

  it('names are resolved at the exit', async () => {
    expect(await node.resolve('localhost')).toContain('127.0.0.1')
    const socket = await node.connect(`localhost:${echoing.port}`)
    socket.end('by name')
    expect((await collect(socket)).toString()).toBe('by name')
  })

  it('a reset of the far end is an error here, not an end', async () => {
    const server = await tcp((socket) => {
      socket.write('some')
      socket.once('data', () => socket.resetAndDestroy())
    })
    const socket = await node.connect(server.address)
    await once(socket, 'data')
    const error = once(socket, 'error')
    socket.write('now')
    socket.resume()
    expect((await error)[0]).toMatchObject({ code: 'ERR_ANONNET_STREAM_RESET' })
    await server.close()
  })
})

describe('the DHT over real links', () => {
  it('stores a record at one relay and finds it at another; strangers may not store', async () => {
    const deadline = Date.now() + 10_000
    while (net.relays.some(({ dht }) => dht.table.size < 5)) {
      if (Date.now() > deadline) throw new Error('the DHT did not come together in 10 s')
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    const key = createHash('sha256').update('a key').digest('hex')
    expect(await net.relays[1]!.dht.publish({ type: 'data', key, ttl: 600, payload: Buffer.from('value') })).toBeGreaterThan(2)
    const [record] = await net.relays[4]!.dht.findValue(key)
    expect(Buffer.from(record!.payload).toString()).toBe('value')
  })
})
