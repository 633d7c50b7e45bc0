/** The proxies of a node, byte by byte, and with the clients that people use. */

import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { type AnonNode, createTestnet, type Testnet } from '../../ts/index.js'
import { has, pythonWithSocks } from '../helpers/processes.js'
import { dial, http, socks5, socks5Request, take } from '../helpers/proxy-client.js'
import { bytesOf, collect, echo, type Target, tcp, web } from '../helpers/servers.js'

let net: Testnet
let node: AnonNode
let proxy: string
let echoing: Target
let site: Target

beforeAll(async () => {
  net = await createTestnet(6)
  node = await net.createNode({ proxy: '127.0.0.1:0' })
  proxy = node.proxies[0]!.address
  echoing = await echo()
  site = await web()
})
afterAll(async () => {
  await net?.close()
  await echoing?.close()
  await site?.close()
})

/** The whole exchange of one echoed text through SOCKS5. */
async function works(): Promise<void> {
  const { code, socket } = await socks5(proxy, '127.0.0.1', echoing.port)
  expect(code).toBe(0)
  socket.end('still working')
  expect((await collect(socket)).toString()).toBe('still working')
}

/** Resolves when no stream is open. */
async function idle(): Promise<void> {
  const deadline = Date.now() + 10_000
  while (node.status().circuits.streams > 0 || node.status().proxy.open > 0) {
    if (Date.now() > deadline) throw new Error(`left open: ${JSON.stringify(node.status())}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

describe('SOCKS5', () => {
  it.each(['127.0.0.1', 'localhost'])('connects to %s, with data before the answer, and half-closes', async (host) => {
    const { code, socket } = await socks5(proxy, host, echoing.port, { early: Buffer.from('early ') })
    expect(code).toBe(0)
    socket.end('late')
    expect((await collect(socket)).toString()).toBe('early late')
  })

  it('connects to IPv6 addresses', async () => {
    const { createServer: create } = await import('node:net')
    const six = create((socket) => socket.end('six'))
    const listening = await new Promise<boolean>((resolve) => six.once('error', () => resolve(false)).listen(0, '::1', () => resolve(true)))
    if (!listening) return
    const { code, socket } = await socks5(proxy, '::1', (six.address() as AddressInfo).port)
    expect(code).toBe(0)
    socket.end()
    expect((await collect(socket)).toString()).toBe('six')
    six.close()
  })

  it('takes any user and password, as an isolation key', async () => {
    await idle()
    const open = []
    for (const [user, password] of [
      ['alice', ''],
      ['alice', 'x'],
      ['bob', 'x'],
      ['alice', 'x']
    ] as const) {
      const { code, socket } = await socks5(proxy, '127.0.0.1', echoing.port, { user, password })
      expect(code).toBe(0)
      open.push(socket)
    }
    const carrying = node.circuits().filter(({ streams }) => streams > 0)
    expect(carrying).toHaveLength(3)
    expect(carrying.map(({ streams }) => streams).sort()).toEqual([1, 1, 2])
    for (const socket of open) socket.destroy()
  })

  it('resolves names at the exit (RESOLVE)', async () => {
    const { code, bound, socket } = await socks5(proxy, 'localhost', 0, { command: 0xf0 })
    expect(code).toBe(0)
    expect([...bound.subarray(0, 4)]).toEqual([127, 0, 0, 1])
    socket.destroy()
  })

  it('says why it refuses, in the codes of the protocol', async () => {
    const closed = await tcp(() => undefined)
    await closed.close()
    const cases: [string, number, number | undefined, number][] = [
      ['127.0.0.1', closed.port, undefined, 5],
      ['no-such-name.invalid', 80, undefined, 4],
      ['127.0.0.1', 80, 2, 7],
      ['127.0.0.1', 80, 3, 7]
    ]
    for (const [host, port, command, expected] of cases) {
      const { code, socket } = await socks5(proxy, host, port, command === undefined ? {} : { command })
      expect([host, command, code]).toEqual([host, command, expected])
      socket.destroy()
    }
    const service = await socks5(proxy, `${'a'.repeat(56)}.anon`, 80)
    expect(service.code).not.toBe(0)
    service.socket.destroy()
  })

  it('speaks SOCKS4 and 4a on the same port', async () => {
    for (const [address, name] of [
      [[127, 0, 0, 1], ''],
      [[0, 0, 0, 1], 'localhost\0']
    ] as const) {
      const socket = await dial(proxy)
      socket.write(Buffer.concat([Buffer.of(4, 1, echoing.port >> 8, echoing.port & 255, ...address), Buffer.from(`user\0${name}`)]))
      expect([...(await take(socket, 8))].slice(0, 2)).toEqual([0, 90])
      socket.end('four')
      expect((await collect(socket)).toString()).toBe('four')
    }
  })
})

describe('HTTP', () => {
  it('tunnels by CONNECT, with data before the answer', async () => {
    const { head, socket } = await http(proxy, `CONNECT 127.0.0.1:${echoing.port} HTTP/1.1\r\nHost: x\r\n\r\nearly `)
    expect(head).toMatch(/^HTTP\/1\.1 200 /)
    socket.end('late')
    expect((await collect(socket)).toString()).toBe('early late')
  })

  it('forwards absolute-form requests without hop-by-hop headers', async () => {
    const target = `http://127.0.0.1:${site.port}/headers`
    const { head, socket } = await http(
      proxy,
      `GET ${target} HTTP/1.1\r\nHost: ignored\r\nProxy-Connection: keep-alive\r\nConnection: x-gone\r\nX-Gone: 1\r\nX-Stays: 1\r\nProxy-Authorization: Basic eA==\r\n\r\n`
    )
    expect(head).toMatch(/^HTTP\/1\.1 200 /)
    const body = (await collect(socket)).toString()
    const headers = JSON.parse(body.slice(body.indexOf('{'), body.lastIndexOf('}') + 1)) as Record<string, string>
    expect(headers).toMatchObject({ host: `127.0.0.1:${site.port}`, 'x-stays': '1' })
    for (const gone of ['proxy-connection', 'proxy-authorization', 'x-gone']) expect(headers).not.toHaveProperty(gone)
  })

  it('explains itself to a browser that takes it for a web site', async () => {
    const { head, socket } = await http(proxy, 'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n')
    expect(head).toMatch(/^HTTP\/1\.1 400 /)
    expect((await collect(socket)).toString()).toMatch(/proxy/i)
  })

  it('refuses other schemes, broken heads and services with a status, and opens no stream', async () => {
    const before = site.sockets.length
    for (const text of [
      `GET https://127.0.0.1:${site.port}/ HTTP/1.1\r\n\r\n`,
      `GET ftp://127.0.0.1:${site.port}/ HTTP/1.1\r\n\r\n`,
      'CONNECT 127.0.0.1 HTTP/1.1\r\n\r\n',
      'CONNECT 127.0.0.1:99999 HTTP/1.1\r\n\r\n',
      `GET http://127.0.0.1:${site.port}/ HTTP/1.1\r\nBad Header: x\r\n\r\n`,
      `GET http://127.0.0.1:${site.port}/ HTTP/1.1\r\nX: ${'y'.repeat(70_000)}\r\n\r\n`,
      `POST http://127.0.0.1:${site.port}/ HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n`,
      `CONNECT ${'a'.repeat(56)}.anon:80 HTTP/1.1\r\n\r\n`
    ]) {
      const { head, socket } = await http(proxy, text)
      expect([text.slice(0, 60), head.slice(0, 10)]).toEqual([text.slice(0, 60), expect.stringMatching(/^HTTP\/1\.1 [45]/)])
      socket.destroy()
    }
    expect(site.sockets).toHaveLength(before)
  })

  it('carries a WebSocket through CONNECT', async () => {
    const server = createServer()
    new WebSocketServer({ server }).on('connection', (socket) => socket.on('message', (data) => socket.send(`echo ${String(data)}`)))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const { head, socket } = await http(proxy, `CONNECT 127.0.0.1:${port} HTTP/1.1\r\n\r\n`)
    expect(head).toMatch(/ 200 /)
    const client = new WebSocket(`ws://127.0.0.1:${port}/`, { createConnection: () => socket })
    await once(client, 'open')
    client.send('hello')
    expect(String((await once(client, 'message'))[0])).toBe('echo hello')
    const closed = once(client, 'close')
    client.close()
    await closed
    server.close()
    server.closeAllConnections()
  })
})

const python = pythonWithSocks()

describe.runIf(python !== undefined)('a Python SOCKS client (PySocks)', () => {
  const script = `
import hashlib, http.client, socks, sys
host, port, rdns, user, target, path = sys.argv[1:7]
link = socks.socksocket()
link.settimeout(15)
link.set_proxy(socks.SOCKS5, host, int(port), rdns == 'names', user or None, 'x' if user else None)
link.connect(('localhost' if rdns == 'names' else '127.0.0.1', int(target)))
asking = http.client.HTTPConnection(host, int(target))
asking.sock = link
asking.request('GET', path)
answer = asking.getresponse()
print(answer.status, hashlib.sha256(answer.read()).hexdigest())
`
  it.each([
    ['names', ''],
    ['addresses', ''],
    ['names', 'somebody']
  ])('fetches by %s, as user %j', async (rdns, user) => {
    const [host, port] = proxy.split(':') as [string, string]
    const args = ['-c', script, host, port, rdns, user, String(site.port), '/7/300000']
    const child = spawn(python!, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    const [out, [code]] = await Promise.all([collect(child.stdout), once(child, 'close')])
    expect(code).toBe(0)
    expect(out.toString().trim()).toBe(`200 ${createHash('sha256').update(bytesOf(7, 300_000)).digest('hex')}`)
  })
})

describe.runIf(has('curl'))('curl', () => {
  const curl = async (...args: string[]): Promise<{ code: unknown; out: Buffer }> => {
    const child = spawn('curl', ['-sS', '--max-time', '15', ...args], { stdio: ['ignore', 'pipe', 'ignore'] })
    const [out, [code]] = await Promise.all([collect(child.stdout), once(child, 'close')])
    return { code, out }
  }

  it.each([
    ['--socks5-hostname', ''],
    ['--socks5', ''],
    ['--socks4a', ''],
    ['-x', 'http://'],
    ['-px', 'http://']
  ])('%s fetches what there is', async (option, scheme) => {
    const { code, out } = await curl(option, `${scheme}${proxy}`, `http://127.0.0.1:${site.port}/7/300000`)
    expect(code).toBe(0)
    expect(out.equals(bytesOf(7, 300_000))).toBe(true)
  })

  it('uploads', async () => {
    const { out } = await curl('-x', `http://${proxy}`, '--data-binary', '@package.json', `http://127.0.0.1:${site.port}/`)
    expect(out.toString()).toMatch(/^[0-9a-f]{64}$/)
  })
})

describe('garbage', () => {
  /** Each client sends the first bytes and goes, one way or the other. */
  async function truncated(whole: Buffer): Promise<void> {
    for (let length = 0; length <= whole.length; length += 1) {
      const socket = await dial(proxy)
      socket.resume()
      const closed = new Promise((resolve) => socket.once('close', resolve))
      if (length % 2 === 0) socket.end(whole.subarray(0, length))
      else socket.write(whole.subarray(0, length), () => socket.resetAndDestroy())
      await closed
    }
  }

  it('a client that leaves at every byte of SOCKS5, SOCKS4a and HTTP changes nothing for others (attack 36)', async () => {
    const request = socks5Request('localhost', echoing.port)
    await truncated(Buffer.concat([Buffer.of(5, 2, 0, 2), Buffer.from('\x01\x04user\x04pass'), request, Buffer.from('data')]))
    await truncated(Buffer.concat([Buffer.of(4, 1, echoing.port >> 8, echoing.port & 255, 0, 0, 0, 1), Buffer.from('u\0localhost\0data')]))
    await truncated(Buffer.from(`CONNECT 127.0.0.1:${echoing.port} HTTP/1.1\r\nHost: x\r\n\r\ndata`))
    await works()
  })

  it('a wrong byte at every place is refused or answered, never followed by silence', async () => {
    const good = Buffer.concat([Buffer.of(5, 1, 0), socks5Request('127.0.0.1', echoing.port)])
    for (let at = 0; at < good.length - 2; at += 1) {
      const bad = Buffer.from(good)
      bad[at] = 0xff
      const socket = await dial(proxy)
      socket.resume()
      const closed = new Promise((resolve) => socket.once('close', resolve))
      socket.end(bad)
      await closed
    }
    await works()
  })

  it('random bytes, and a great many of them', async () => {
    for (let seed = 1; seed <= 40; seed += 1) {
      const socket = await dial(proxy)
      socket.resume()
      const closed = new Promise((resolve) => socket.once('close', resolve))
      const bytes = bytesOf(seed, seed * 4_000)
      bytes[0] = [4, 5, 71, 0, 255][seed % 5]!
      socket.end(bytes)
      await closed
    }
    await works()
  })

  it('random datagrams at every UDP port of the network', async () => {
    const { createSocket } = await import('node:dgram')
    const socket = createSocket('udp4')
    const addresses = [...net.relays, ...net.authorities].map(({ address }) => address.split(':') as [string, string])
    for (let seed = 0; seed < 300; seed += 1) {
      const bytes = bytesOf(seed, 5 + ((seed * 37) % 1_400))
      // Long headers of QUIC version 1 among them.
      if (seed % 3 === 0) bytes.set([0xc3, 0, 0, 0, 1], 0)
      for (const [ip, port] of addresses) await new Promise((resolve) => socket.send(bytes, Number(port), ip, resolve))
    }
    socket.close()
    await works()
  })

  it('leaves no stream open', idle)
})
