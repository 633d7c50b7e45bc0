/** Targets for tests: servers on loopback, each ended by the test that made it. */

import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer as createHttpServer, type IncomingMessage } from 'node:http'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import type { Readable } from 'node:stream'
import { expect } from 'vitest'
import type { AnonSocket } from '../../ts/index.js'

const MIB = 1024 * 1024

export interface Target {
  readonly port: number
  /** '127.0.0.1:port' */
  readonly address: string
  /** Connections that came so far. */
  readonly sockets: Socket[]
  close(): Promise<void>
}

async function listening(server: Server): Promise<Target> {
  const sockets: Socket[] = []
  server.on('connection', (socket: Socket) => {
    sockets.push(socket)
    socket.on('error', () => socket.destroy())
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', resolve)
  })
  const { port } = server.address() as AddressInfo
  return {
    port,
    address: `127.0.0.1:${port}`,
    sockets,
    close: async () => {
      for (const socket of sockets) socket.destroy()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    }
  }
}

/** A TCP server; half-closed connections stay open. */
export function tcp(onConnection: (socket: Socket) => void): Promise<Target> {
  return listening(createServer({ allowHalfOpen: true }, onConnection))
}

/** Sends back what it gets, and ends when its client does. */
export function echo(): Promise<Target> {
  return tcp((socket) => socket.pipe(socket))
}

/** `size` bytes that depend on the seed. */
export function bytesOf(seed: number, size: number): Buffer {
  const block = createHash('sha512').update(String(seed)).digest()
  const all = Buffer.alloc(size)
  for (let at = 0; at < size; at += block.length) block.copy(all, at)
  all.writeUInt32BE(seed, 0)
  return all
}

/** GET /<seed>/<size> answers with those bytes; POST answers with the SHA-256 of the body; GET /headers with what arrived. */
export function web(): Promise<Target> {
  const server = createHttpServer((request, response) => {
    if (request.method === 'POST') {
      void hashOf(request).then((hash) => response.end(hash))
      return
    }
    if (request.url === '/headers') {
      response.end(JSON.stringify(request.headers))
      return
    }
    const [, seed, size] = /^\/(\d+)\/(\d+)$/.exec(request.url ?? '') ?? []
    if (seed === undefined || size === undefined) response.writeHead(404).end()
    else response.end(bytesOf(Number(seed), Number(size)))
  })
  return listening(server)
}

export async function hashOf(stream: AsyncIterable<unknown> | IncomingMessage): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of stream) hash.update(chunk as Buffer)
  return hash.digest('hex')
}

/** All of a stream to its end. Not by iteration, which destroys the stream and with it its other half. */
export function collect(stream: Readable): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    stream.once('end', () => resolve(Buffer.concat(chunks)))
    stream.once('error', reject)
    stream.once('close', () => reject(new Error('closed before its end')))
  })
}

/** Sends 32 MiB over a socket whose other end echoes, reads them at the same time, and ends when both directions have; checks every byte. */
export async function echoesBothWays(socket: AnonSocket): Promise<void> {
  const sent = createHash('sha256')
  const block = randomBytes(MIB)
  const writing = (async () => {
    for (let i = 0; i < 32; i += 1) {
      sent.update(block)
      if (!socket.write(block)) await once(socket, 'drain')
    }
    socket.end()
  })()
  const received = await hashOf(socket)
  await writing
  expect(received).toBe(sent.digest('hex'))
  expect([socket.bytesRead, socket.bytesWritten]).toEqual([32 * MIB, 32 * MIB])
}
