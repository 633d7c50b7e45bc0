/**
 * A stream of the network that behaves as net.Socket.
 */

import { isIP } from 'node:net'
import { Duplex } from 'node:stream'
import { errorFromCode } from '../errors/index.js'
import { type Engine, type Hold, onAbort } from '../native/index.js'
import { linger } from './linger.js'

/** Bytes handed down in one piece; larger writes are split, smaller ones that wait are joined. */
export const MAX_WRITE_BYTES = 256 * 1024
/** Bytes that either side of the Duplex buffers before it says stop. */
export const HIGH_WATER_MARK_BYTES = 64 * 1024
const LONGEST_TIMER_MS = 2 ** 31 - 1

/** An open native stream. */
export interface OpenStream {
  stream: number
  /** Absent where it is a direct link. */
  circuit?: number
}

/** What a socket is made of; only the node makes them. */
export interface SocketParts {
  engine: Engine
  port: number
  /** The name of the service at the other end; of a direct link the IP address. */
  remote?: string | undefined
  /** A clean end is waited for: who answers and closes, as an HTTP server does, must not cut off its own answer. */
  linger?: boolean
  allowHalfOpen: boolean
  /** Aborts the attempt to connect. */
  signal?: AbortSignal | undefined
  /** Told when a socket that was connected is closed. */
  onClosed?: (circuit: number) => void
  /** Opens the stream; the signal aborts when the socket is destroyed first. */
  open: (signal: AbortSignal) => Promise<OpenStream>
}

/**
 * A connection through the network: a `stream.Duplex` with the surface of `net.Socket`.
 *
 * Bytes in, bytes out (`Buffer`); back-pressure reaches the far sender. `end()` closes the writing half and leaves the reading half open.
 * Errors are `AnonNetError`s with `code`: ERR_ANONNET_STREAM_REFUSED, _STREAM_RESET, _HOST_UNREACHABLE, _NAME_NOT_RESOLVED, _EXIT_POLICY,
 * _CIRCUIT_CLOSED, _TIMEOUT, _CLOSED.
 */
export class AnonSocket extends Duplex {
  readonly #engine: Engine
  readonly #port: number
  readonly #remote: string | undefined
  readonly #linger: boolean
  /** Goes on when the read that was under way at the end comes back. */
  #later: ((over: boolean) => void) | undefined
  readonly #onClosed: ((circuit: number) => void) | undefined
  #unlisten: (() => void) | undefined
  readonly #abort = new AbortController()
  #stream: number | undefined
  #circuit: number | undefined
  #hold: Hold | undefined
  #asked = false
  #reading = false
  #hadError = false
  #bytesRead = 0
  #bytesSent = 0
  #timeoutMs = 0
  #timer: NodeJS.Timeout | undefined

  /** @internal */
  constructor(parts: SocketParts) {
    super({ allowHalfOpen: parts.allowHalfOpen, highWaterMark: HIGH_WATER_MARK_BYTES, decodeStrings: true })
    this.#engine = parts.engine
    this.#port = parts.port
    this.#remote = parts.remote
    this.#linger = parts.linger ?? false
    this.#hold = parts.engine.keepAlive.hold()
    this.#onClosed = parts.onClosed
    this.#obey(parts.signal)
    parts.open(this.#abort.signal).then(
      (open) => this.#opened(open),
      (error: Error) => this.#fail(error)
    )
  }

  /** True until the target is connected or the attempt failed. */
  get connecting(): boolean {
    return this.#stream === undefined && !this.destroyed
  }

  /** True while not (or not yet) connected. */
  get pending(): boolean {
    return this.#stream === undefined
  }

  get readyState(): 'opening' | 'open' | 'readOnly' | 'writeOnly' | 'closed' {
    if (this.connecting) return 'opening'
    if (this.readable && this.writable) return 'open'
    if (this.readable) return 'readOnly'
    return this.writable ? 'writeOnly' : 'closed'
  }

  /** The id of the circuit that carries this, as in `node.circuits()`; undefined until connected, and for a direct link. */
  get circuit(): number | undefined {
    return this.#circuit
  }

  /**
   * Of a circuit never an IP address: what stands at the other end is known to the exit only. The name of a service while connected to one; the
   * IP address at the other end of a direct link.
   */
  get remoteAddress(): string | undefined {
    return this.pending || this.destroyed ? undefined : this.#remote
  }

  /** 'IPv4' or 'IPv6' of a direct link while connected. */
  get remoteFamily(): string | undefined {
    const version = isIP(this.remoteAddress ?? '')
    return version === 0 ? undefined : `IPv${version}`
  }

  /** The target's port while connected. */
  get remotePort(): number | undefined {
    return this.pending || this.destroyed ? undefined : this.#port
  }

  /** Bytes that arrived and were taken from the native side. */
  get bytesRead(): number {
    return this.#bytesRead
  }

  /** Bytes that were written, with those that still wait here. */
  get bytesWritten(): number {
    return this.#bytesSent + this.writableLength
  }

  /** Milliseconds of inactivity after which `timeout` is emitted; undefined or 0: never. */
  get timeout(): number | undefined {
    return this.#timeoutMs === 0 ? undefined : this.#timeoutMs
  }

  /** Nothing local is known of an anonymous stream: an empty object, as net.Socket gives for a closed one. */
  address(): Record<string, never> {
    return {}
  }

  /** Links have their own keep-alive; here for callers of net.Socket. */
  setKeepAlive(_enable?: boolean, _initialDelayMs?: number): this {
    return this
  }

  /** Nothing is ever delayed; here for callers of net.Socket. */
  setNoDelay(_noDelay?: boolean): this {
    return this
  }

  /** Emits `timeout` after that many milliseconds without traffic; it does not end the socket. 0 switches it off. */
  setTimeout(timeoutMs: number, callback?: () => void): this {
    if (typeof timeoutMs !== 'number' || !(timeoutMs >= 0))
      throw errorFromCode('ERR_ANONNET_INVALID_ARGUMENT', { detail: 'a timeout is a number of milliseconds' })
    this.#timeoutMs = Math.min(Math.ceil(timeoutMs), LONGEST_TIMER_MS)
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#timeoutMs === 0) {
      if (callback !== undefined) this.off('timeout', callback)
      return this
    }
    if (callback !== undefined) this.once('timeout', callback)
    if (!this.destroyed) this.#timer = setTimeout(() => this.emit('timeout'), this.#timeoutMs).unref()
    return this
  }

  /** Lets the process live while this is open (the default). */
  ref(): this {
    if (!this.destroyed) this.#hold ??= this.#engine.keepAlive.hold()
    return this
  }

  /** Lets the process end although this is open. */
  unref(): this {
    this.#hold?.release()
    this.#hold = undefined
    return this
  }

  /** Destroys after everything written has gone. */
  destroySoon(): void {
    if (this.writable) this.end()
    if (this.writableFinished) this.destroy()
    else this.once('finish', () => this.destroy())
  }

  /** Closes without an error and waits for `close`. */
  override async [Symbol.asyncDispose](): Promise<void> {
    if (this.closed) return
    const closed = new Promise<void>((resolve) => this.once('close', () => resolve()))
    this.destroy()
    await closed
  }

  /** `close` carries whether there was an error, as with net.Socket. */
  override emit(event: string | symbol, ...args: unknown[]): boolean {
    if (event === 'close' && args.length === 0) return super.emit(event, this.#hadError)
    return super.emit(event, ...args)
  }

  override _read(): void {
    const stream = this.#stream
    if (stream === undefined) {
      // The Duplex does not ask again before it got something: remember for when the stream is there.
      this.#asked = true
      return
    }
    if (this.#reading || this.destroyed) return
    this.#reading = true
    this.#engine.read(stream, (error, bytes) => {
      this.#reading = false
      if (this.destroyed) {
        this.#later?.(error !== undefined || bytes === null)
        return
      }
      this.#active()
      if (error !== undefined) {
        this.#fail(error)
      } else if (bytes === null) {
        this.push(null)
        // As net.Socket: the end is told even when nobody reads the (empty) rest.
        if (this.readableLength === 0) this.read(0)
      } else {
        this.#bytesRead += bytes.length
        this.push(bytes)
      }
    })
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#whenOpen((stream) => this.#send(stream, [chunk], done), done)
  }

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    const joined = pieces(chunks.map(({ chunk }) => chunk))
    this.#whenOpen((stream) => this.#send(stream, joined, done), done)
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#whenOpen((stream) => {
      this.#engine.end(stream)
      done()
    }, done)
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#hadError = error !== null
    clearTimeout(this.#timer)
    this.#unlisten?.()
    this.unref()
    if (this.#stream === undefined) {
      this.#abort.abort(error ?? errorFromCode('ERR_ANONNET_CLOSED'))
    } else {
      if (this.#linger && error === null && this.writableFinished && !this.readableEnded) this.#later = linger(this.#engine, this.#stream)
      else this.#engine.destroy(this.#stream)
      if (!this.#reading) this.#later?.(false)
      if (this.#circuit !== undefined) this.#onClosed?.(this.#circuit)
    }
    done(error)
  }

  #obey(signal: AbortSignal | undefined): void {
    this.#unlisten = onAbort(signal, () => {
      const reason: unknown = signal?.reason
      this.destroy(reason instanceof Error ? reason : errorFromCode('ERR_ANONNET_ABORTED', { cause: reason }))
    })
  }

  #opened({ stream, circuit }: OpenStream): void {
    this.#unlisten?.()
    if (this.destroyed) {
      this.#engine.destroy(stream)
      return
    }
    this.#stream = stream
    this.#circuit = circuit
    this.#active()
    this.emit('connect')
    this.emit('ready')
    // Starts reading, so that the end and errors are noticed before anybody reads.
    if (this.destroyed) return
    if (this.#asked) this._read()
    else this.read(0)
  }

  #whenOpen(then: (stream: number) => void, fail: (error: Error) => void): void {
    if (this.#stream !== undefined) {
      then(this.#stream)
      return
    }
    const onConnect = (): void => {
      this.off('close', onClose)
      then(this.#stream as number)
    }
    const onClose = (): void => {
      this.off('connect', onConnect)
      fail(errorFromCode('ERR_ANONNET_CLOSED', { detail: 'closed before it was connected' }))
    }
    this.once('connect', onConnect)
    this.once('close', onClose)
  }

  /** Writes the pieces one after the other; `done` comes when the native side took the last. */
  #send(stream: number, all: readonly Buffer[], done: (error?: Error | null) => void): void {
    const total = all.reduce((sum, piece) => sum + piece.length, 0)
    let index = 0
    let offset = 0
    const next = (error?: Error): void => {
      this.#active()
      if (error !== undefined) {
        if (this.#engine.closing) this.destroy()
        done(error)
        return
      }
      let chunk = all[index]
      while (chunk !== undefined && offset >= chunk.length) {
        index += 1
        offset = 0
        chunk = all[index]
      }
      if (chunk === undefined) {
        this.#bytesSent += total
        done()
        return
      }
      const piece = chunk.subarray(offset, offset + MAX_WRITE_BYTES)
      offset += piece.length
      this.#engine.write(stream, piece, next)
    }
    next()
  }

  /** Who closes a node knows that its streams end: they just close. */
  #fail(error: Error): void {
    if (this.#engine.closing) this.destroy()
    else this.destroy(error)
  }

  #active(): void {
    this.#timer?.refresh()
  }
}

/** Joins small chunks and keeps large ones, none of the joined over `MAX_WRITE_BYTES`. */
export function pieces(chunks: readonly Buffer[]): Buffer[] {
  const joined: Buffer[] = []
  let run: Buffer[] = []
  let length = 0
  const flush = (): void => {
    if (run.length > 0) joined.push(run.length === 1 ? (run[0] as Buffer) : Buffer.concat(run, length))
    run = []
    length = 0
  }
  for (const chunk of chunks) {
    if (length + chunk.length > MAX_WRITE_BYTES) flush()
    run.push(chunk)
    length += chunk.length
  }
  flush()
  return joined
}
