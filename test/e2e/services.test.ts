/** Services end to end in one process: the real addon, real relays on loopback. */
import { randomBytes } from 'node:crypto'
import http from 'node:http'
import { createServer as createTcp } from 'node:net'
import { ed25519, x25519 } from '@noble/curves/ed25519.js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type AnonNode, createTestnet, type Service, type Testnet } from '../../ts/index.js'
import { serviceName } from '../../ts/services/index.js'
import { collect } from '../helpers/servers.js'
import { socksConnect } from '../helpers/socks.js'

const DEADLINE = 60_000

describe('a service', { timeout: DEADLINE }, () => {
  let net: Testnet
  let host: AnonNode
  let client: AnonNode
  let service: Service

  beforeAll(async () => {
    net = await createTestnet(8)
    ;[host, client] = await Promise.all([net.createNode(), net.createNode({ proxy: '127.0.0.1:0' })])
    service = await host.listen({ ports: [80, 7] }, (socket) => socket.pipe(socket))
  }, 120_000)

  afterAll(() => net.close(), DEADLINE)

  it('is reached by its name, with and without .alt, by sub-domains, on each of its ports and on no other', async () => {
    expect(service.address).toMatch(/^[a-z2-7]{56}\.anon$/)
    for (const target of [`${service.address}:80`, `${service.address}.alt:7`, `www.${service.address}:80`]) {
      const socket = await client.connect(target)
      expect(socket.remoteAddress).toBe(service.address)
      socket.end('hello')
      expect(String(await collect(socket))).toBe('hello')
    }
    await expect(client.connect(`${service.address}:81`)).rejects.toMatchObject({ code: 'ERR_ANONNET_STREAM_REFUSED' })
  })

  it('carries megabytes both ways unharmed, in more than one stream of one circuit', async () => {
    const bytes = randomBytes(3_000_000)
    const streams = await Promise.all([1, 2, 3].map(() => client.connect(`${service.address}:80`)))
    expect(new Set(streams.map((socket) => socket.circuit)).size).toBe(1)
    const back = await Promise.all(
      streams.map((socket) => {
        socket.end(bytes)
        return collect(socket)
      })
    )
    for (const all of back) expect(all.equals(bytes)).toBe(true)
  })

  it('is met on another circuit for another isolation', async () => {
    const [a, b] = await Promise.all(['a', 'b'].map((isolate) => client.connect(`${service.address}:80`, { isolate })))
    expect(a?.circuit).not.toBe(b?.circuit)
    a?.destroy()
    b?.destroy()
  })

  it('is met over three relays of ours, and finds us over four of its own', async () => {
    const socket = await client.connect(`${service.address}:80`)
    const own = client.circuits().find(({ id }) => id === socket.circuit)
    expect(own?.hops.length).toBe(3)
    const theirs = host.circuits().filter(({ hops }) => hops.length === 4)
    expect(theirs.some(({ hops }) => hops[3]?.nodeId === own?.hops[2]?.nodeId)).toBe(true)
    // Second in every path of services is one of four.
    const seconds = new Set(
      host
        .circuits()
        .filter(({ streams, hops }) => streams > 0 && hops.length === 4)
        .map(({ hops }) => hops[1]?.nodeId)
    )
    expect(seconds.size).toBeLessThanOrEqual(4)
    socket.destroy()
  })

  it('is reached through SOCKS5 and the HTTP proxy, by CONNECT and by an absolute URL', async () => {
    const server = http.createServer((request, response) => response.end(`${request.method} ${request.url} ${request.headers.host}`))
    const web = await host.listen({ port: 80 }, (socket) => server.emit('connection', socket))
    const [proxy] = client.proxies
    const { socket, reply } = await socksConnect(proxy?.address ?? '', `${web.address}`, 80)
    expect(reply).toBe(0)
    socket.write(`GET /a HTTP/1.1\r\nHost: ${web.address}\r\nConnection: close\r\n\r\n`)
    expect(String(await collect(socket))).toContain(`GET /a ${web.address}`)
    const [ip = '', port = ''] = (proxy?.address ?? '').split(':')
    const answer = await new Promise<http.IncomingMessage>((resolve, reject) =>
      http
        .get({ host: ip, port: Number(port), path: `http://${web.address}/b`, headers: { host: web.address } }, resolve)
        .on('error', reject)
    )
    expect([answer.statusCode, String(await collect(answer))]).toEqual([200, `GET /b ${web.address}`])
    await web.close()
  })

  it('answers proxies with the codes that clients know: 0xF6 for a mistyped name, 0xF0 for one that is not there', async () => {
    const [proxy] = client.proxies
    const mistyped = service.address.replace(/^./, (letter) => (letter === 'a' ? 'b' : 'a'))
    expect((await socksConnect(proxy?.address ?? '', mistyped, 80)).reply).toBe(0xf6)
    // A key like any other, whose service was never published.
    const unknown = `${serviceName(ed25519.getPublicKey(randomBytes(32)))}.anon`
    expect((await socksConnect(proxy?.address ?? '', unknown, 80)).reply).toBe(0xf0)
  })

  it('passes streams on to a target, whose bytes never come into JavaScript, and says when nobody listens there', async () => {
    const echo = createTcp((socket) => socket.pipe(socket)).listen(0, '127.0.0.1')
    await new Promise((resolve) => echo.once('listening', resolve))
    const { port } = echo.address() as { port: number }
    const forward = await host.listen({ ports: { 80: `127.0.0.1:${port}`, 81: '127.0.0.1:1' } })
    const socket = await client.connect(`${forward.address}:80`)
    socket.end('through')
    expect(String(await collect(socket))).toBe('through')
    await expect(client.connect(`${forward.address}:81`)).rejects.toMatchObject({ code: 'ERR_ANONNET_STREAM_REFUSED' })
    await forward.close()
    echo.close()
  })

  it('with authorised clients only is there for them, and for nobody else', async () => {
    const secret = randomBytes(32)
    const locked = await host.listen({ port: 80, auth: [x25519.getPublicKey(secret)] }, (socket) => socket.end('welcome'))
    const target = `${locked.address}:80`
    await expect(client.connect(target)).rejects.toMatchObject({ code: 'ERR_ANONNET_CLIENT_AUTH' })
    client.authorize(locked.address, randomBytes(32))
    await expect(client.connect(target)).rejects.toMatchObject({ code: 'ERR_ANONNET_CLIENT_AUTH_WRONG' })
    client.authorize(locked.address, secret)
    expect(String(await collect(await client.connect(target)))).toBe('welcome')
    await locked.close()
  })

  it('keeps its address over a restart with the same key, and is not reached once it is closed', async () => {
    const key = randomBytes(32)
    const first = await host.listen({ port: 80, key }, (socket) => socket.end('first'))
    expect(String(await collect(await client.connect(`${first.address}:80`)))).toBe('first')
    await first.close()
    await expect(client.connect(`${first.address}:80`, { isolate: 'x', timeoutMs: 15_000 })).rejects.toMatchObject({
      code: /^ERR_ANONNET_/
    })
    const second = await host.listen({ port: 80, key }, (socket) => socket.end('second'))
    expect(second.address).toBe(first.address)
    expect(String(await collect(await client.connect(`${second.address}:80`, { isolate: 'y' })))).toBe('second')
    await second.close()
  })

  it('refuses options that do not fit', async () => {
    for (const options of [
      {},
      { port: 80, target: 'name:80' },
      { port: 0, target: '127.0.0.1:1' },
      { ports: [] },
      { auth: ['zz'], target: '127.0.0.1:1' }
    ]) {
      await expect(host.listen(options as never)).rejects.toMatchObject({ code: /^ERR_ANONNET_INVALID_/ })
    }
    await expect(host.listen({ key: new Uint8Array(5), target: '127.0.0.1:1' })).rejects.toMatchObject({ code: 'ERR_ANONNET_KEY_INVALID' })
    await expect(host.listen({ target: '127.0.0.1:1', signal: AbortSignal.abort(new Error('no')) })).rejects.toThrow('no')
  })
})
