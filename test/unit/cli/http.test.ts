import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import { createServer, type Server, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterAll, describe, expect, it } from 'vitest'
import { connectTo, get, hostOf, parseUrl, portOf, throughConnect, throughSocks } from '../../../ts/cli/http.js'

const servers: Server[] = []
const sockets = new Set<Socket>()
afterAll(() => {
  for (const socket of sockets) socket.destroy()
  for (const server of servers) server.close()
})

async function listen(server: Server): Promise<string> {
  servers.push(server)
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  return `127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`
}

/** A server that answers each chunk it gets with the next of its answers, and keeps what it got. */
async function scripted(answers: (string | Buffer)[]): Promise<{ address: string; seen: Buffer[] }> {
  const seen: Buffer[] = []
  const rest = [...answers]
  const address = await listen(
    createServer((socket) =>
      socket.on('data', (data) => {
        seen.push(data)
        const next = rest.shift()
        if (next === undefined) socket.end()
        else socket.write(next)
      })
    )
  )
  return { address, seen }
}

const deadline = (): AbortSignal => AbortSignal.timeout(5_000)
const page = 'HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello'

describe('get', () => {
  it('fetches directly', async () => {
    const site = await listen(createHttpServer((request, response) => response.end(`you asked for ${request.url}`)))
    const answer = await get(parseUrl(`http://${site}/a?b=c`), (host, port, signal) => connectTo(`${host}:${port}`, signal), deadline())
    expect(answer.status).toBe(200)
    expect(answer.ttfbMs).toBeGreaterThan(0)
    expect(await text(answer.body)).toBe('you asked for /a?b=c')
  })

  it('fetches through CONNECT, with the name unresolved, and keeps what came behind the head', async () => {
    const { address, seen } = await scripted([`HTTP/1.1 200 Connected\r\nVia: x\r\n\r\n${page}`])
    const answer = await get(parseUrl('http://name.example:81/'), throughConnect(address), deadline())
    expect(await text(answer.body)).toBe('hello')
    expect(seen[0]?.toString()).toBe('CONNECT name.example:81 HTTP/1.1\r\nHost: name.example:81\r\n\r\n')
  })

  it('fetches through SOCKS5, with the name unresolved', async () => {
    const { address, seen } = await scripted([Buffer.from([5, 0]), Buffer.from([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]), page])
    const answer = await get(parseUrl('http://name.example/'), throughSocks(address), deadline())
    expect(await text(answer.body)).toBe('hello')
    expect(seen[1]).toEqual(Buffer.concat([Buffer.from([5, 1, 0, 3, 12]), Buffer.from('name.example'), Buffer.from([0, 80])]))
  })

  it.each([
    ['HTTP/1.1 403 Forbidden\r\n\r\n', 'ERR_ANONNET_STREAM_REFUSED'],
    ['SSH-2.0-x\r\n\r\n', 'ERR_ANONNET_STREAM_REFUSED'],
    ['x'.repeat(20_000), 'ERR_ANONNET_STREAM_REFUSED']
  ])('fails when a CONNECT proxy answers otherwise (%#)', async (answer, code) => {
    const { address } = await scripted([answer])
    await expect(get(parseUrl('http://name.example/'), throughConnect(address), deadline())).rejects.toMatchObject({ code })
  })

  it('fails when a SOCKS proxy refuses, or goes away', async () => {
    const refusing = await scripted([Buffer.from([5, 0]), Buffer.from([5, 4, 0, 1, 0, 0, 0, 0, 0, 0])])
    await expect(get(parseUrl('http://name.example/'), throughSocks(refusing.address), deadline())).rejects.toMatchObject({
      code: 'ERR_ANONNET_STREAM_REFUSED'
    })
    const leaving = await scripted([Buffer.from([5, 0])])
    await expect(get(parseUrl('http://name.example/'), throughSocks(leaving.address), deadline())).rejects.toMatchObject({
      code: 'ERR_ANONNET_STREAM_RESET'
    })
  })
})

describe('URLs', () => {
  it.each([
    ['http://example.org/', 'example.org', 80],
    ['https://example.org/', 'example.org', 443],
    ['http://[::1]:8080/x', '::1', 8080]
  ])('%s', (url, host, port) => {
    expect(hostOf(parseUrl(url))).toBe(host)
    expect(portOf(parseUrl(url))).toBe(port)
  })

  it.each(['', 'example.org', 'file:///etc/passwd', 'http://', 'javascript:1'])('refuses %j', (url) => {
    expect(() => parseUrl(url)).toThrow(expect.objectContaining({ code: 'ERR_ANONNET_INVALID_ADDRESS' }))
  })
})
