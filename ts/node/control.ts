/**
 * The control socket: JSON-RPC 2.0, one JSON text a line, for programs of the same user.
 */

import { randomBytes } from 'node:crypto'
import { chmod, lstat, rename, rm, unlink } from 'node:fs/promises'
import type { Server, Socket } from 'node:net'
import { createConnection, createServer } from 'node:net'
import { dirname, join } from 'node:path'
import { errorFromCode, wrapError } from '../errors/index.js'

/** Longest request line, in bytes. */
export const MAX_CONTROL_REQUEST_BYTES = 64 * 1024
/** Longest answer line, in bytes. */
export const MAX_CONTROL_REPLY_BYTES = 8 * 1024 * 1024
/** Connections at the same time. */
export const MAX_CONTROL_CONNECTIONS = 16
/** A connection that says nothing for so long is closed. */
const IDLE_TIMEOUT_MS = 60_000
const DEFAULT_TIMEOUT_MS = 5_000
/** `sockaddr_un` holds 108 bytes on Linux, 104 elsewhere, with the final zero. */
const MAX_SOCKET_PATH_BYTES = 103

/** Answers a method; throws `UnknownMethod` or an AnonNetError. */
export type ControlHandlers = Readonly<Record<string, (params: unknown) => unknown>>

/** A running control server. */
export interface ControlServer {
  readonly path: string
  close(): Promise<void>
}

function isPipe(path: string): boolean {
  return process.platform === 'win32' && path.startsWith('\\\\')
}

/** Whether somebody answers at that socket. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

/** Removes the socket of a process that is gone. Anything else that stands there is left alone. */
async function clearStale(path: string): Promise<void> {
  let isSocket: boolean
  try {
    isSocket = (await lstat(path)).isSocket()
  } catch {
    return
  }
  if (!isSocket) throw errorFromCode('ERR_ANONNET_BIND_FAILED', { detail: 'what stands at the path of the control socket is not a socket' })
  if (await answers(path)) throw errorFromCode('ERR_ANONNET_BIND_FAILED', { detail: 'another process listens on the control socket' })
  await unlink(path).catch(() => undefined)
}

async function listen(server: Server, path: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

/**
 * Listens at `path`, mode 0600 from the first moment that the name exists. Does not keep the process alive.
 *
 * @throws ERR_ANONNET_BIND_FAILED when another process listens there, or the path is too long.
 */
export async function serveControl(path: string, handlers: ControlHandlers): Promise<ControlServer> {
  const sockets = new Set<Socket>()
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket)
    socket.unref()
    socket.once('close', () => sockets.delete(socket))
    serve(socket, handlers)
  })
  server.maxConnections = MAX_CONTROL_CONNECTIONS
  server.unref()
  try {
    if (isPipe(path)) await listen(server, path)
    else await listenPrivately(server, path)
  } catch (error) {
    server.close()
    throw wrapError(error, 'ERR_ANONNET_BIND_FAILED')
  }
  return {
    path,
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      for (const socket of sockets) socket.destroy()
      await closed
      if (!isPipe(path)) await rm(path, { force: true })
    }
  }
}

/** Binds under another name, narrows the mode, then renames: nobody can connect in between. */
async function listenPrivately(server: Server, path: string): Promise<void> {
  const temporary = join(dirname(path), `.ctl-${randomBytes(4).toString('hex')}`)
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH_BYTES || Buffer.byteLength(temporary) > MAX_SOCKET_PATH_BYTES) {
    throw errorFromCode('ERR_ANONNET_BIND_FAILED', {
      detail: `the path of the control socket is longer than ${MAX_SOCKET_PATH_BYTES} bytes`
    })
  }
  await clearStale(path)
  await listen(server, temporary)
  await chmod(temporary, 0o600)
  await rename(temporary, path)
}

function serve(socket: Socket, handlers: ControlHandlers): void {
  let waiting = Buffer.alloc(0)
  let work = Promise.resolve()
  socket.setTimeout(IDLE_TIMEOUT_MS, () => socket.destroy())
  socket.on('error', () => socket.destroy())
  socket.on('end', () => {
    work = work.then(() => {
      socket.end()
    })
  })
  socket.on('data', (data: Buffer) => {
    waiting = Buffer.concat([waiting, data])
    for (;;) {
      const end = waiting.indexOf(10)
      if ((end < 0 ? waiting.length : end) > MAX_CONTROL_REQUEST_BYTES) {
        socket.removeAllListeners('data')
        socket.end(`${JSON.stringify(failure(null, -32600, 'Request too large'))}\n`)
        socket.resume()
        return
      }
      if (end < 0) return
      const line = waiting.toString('utf8', 0, end)
      waiting = waiting.subarray(end + 1)
      // One at a time and in order; reading stops meanwhile, so that a flood of requests waits in the kernel.
      socket.pause()
      work = work.then(async () => {
        const reply = await answer(line, handlers)
        if (reply !== undefined && socket.writable) await new Promise<void>((resolve) => socket.write(`${reply}\n`, () => resolve()))
        socket.resume()
      })
    }
  })
}

function failure(id: unknown, code: number, message: string, data?: unknown): object {
  return { jsonrpc: '2.0', id, error: data === undefined ? { code, message } : { code, message, data } }
}

/** The answer line to a request line; undefined for a notification. */
export async function answer(line: string, handlers: ControlHandlers): Promise<string | undefined> {
  let request: unknown
  try {
    request = JSON.parse(line)
  } catch {
    return JSON.stringify(failure(null, -32700, 'Parse error'))
  }
  const { jsonrpc, id, method, params } = (request ?? {}) as Record<string, unknown>
  const validId = id === undefined || id === null || typeof id === 'string' || typeof id === 'number'
  if (jsonrpc !== '2.0' || typeof method !== 'string' || !validId) return JSON.stringify(failure(null, -32600, 'Invalid request'))
  const reply = await call(id ?? null, method, params, handlers)
  if (id === undefined) return undefined
  const text = JSON.stringify(reply)
  if (Buffer.byteLength(text) > MAX_CONTROL_REPLY_BYTES) return JSON.stringify(failure(id, -32000, 'Answer too large'))
  return text
}

async function call(id: unknown, method: string, params: unknown, handlers: ControlHandlers): Promise<object> {
  const handler = Object.hasOwn(handlers, method) ? handlers[method] : undefined
  if (handler === undefined) return failure(id, -32601, 'Method not found')
  if (params !== undefined && (typeof params !== 'object' || params === null)) return failure(id, -32602, 'Invalid params')
  try {
    return { jsonrpc: '2.0', id, result: (await handler(params)) ?? null }
  } catch (error) {
    const { code, message } = wrapError(error)
    return failure(id, -32000, message, { code })
  }
}

/** Options of `controlRequest`. */
export interface ControlRequestOptions {
  signal?: AbortSignal
  /** Milliseconds; default 5000. */
  timeoutMs?: number
}

/**
 * Asks a running node over its control socket.
 *
 * @returns the `result` of the answer.
 * @throws ERR_ANONNET_NOT_FOUND when nobody listens there, ERR_ANONNET_TIMEOUT, ERR_ANONNET_RPC_INVALID, or the node's own error;
 * the signal's reason as it is.
 */
export function controlRequest(path: string, method: string, params?: unknown, options: ControlRequestOptions = {}): Promise<unknown> {
  const { signal, timeoutMs = DEFAULT_TIMEOUT_MS } = options
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason)
      return
    }
    const socket = createConnection(path)
    const chunks: Buffer[] = []
    let length = 0
    const finish = (settle: () => void): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
      socket.destroy()
      settle()
    }
    const fail = (code: string, cause?: unknown): void => finish(() => reject(errorFromCode(code, { cause })))
    const onAbort = (): void => finish(() => reject(signal?.reason))
    const timer = setTimeout(() => fail('ERR_ANONNET_TIMEOUT'), timeoutMs)
    signal?.addEventListener('abort', onAbort, { once: true })
    socket.once('connect', () => {
      const request = params === undefined ? { jsonrpc: '2.0', id: 1, method } : { jsonrpc: '2.0', id: 1, method, params }
      socket.write(`${JSON.stringify(request)}\n`)
    })
    socket.once('error', (error) => fail('ERR_ANONNET_NOT_FOUND', error))
    socket.once('end', () => fail('ERR_ANONNET_RPC_INVALID'))
    socket.on('data', (data: Buffer) => {
      chunks.push(data)
      length += data.length
      if (data.includes(10)) finish(() => settleReply(Buffer.concat(chunks).toString('utf8'), resolve, reject))
      else if (length > MAX_CONTROL_REPLY_BYTES) fail('ERR_ANONNET_RPC_INVALID')
    })
  })
}

function settleReply(line: string, resolve: (value: unknown) => void, reject: (reason: unknown) => void): void {
  try {
    const { result, error } = JSON.parse(line) as { result?: unknown; error?: { code?: number; data?: { code?: string } } }
    if (error === undefined) {
      resolve(result)
      return
    }
    const fallback = error.code === -32601 ? 'ERR_ANONNET_UNSUPPORTED' : 'ERR_ANONNET_RPC_INVALID'
    reject(errorFromCode(error.data?.code ?? fallback))
  } catch (error) {
    reject(errorFromCode('ERR_ANONNET_RPC_INVALID', { cause: error }))
  }
}
