/** One HTTP request over whatever stream leads to the target: a circuit's, or one through a proxy. */
import http, { type IncomingMessage } from 'node:http'
import { createConnection, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import tls from 'node:tls'
import { splitAddress } from '../config/index.js'
import { errorFromCode } from '../errors/index.js'

/** Opens a stream to a target. */
export type Dial = (host: string, port: number, signal: AbortSignal) => Promise<Duplex>

/** Largest answer head of a proxy, in bytes. */
const MAX_PROXY_HEAD_BYTES = 16_384

/** An answer whose body is yet to be read. */
export interface Answer {
  readonly status: number
  /** Milliseconds from the beginning of the request, with the way to the target, to the first byte of the answer. */
  readonly ttfbMs: number
  readonly body: IncomingMessage
}

/** The URL when it is http or https. Throws ERR_ANONNET_INVALID_ADDRESS. */
export function parseUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.hostname === '') {
    throw errorFromCode('ERR_ANONNET_INVALID_ADDRESS', { detail: 'expected an http or https URL' })
  }
  return url
}

/** The port of a URL, its scheme's where it names none. */
export function portOf(url: URL): number {
  return url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port)
}

/** The host of a URL, IPv6 without brackets. */
export function hostOf(url: URL): string {
  return url.hostname.replace(/^\[(.*)\]$/, '$1')
}

async function secure(stream: Duplex, host: string): Promise<Duplex> {
  const socket = tls.connect({ socket: stream, ...(/^[\d.]+$|:/.test(host) ? {} : { servername: host }), ALPNProtocols: ['http/1.1'] })
  await new Promise<void>((resolve, reject) => {
    socket.once('secureConnect', resolve)
    socket.once('error', reject)
  })
  return socket
}

/** GETs a URL; the answer comes with its body unread. */
export async function get(url: URL, dial: Dial, signal: AbortSignal): Promise<Answer> {
  const began = performance.now()
  const host = hostOf(url)
  const raw = await dial(host, portOf(url), signal)
  const stream = url.protocol === 'https:' ? await secure(raw, host) : raw
  return new Promise((resolve, reject) => {
    const request = http.request({
      host,
      path: `${url.pathname}${url.search}`,
      headers: { host: url.host, 'user-agent': 'curl/8', accept: '*/*', connection: 'close' },
      createConnection: () => stream as Socket,
      signal
    })
    request.once('error', reject)
    request.once('response', (body) => resolve({ status: body.statusCode ?? 0, ttfbMs: performance.now() - began, body }))
    request.end()
  })
}

/** A connection to `ip:port`. */
export async function connectTo(address: string, signal: AbortSignal): Promise<Socket> {
  const at = splitAddress(address)
  if (at === undefined) throw errorFromCode('ERR_ANONNET_INVALID_ADDRESS', { detail: 'expected ip:port' })
  const socket = createConnection({ host: at.host, port: at.port, signal, noDelay: true })
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve)
    socket.once('error', reject)
  })
  return socket
}

/** Streams through an HTTP proxy by CONNECT; the name goes to the proxy unresolved. */
export function throughConnect(proxy: string): Dial {
  return async (host, port, signal) => {
    const socket = await connectTo(proxy, signal)
    const target = `${host.includes(':') ? `[${host}]` : host}:${port}`
    socket.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\n`)
    const head = await readUntil(socket, (seen) => {
      const end = seen.indexOf('\r\n\r\n')
      return end < 0 ? undefined : end + 4
    })
    const status = /^HTTP\/1\.[01] (\d{3})/.exec(head.toString('latin1'))?.[1]
    if (status !== '200') {
      socket.destroy()
      throw errorFromCode('ERR_ANONNET_STREAM_REFUSED', { detail: `the proxy answered ${status ?? 'nothing that HTTP knows'}` })
    }
    return socket
  }
}

/** Streams through a SOCKS5 proxy; the name goes to the proxy unresolved. */
export function throughSocks(proxy: string): Dial {
  return async (host, port, signal) => {
    const socket = await connectTo(proxy, signal)
    socket.write(Buffer.from([5, 1, 0]))
    const method = await readUntil(socket, (seen) => (seen.length < 2 ? undefined : 2))
    const name = Buffer.from(host)
    if (method[1] !== 0 || name.length > 255) {
      socket.destroy()
      throw errorFromCode('ERR_ANONNET_STREAM_REFUSED', { detail: 'the SOCKS proxy refused' })
    }
    socket.write(Buffer.concat([Buffer.from([5, 1, 0, 3, name.length]), name, Buffer.from([port >> 8, port & 255])]))
    const reply = await readUntil(socket, socksReplyLength)
    if (reply[1] !== 0) {
      socket.destroy()
      throw errorFromCode('ERR_ANONNET_STREAM_REFUSED', { detail: `the SOCKS proxy answered ${reply[1]}` })
    }
    return socket
  }
}

function socksReplyLength(seen: Buffer): number | undefined {
  if (seen.length < 5) return undefined
  const length = seen[3] === 1 ? 10 : seen[3] === 4 ? 22 : 7 + (seen[4] ?? 0)
  return seen.length < length ? undefined : length
}

/** Reads until `complete` says how long the head is; what came behind it is left in the socket. */
function readUntil(socket: Socket, complete: (seen: Buffer) => number | undefined): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let seen = Buffer.alloc(0)
    const finish = (settle: () => void): void => {
      socket.off('readable', onReadable)
      socket.off('error', onError)
      socket.off('end', onEnd)
      settle()
    }
    const onError = (error: Error): void => finish(() => reject(error))
    const onEnd = (): void => finish(() => reject(errorFromCode('ERR_ANONNET_STREAM_RESET', { detail: 'the proxy closed the connection' })))
    const onReadable = (): void => {
      for (let data = socket.read() as Buffer | null; data !== null; data = socket.read() as Buffer | null) {
        seen = Buffer.concat([seen, data])
        const length = complete(seen)
        if (length !== undefined) {
          return finish(() => {
            if (length < seen.length) socket.unshift(seen.subarray(length))
            resolve(seen.subarray(0, length))
          })
        }
        if (seen.length > MAX_PROXY_HEAD_BYTES)
          return onError(errorFromCode('ERR_ANONNET_STREAM_REFUSED', { detail: 'the proxy answered too much' }))
      }
    }
    socket.on('readable', onReadable)
    socket.once('error', onError)
    socket.once('end', onEnd)
  })
}
