/** Proxy clients written out byte by byte, so that tests can say when which byte goes. */

import { once } from 'node:events'
import { connect, isIPv4, isIPv6, type Socket } from 'node:net'

/** Connects to 'ip:port'. */
export async function dial(address: string): Promise<Socket> {
  const colon = address.lastIndexOf(':')
  const socket = connect({ host: address.slice(0, colon), port: Number(address.slice(colon + 1)), allowHalfOpen: true })
  socket.setTimeout(20_000, () => socket.destroy(new Error('no traffic for 20 s')))
  await once(socket, 'connect')
  // What a test expects of a broken connection it sees by its end.
  socket.on('error', () => socket.destroy())
  return socket
}

/** Reads exactly that many bytes, or fewer where the stream ends. */
export async function take(socket: Socket, count: number): Promise<Buffer> {
  for (;;) {
    const chunk = socket.read(Math.max(1, Math.min(count, socket.readableLength >= count ? count : count))) as Buffer | null
    if (chunk !== null) return chunk
    if (socket.readableEnded || socket.destroyed) return Buffer.alloc(0)
    await new Promise<void>((resolve) => {
      const done = (): void => {
        for (const event of ['readable', 'end', 'close', 'error']) socket.off(event, done)
        resolve()
      }
      for (const event of ['readable', 'end', 'close', 'error']) socket.on(event, done)
    })
  }
}

export interface SocksOptions {
  user?: string
  password?: string
  command?: number
  /** Sent together with the request, before any answer. */
  early?: Buffer
}

/** The request of SOCKS5 for a name, an IPv4 or an IPv6 address. */
export function socks5Request(host: string, port: number, command = 1): Buffer {
  let address: Buffer
  if (isIPv4(host)) address = Buffer.from([1, ...host.split('.').map(Number)])
  else if (isIPv6(host)) address = Buffer.concat([Buffer.of(4), v6(host)])
  else address = Buffer.concat([Buffer.of(3, host.length), Buffer.from(host)])
  return Buffer.concat([Buffer.of(5, command, 0), address, Buffer.of(port >> 8, port & 255)])
}

/** Only what tests need: '::1' and '::'. */
function v6(host: string): Buffer {
  const bytes = Buffer.alloc(16)
  bytes[15] = Number(`0x${host.slice(2) || '0'}`)
  return bytes
}

/** Connects through a SOCKS5 proxy; returns the reply's code, its address, and the socket. */
export async function socks5(
  proxy: string,
  host: string,
  port: number,
  options: SocksOptions = {}
): Promise<{ code: number; bound: Buffer; socket: Socket }> {
  const socket = await dial(proxy)
  const { user, password = '', early = Buffer.alloc(0) } = options
  const request = socks5Request(host, port, options.command)
  if (user === undefined) {
    // Everything at once: a client need not wait for the answers.
    socket.write(Buffer.concat([Buffer.of(5, 1, 0), request, early]))
    if (!(await take(socket, 2)).equals(Buffer.of(5, 0))) throw new Error('the method was not accepted')
  } else {
    socket.write(Buffer.of(5, 2, 0, 2))
    if (!(await take(socket, 2)).equals(Buffer.of(5, 2))) throw new Error('user and password were not accepted')
    socket.write(Buffer.concat([Buffer.of(1, user.length), Buffer.from(user), Buffer.of(password.length), Buffer.from(password)]))
    if (!(await take(socket, 2)).equals(Buffer.of(1, 0))) throw new Error('the credentials were refused')
    socket.write(Buffer.concat([request, early]))
  }
  const head = await take(socket, 4)
  const code = head[1] ?? -1
  const length = head[3] === 4 ? 18 : 6
  const bound = head.length === 4 ? await take(socket, length) : Buffer.alloc(0)
  return { code, bound, socket }
}

/** Sends text to an HTTP proxy; returns the head of the answer and the socket behind it. */
export async function http(proxy: string, text: string): Promise<{ head: string; socket: Socket }> {
  const socket = await dial(proxy)
  socket.write(text)
  let head = ''
  while (!head.endsWith('\r\n\r\n')) {
    const byte = await take(socket, 1)
    if (byte.length === 0) break
    head += byte.toString('latin1')
  }
  return { head, socket }
}
