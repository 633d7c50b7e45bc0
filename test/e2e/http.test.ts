/** fetch, undici, node:http, node:https and ws over three relays, by dispatcher, connector and agent. */

import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer as createPlainServer, get, type IncomingMessage, type RequestOptions, type ServerResponse } from 'node:http'
import { createServer, get as getSecure } from 'node:https'
import type { AddressInfo } from 'node:net'
import { promisify } from 'node:util'
import { request as request7, Agent as Undici7 } from 'undici'
import { request as request6, Agent as Undici6 } from 'undici6'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { type AnonNode, createTestnet, type Testnet } from '../../ts/index.js'
import { bytesOf, collect, type Target, web } from '../helpers/servers.js'

const fixture = (name: string): Buffer => readFileSync(new URL(`../fixtures/${name}`, import.meta.url))
const ca = fixture('localhost.pem')

let net: Testnet
let node: AnonNode
let site: Target
/** A https site that answers with the server name that was asked for, and counts its connections. */
let secure: { port: number; connections: number; resumed: number; close(): void }

beforeAll(async () => {
  net = await createTestnet(6)
  node = await net.createNode()
  site = await web()
  const server = createServer({ cert: ca, key: fixture('localhost-key.pem') }, (request, response) => {
    response.end(String((request.socket as unknown as { servername: string | false }).servername))
  })
  secure = { port: 0, connections: 0, resumed: 0, close: () => server.close() }
  server.on('secureConnection', (socket) => {
    secure.connections += 1
    if (socket.isSessionReused()) secure.resumed += 1
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  secure.port = (server.address() as AddressInfo).port
})
afterAll(async () => {
  await net?.close()
  await site?.close()
  secure?.close()
})

const answer = (ask: (done: (response: IncomingMessage) => void) => { once(event: 'error', listener: (error: Error) => void): unknown }) =>
  new Promise<Buffer>((resolve, reject) => {
    ask((response) => resolve(collect(response))).once('error', reject)
  })
const path = (seed: number): string => `http://127.0.0.1:${site.port}/${seed}/5000`
const plain = (options: RequestOptions & { agent: unknown }, seed = 1): Promise<Buffer> =>
  answer((done) => get(path(seed), options as RequestOptions, done))
/** Circuits that carry streams now. */
const busy = (): number[] => node.circuits().flatMap(({ id, streams }) => (streams > 0 ? [id] : []))

describe('fetch', () => {
  it('goes through the dispatcher, whose connections are used again', async () => {
    const before = site.sockets.length
    for (let seed = 1; seed <= 6; seed += 1) {
      const response = await fetch(path(seed), { dispatcher: node.dispatcher() })
      expect(Buffer.from(await response.arrayBuffer()).equals(bytesOf(seed, 5000))).toBe(true)
    }
    // Two where the answer is read before undici has its connection back.
    expect(site.sockets.length - before).toBeLessThanOrEqual(2)
    expect(node.dispatcher()).toBe(node.dispatcher())
    expect(node.dispatcher({ isolate: 'a' })).not.toBe(node.dispatcher())
  })

  it('sends a body and reads the answer', async () => {
    const response = await fetch(`http://127.0.0.1:${site.port}/`, {
      method: 'POST',
      body: 'x'.repeat(100_000),
      dispatcher: node.dispatcher()
    })
    expect(await response.text()).toMatch(/^[0-9a-f]{64}$/)
  })

  it('verifies https, asks for the name in the URL, and for none where that is an address', async () => {
    const dispatcher = node.dispatcher({ tls: { ca } })
    expect(await (await fetch(`https://localhost:${secure.port}/`, { dispatcher })).text()).toBe('localhost')
    expect(await (await fetch(`https://127.0.0.1:${secure.port}/`, { dispatcher })).text()).toBe('false')
    const refused = fetch(`https://localhost:${secure.port}/`, { dispatcher: node.dispatcher() })
    await expect(refused).rejects.toMatchObject({ cause: { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' } })
  })

  it('says why it failed: the cause has our code, for http and for https', async () => {
    const gone = await web()
    await gone.close()
    for (const protocol of ['http', 'https']) {
      await expect(fetch(`${protocol}://127.0.0.1:${gone.port}/`, { dispatcher: node.dispatcher() })).rejects.toMatchObject({
        cause: { code: 'ERR_ANONNET_STREAM_REFUSED' }
      })
    }
    const hidden = fetch('http://something.onion/', { dispatcher: node.dispatcher() })
    await expect(hidden).rejects.toMatchObject({ cause: { code: 'ERR_ANONNET_UNSUPPORTED' } })
  })

  it('is ended by its signal', async () => {
    const reason = new Error('enough')
    const asked = fetch(path(1), { dispatcher: node.dispatcher({ isolate: 'aborted' }), signal: AbortSignal.abort(reason) })
    await expect(asked).rejects.toBe(reason)
  })

  it('gives each isolation value connections and circuits of its own (attack 40)', async () => {
    await fetch(path(1), { dispatcher: node.dispatcher({ isolate: 'one' }) }).then((response) => response.arrayBuffer())
    const one = new Set(busy())
    const before = site.sockets.length
    await fetch(path(1), { dispatcher: node.dispatcher({ isolate: 'two' }) }).then((response) => response.arrayBuffer())
    expect(site.sockets.length - before).toBe(1)
    expect(busy().filter((id) => !one.has(id))).toHaveLength(1)
  })

  it.each(['ProxyAgent', 'EnvHttpProxyAgent', 'MockAgent'])('finds the plain agent inside of a global %s', async (name) => {
    // In a process of its own: the dispatcher of this one is everybody's.
    const script = `
      import * as undici from 'undici'
      import { createNode } from './dist/index.js'
      undici.setGlobalDispatcher(new undici[${JSON.stringify(name)}](${name === 'ProxyAgent' ? "'http://127.0.0.1:1'" : ''}))
      const node = await createNode(${JSON.stringify({ bootstrap: net.bootstrap, testNetwork: net.testNetwork })})
      const response = await undici.fetch(${JSON.stringify(path(7))}, { dispatcher: node.dispatcher() })
      console.log((await response.arrayBuffer()).byteLength)
    `
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], { timeout: 15_000 })
    expect(stdout).toBe('5000\n')
  })
})

describe('a body that nobody reads', () => {
  /** Sends for ever; how much of it went out so far. */
  let sent = 0
  const flood = (_request: unknown, response: ServerResponse): void => {
    const block = Buffer.alloc(256 * 1024)
    const push = (): void => {
      for (let ok = true; ok && !response.destroyed; sent += block.length) ok = response.write(block)
    }
    response.on('drain', push)
    push()
  }
  const standsStill = async (): Promise<void> => {
    let before = -1
    for (let still = 0; still < 5; ) {
      await new Promise((resolve) => setTimeout(resolve, 100))
      still = sent === before ? still + 1 : 0
      before = sent
    }
  }

  it.each(['fetch', 'fetch with TLS', 'node:http', 'node:https'])('by %s stalls its sender, with flat memory', async (way) => {
    const tls = way === 'fetch with TLS' || way === 'node:https'
    const server = tls ? createServer({ cert: ca, key: fixture('localhost-key.pem') }, flood) : createPlainServer(flood)
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const url = `${tls ? 'https' : 'http'}://localhost:${(server.address() as AddressInfo).port}/`
    sent = 0
    const ended = new AbortController()
    if (way.startsWith('fetch')) await fetch(url, { dispatcher: node.dispatcher({ tls: { ca } }), signal: ended.signal })
    else {
      const agent = node.agent({ ca })
      const [response] = await once(
        (tls ? getSecure : get)(url, { agent, signal: ended.signal }).on('error', () => undefined),
        'response'
      )
      response.on('error', () => undefined)
    }
    await standsStill()
    expect(sent).toBeGreaterThan(0)
    // Windows, queues and the kernel's buffers, as for a stream that nobody reads.
    expect(sent).toBeLessThan(24 * 1024 * 1024)
    ended.abort()
    server.closeAllConnections()
    server.close()
  })
})

describe('undici', () => {
  it.each([
    ['7', () => request7(path(3), { dispatcher: new Undici7({ connect: node.connector({ isolate: 'u7' }) }) })],
    ['6', () => request6(path(3), { dispatcher: new Undici6({ connect: node.connector({ isolate: 'u6' }) }) })],
    ['7, with the dispatcher of Node’s own', () => request7(path(3), { dispatcher: node.dispatcher() as unknown as Undici7 })],
    ['6, with the dispatcher of Node’s own', () => request6(path(3), { dispatcher: node.dispatcher() as unknown as Undici6 })]
  ])('of version %s', async (_version, ask) => {
    const { body } = await ask()
    expect(Buffer.from(await body.arrayBuffer()).equals(bytesOf(3, 5000))).toBe(true)
  })

  it('is never called back before its connector returned, not even with an error', async () => {
    let returned = false
    const answered = new Promise<boolean>((resolve) => {
      const connect = node.connector()
      connect({ protocol: 'http:', hostname: 'not a name', port: '80' }, (...[error]) => resolve(returned && error !== null))
      returned = true
    })
    expect(await answered).toBe(true)
  })

  it('refuses a path on this machine', async () => {
    const error = await new Promise((resolve) =>
      node.connector()({ protocol: 'http:', hostname: 'x', port: '80', socketPath: '/x' }, (...[reason]) => resolve(reason))
    )
    expect(error).toMatchObject({ code: 'ERR_ANONNET_INVALID_ARGUMENT' })
  })
})

describe('an agent', () => {
  it('serves node:http, keeps the socket for the next request, and shares it with no other agent', async () => {
    const before = site.sockets.length
    const agent = node.agent({ isolate: 'h1' })
    expect(node.agent({ isolate: 'h1' })).toBe(agent)
    for (const seed of [1, 2, 3]) expect((await plain({ agent }, seed)).equals(bytesOf(seed, 5000))).toBe(true)
    expect(site.sockets.length - before).toBe(1)
    const circuits = new Set(busy())
    await plain({ agent: node.agent({ isolate: 'h2' }) })
    expect(site.sockets.length - before).toBe(2)
    expect(busy().filter((id) => !circuits.has(id))).toHaveLength(1)
    agent.destroy()
    node.agent({ isolate: 'h2' }).destroy()
  })

  it('serves node:https with the same object, with names, certificates, sessions and keep-alive as Node’s own', async () => {
    const agent = node.agent({ isolate: 'tls', ca })
    const ask = (url: string, options: object = {}) => answer((done) => getSecure(url, { agent, ...options }, done)).then(String)
    const { connections } = secure
    const url = `https://localhost:${secure.port}/`
    expect([await ask(url), await ask(url)]).toEqual(['localhost', 'localhost'])
    expect(secure.connections - connections).toBe(1)
    expect(await ask(`https://127.0.0.1:${secure.port}/`)).toBe('false')
    expect(await ask(url, { servername: 'other.test', checkServerIdentity: () => undefined })).toBe('other.test')
    expect((await plain({ agent }, 4)).equals(bytesOf(4, 5000))).toBe(true)
    const { resumed } = secure
    expect(await ask(url, { headers: { connection: 'close' } })).toBe('localhost')
    expect(await ask(url, { headers: { connection: 'close' } })).toBe('localhost')
    expect(secure.resumed).toBeGreaterThan(resumed)
    await expect(answer((done) => getSecure(url, { agent: node.agent() }, done))).rejects.toMatchObject({
      code: 'DEPTH_ZERO_SELF_SIGNED_CERT'
    })
    agent.destroy()
  })

  it('takes the port of the module that asks', () => {
    const agent = node.agent()
    const asked = (module: typeof get, url: string): string => {
      const request = module(url, { agent })
      request.once('error', () => undefined).destroy()
      return String(request.getHeader('host'))
    }
    expect(asked(get, 'http://name.invalid/')).toBe('name.invalid')
    expect(asked(getSecure, 'https://name.invalid/')).toBe('name.invalid')
    expect(() => get('https://name.invalid/', { agent })).toThrow(/Protocol "https:" not supported/)
  })

  it('tells of failures by an error of the request, with our code', async () => {
    const agent = node.agent()
    const gone = await web()
    await gone.close()
    const codes = async (url: string, module: typeof get) =>
      answer((done) => module(url, { agent }, done)).catch((error: { code?: string }) => error.code)
    expect(await codes(`http://127.0.0.1:${gone.port}/`, get)).toBe('ERR_ANONNET_STREAM_REFUSED')
    expect(await codes(`https://127.0.0.1:${gone.port}/`, getSecure)).toBe('ERR_ANONNET_STREAM_REFUSED')
    expect(await codes('http://something.onion/', get)).toBe('ERR_ANONNET_UNSUPPORTED')
    const local = answer((done) => get({ agent, socketPath: '/x', path: '/' }, done))
    await expect(local).rejects.toMatchObject({ code: 'ERR_ANONNET_INVALID_ARGUMENT' })
  })

  it('leaves no stream behind when its requests are destroyed', async () => {
    const agent = node.agent({ isolate: 'destroyed' })
    const before = node.status().circuits.streams
    for (let round = 0; round < 10; round += 1) {
      const request = getSecure(`https://localhost:${secure.port}/`, { agent, ca })
      request.once('error', () => undefined)
      setTimeout(() => request.destroy(), round * 3)
    }
    await expect.poll(() => node.status().circuits.streams, { timeout: 5_000, interval: 50 }).toBeLessThanOrEqual(before)
    agent.destroy()
  })

  it('carries a WebSocket of ws', async () => {
    const server = new WebSocketServer({ host: '127.0.0.1', port: 0 })
    await once(server, 'listening')
    server.on('connection', (socket) => socket.on('message', (data) => socket.send(`${String(data)}!`)))
    const socket = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}/`, { agent: node.agent({ isolate: 'ws' }) })
    await once(socket, 'open')
    socket.send('hello')
    const [message] = (await once(socket, 'message')) as [Buffer]
    expect(String(message)).toBe('hello!')
    socket.close()
    await once(socket, 'close')
    server.close()
  })

  it('refuses an isolation value that is no text, at once', () => {
    const options = { isolate: 5 as never }
    for (const use of [() => node.agent(options), () => node.dispatcher(options), () => node.connector(options)]) {
      expect(use).toThrow(expect.objectContaining({ code: 'ERR_ANONNET_INVALID_ARGUMENT' }))
    }
  })
})
