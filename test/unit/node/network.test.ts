import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

// Before anything loads the addon: these tests are about what TypeScript decides.
const FAKE = join(import.meta.dirname, '../../helpers/fake-addon.cjs')
process.env.ANONNET_ADDON = FAKE

const { createNode, createTestnet, createRelay } = await import('../../../ts/node/index.js')
type Testnet = Awaited<ReturnType<typeof createTestnet>>
interface FakeNode {
  kill(): void
  emit(event: object): void
  attached?: [number, number][]
  refused?: [number, string][]
  standing?: Map<number, [number | undefined, number | undefined]>
  withdrawn?: (number | undefined)[]
}
const { network, made } = createRequire(import.meta.url)(FAKE) as { network: Map<string, FakeNode>; made: FakeNode[] }

async function until(condition: () => boolean | undefined): Promise<void> {
  const deadline = Date.now() + 5_000
  while (!condition()) {
    if (Date.now() > deadline) throw new Error('it did not happen in 5 s')
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

let net: Testnet
let echo: Server
let target: string

beforeAll(async () => {
  net = await createTestnet(6)
  echo = createServer((socket) => {
    socket.on('error', () => socket.destroy())
    socket.pipe(socket)
  })
  await new Promise<void>((resolve) => echo.listen(0, '127.0.0.1', resolve))
  target = `127.0.0.1:${(echo.address() as AddressInfo).port}`
}, 30_000)

afterAll(async () => {
  await net?.close()
  echo?.close()
})

describe('a test network', () => {
  it('agrees on a list of all its relays', () => {
    expect(net.authorities).toHaveLength(3)
    for (const authority of net.authorities) {
      expect(authority.hasList()).toBe(true)
      expect(authority.status()).toMatchObject({ role: 'bootstrap', list: { relays: 6 }, bootstrap: { percent: 100 } })
    }
    expect(new Set(net.relays.map(({ address }) => address.split('.')[1])).size).toBe(process.platform === 'linux' ? 6 : 1)
  })

  it('carries a stream from a client to a target', async () => {
    const node = await net.createNode()
    const socket = await node.connect(target)
    socket.end('through three relays')
    const chunks: Buffer[] = []
    for await (const chunk of socket) chunks.push(chunk as Buffer)
    expect(Buffer.concat(chunks).toString()).toBe('through three relays')
    const circuit = node.circuits().find(({ id }) => id === socket.circuit)
    expect(circuit?.hops).toHaveLength(3)
    expect(new Set(circuit?.hops.map(({ nodeId }) => nodeId)).size).toBe(3)
    expect(circuit?.hops.every(({ address }) => address !== null)).toBe(true)
    await node.close()
  })

  it('never shares a circuit between isolation keys', async () => {
    const node = await net.createNode()
    const sockets = await Promise.all(
      ['a', 'b', 'a', undefined].map((isolate) => node.connect(target, isolate === undefined ? {} : { isolate }))
    )
    const [a, b, again, none] = sockets.map(({ circuit }) => circuit)
    expect(a).toBe(again)
    expect(new Set([a, b, none]).size).toBe(3)
    await node.close()
  })

  it.each([0, 1, 2])('connects within 5 s after hop %i of the circuit in use was killed', async (hop) => {
    const other = await createTestnet(8, { exits: 4 })
    const node = await other.createNode()
    const first = await node.connect(target)
    const path = node.circuits().find(({ id }) => id === first.circuit)!.hops
    first.destroy()
    network.get(path[hop]!.nodeId)?.kill()
    const start = performance.now()
    const socket = await node.connect(target, { timeoutMs: 10_000 })
    expect(performance.now() - start).toBeLessThan(5_000)
    socket.destroy()
    await other.close()
  })

  it('gives a proxy request a circuit, refuses names that no service can have, and gives up with a code', async () => {
    const node = await net.createNode({ proxy: '127.0.0.1:0' })
    const native = made.at(-1)!
    expect(node.status().proxies).toEqual([node.proxies[0]!.address])
    const ask = (request: number, more: object = {}) =>
      native.emit({
        type: 'proxyRequest',
        request,
        listener: 1,
        protocol: 'socks5',
        kind: 'connect',
        host: 'example.org',
        port: 80,
        client: '127.0.0.1:5',
        ...more
      })
    ask(1)
    ask(2, { user: 'alice' })
    ask(3, { user: 'alice', client: '127.0.0.1:6' })
    ask(4, { host: 'name.anon' })
    ask(5, { host: 'not a name' })
    await until(() => native.attached?.length === 3 && native.refused?.length === 2)
    const circuit = new Map(native.attached)
    expect(circuit.get(2)).toBe(circuit.get(3))
    expect(circuit.get(1)).not.toBe(circuit.get(2))
    expect(native.refused).toEqual([
      [4, 'ERR_ANONNET_SERVICE_ADDRESS'],
      [5, 'ERR_ANONNET_INVALID_ADDRESS']
    ])
    // A try that failed is asked again under another number, and gets another circuit.
    native.emit({ type: 'proxyFailed', request: 1, circuit: circuit.get(1), code: 'ERR_ANONNET_CIRCUIT_CLOSED' })
    ask(6, { again: 1 })
    await until(() => native.attached?.length === 4)
    expect(native.attached!.at(-1)![0]).toBe(6)
    expect(native.attached!.at(-1)![1]).not.toBe(circuit.get(1))
    native.emit({ type: 'proxyConnected', request: 6, circuit: native.attached!.at(-1)![1] })
    // An address where a name could have been is worth a warning (attack 34), a private one is not, and one a minute is enough.
    const warnings: string[] = []
    const reading = (async () => {
      for await (const event of node.events()) if (event.type === 'warning') warnings.push(event.message)
    })()
    ask(7, { host: '127.0.0.1', literal: true })
    ask(8, { host: '192.0.2.9', literal: true })
    ask(9, { host: '2001:db8::1', literal: true })
    await until(() => native.attached?.length === 7)
    expect(warnings).toEqual([expect.stringContaining('socks5h')])
    expect(warnings[0]).not.toContain('192.0.2.9')
    // Answers stand as long as their circuits take streams; not where each request is warned of.
    const stands = (request: number) => native.standing!.get(request)!
    for (const request of [1, 2, 3, 6, 7]) expect(stands(request)).toEqual([expect.any(Number), expect.any(Number)])
    expect(stands(1)[0]).toBeGreaterThan(60_000)
    for (const request of [8, 9]) expect(stands(request)).toEqual([undefined, undefined])
    // A request whose answer stood is counted when it is connected, and watched when it is slow.
    const circuit7 = native.attached!.find(([request]) => request === 7)![1]
    native.emit({ type: 'proxyConnected', request: 20, circuit: circuit7 })
    ask(21, { host: '127.0.0.1', literal: true, circuit: circuit7 })
    native.emit({ type: 'proxyFailed', request: 21, circuit: circuit7, code: 'ERR_ANONNET_STREAM_LIMIT' })
    ask(22, { host: '127.0.0.1', literal: true, again: 21 })
    await until(() => native.attached?.length === 8)
    expect(native.attached!.at(-1)![0]).toBe(22)
    expect(native.attached!.at(-1)![1]).not.toBe(circuit7)
    // The circuit takes no new streams: nothing stands for it any more.
    expect(native.withdrawn).toContain(circuit7)
    // One whose circuit is gone waits for nothing: the native side asks for it again itself.
    ask(23, { circuit: 4_000_000 })
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(native.attached!.length).toBe(8)
    native.emit({ type: 'streamEnded', circuit: native.attached!.at(-1)![1] })
    await node.close()
    await reading
  })

  it('refuses to start on wrong options and leaves no lock behind', async () => {
    const stateDir = mkdtempSync(join(tmpdir(), 'anonnet-state-'))
    try {
      await expect(createNode({ bootstrap: net.bootstrap, stateDir, nonsense: 1 } as never)).rejects.toMatchObject({
        code: 'ERR_ANONNET_CONFIG_INVALID'
      })
      await expect(createNode({ bootstrap: net.bootstrap.slice(0, 2), stateDir })).rejects.toMatchObject({
        code: 'ERR_ANONNET_CONFIG_INVALID'
      })
      const node = await net.createNode({ stateDir })
      await expect(net.createNode({ stateDir })).rejects.toMatchObject({ code: 'ERR_ANONNET_STORE_FAILED' })
      await node.close()
      expect(readdirSync(stateDir).sort()).toEqual(['guards.json', 'list.bin'])
      for (const name of readdirSync(stateDir)) expect(statSync(join(stateDir, name)).mode & 0o777).toBe(0o600)
    } finally {
      rmSync(stateDir, { recursive: true })
    }
  })

  it('starts from the kept list without asking bootstrap nodes', async () => {
    const stateDir = mkdtempSync(join(tmpdir(), 'anonnet-state-'))
    try {
      const first = await net.createNode({ stateDir })
      await first.close()
      const dead = net.bootstrap.map((entry, index) => entry.replace(/:\d+$/, `:${index + 1}`))
      const again = await createNode({ bootstrap: dead, stateDir, testNetwork: net.testNetwork, readyTimeoutMs: 3_000 })
      expect(again.status().bootstrap.percent).toBe(100)
      await again.close()
    } finally {
      rmSync(stateDir, { recursive: true })
    }
  })

  it('throws the reason of an aborted start, connect and resolve', async () => {
    const reason = new Error('changed my mind')
    await expect(createNode({ bootstrap: net.bootstrap, signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    const controller = new AbortController()
    const start = createNode({ bootstrap: net.bootstrap.map((entry) => entry.replace(/^../, '00')), signal: controller.signal })
    setTimeout(() => controller.abort(reason), 50)
    await expect(start).rejects.toBe(reason)
    const node = await net.createNode()
    await expect(node.connect(target, { signal: AbortSignal.abort('text') })).rejects.toBe('text')
    const late = new AbortController()
    const connecting = node.connect(target, { signal: late.signal })
    late.abort('late')
    await expect(connecting).rejects.toBe('late')
    await expect(node.resolve('localhost', { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    expect(await node.resolve('localhost')).toEqual(['127.0.0.1'])
    await node.close()
  })

  it('gives up with the code of what is missing', async () => {
    const nobody = net.bootstrap.map((entry) => entry.replace(/^../, '00'))
    await expect(createNode({ bootstrap: nobody, readyTimeoutMs: 300 })).rejects.toMatchObject({ code: 'ERR_ANONNET_NOT_BOOTSTRAPPED' })
  })

  it('fails connects with the code of what happened', async () => {
    const node = await net.createNode()
    await expect(node.connect('127.0.0.1:1')).rejects.toMatchObject({ code: 'ERR_ANONNET_STREAM_REFUSED' })
    await expect(node.connect('silent.example:80', { timeoutMs: 50 })).rejects.toMatchObject({ code: 'ERR_ANONNET_TIMEOUT' })
    await expect(node.connect('silent.example:80', { signal: AbortSignal.timeout(50) })).rejects.toMatchObject({ name: 'TimeoutError' })
    await expect(node.connect('no port')).rejects.toMatchObject({ code: 'ERR_ANONNET_INVALID_ADDRESS' })
    await expect(node.connect('abc.anon:80')).rejects.toMatchObject({ code: 'ERR_ANONNET_SERVICE_ADDRESS' })
    expect(() => node.createConnection('x.onion:80')).toThrowError(expect.objectContaining({ code: 'ERR_ANONNET_UNSUPPORTED' }))
    await node.close()
    await expect(node.connect(target)).rejects.toMatchObject({ code: 'ERR_ANONNET_CLOSED' })
    await node.close()
  })

  it('ends its events with closed', async () => {
    const node = await net.createNode()
    const seen: string[] = []
    const reading = (async () => {
      for await (const event of node.events()) seen.push(event.type)
    })()
    const socket = await node.connect(target)
    socket.destroy()
    await node.close()
    await reading
    expect(seen.at(-1)).toBe('closed')
  })

  it('serves clients the list over circuits, and relays rotate their keys', async () => {
    const relay = net.relays[0]!
    await until(() => relay.status().bootstrap.percent === 100)
    expect(relay.status()).toMatchObject({ role: 'relay', bootstrap: { percent: 100 }, list: { relays: 6 } })
    await relay.rotateOnionKey()
    await expect(createRelay({ bootstrap: net.bootstrap, listen: '0.0.0.0:0' })).rejects.toMatchObject({
      code: 'ERR_ANONNET_CONFIG_INVALID'
    })
  })

  it('stores and finds records in the DHT of its relays and bootstrap nodes', async () => {
    await until(() => net.relays.every(({ dht }) => dht.table.size >= 5))
    const key = 'ab'.repeat(32)
    const payload = Buffer.from('a record')
    expect(await net.relays[0]!.dht.publish({ type: 'data', key, ttl: 3_600, payload })).toBeGreaterThan(2)
    const [found] = await net.relays[5]!.dht.findValue(key)
    expect(Buffer.from(found!.payload).toString()).toBe('a record')
    await expect(net.relays[5]!.dht.findValue('cd'.repeat(32))).rejects.toMatchObject({ code: 'ERR_ANONNET_NOT_FOUND' })
  })

  it('fetches later lists through circuits, so that no bootstrap node sees who asks', async () => {
    const quick = await createTestnet(4, { listIntervalMs: 1_000 })
    const node = await quick.createNode()
    const native = made.at(-1) as FakeNode & { rpc: () => void }
    native.rpc = () => {
      throw Object.assign(new Error('asked directly'), { code: 'ERR_ANONNET_INTERNAL' })
    }
    const first = node.status().list!.interval
    await until(() => node.status().list!.interval >= first + 2)
    await quick.close()
  })

  it('starts a relay again on its state directory, whatever the kept list sets off', async () => {
    const stateDir = mkdtempSync(join(tmpdir(), 'anonnet-state-'))
    try {
      for (let round = 0; round < 3; round += 1) {
        const relay = await createRelay({
          bootstrap: net.bootstrap,
          testNetwork: net.testNetwork,
          listen: '127.90.0.1:0',
          stateDir,
          control: join(stateDir, 'control.sock')
        })
        await until(() => relay.status().list !== null)
        await relay.close()
      }
    } finally {
      rmSync(stateDir, { recursive: true })
    }
  })
})
