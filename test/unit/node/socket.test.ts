import { once } from 'node:events'
import { pipeline } from 'node:stream/promises'
import { describe, expect, it } from 'vitest'
import { errorFromCode } from '../../../ts/errors/index.js'
import { Engine } from '../../../ts/native/engine.js'
import type { NativeEvent } from '../../../ts/native/types.js'
import { AnonSocket, HIGH_WATER_MARK_BYTES, MAX_WRITE_BYTES, type OpenStream, pieces } from '../../../ts/node/socket.js'
import { type FakeNative, fakeAddon } from '../../helpers/fake-native.js'

interface Rig {
  socket: AnonSocket
  fake: FakeNative
  engine: Engine
  open: (stream?: number) => void
  fail: (error: Error) => void
  signal: () => AbortSignal
}

function rig(allowHalfOpen = false): Rig {
  const { addon, made } = fakeAddon()
  const engine = new Engine({}, (error) => expect.unreachable(String(error)), addon)
  let resolve: (open: OpenStream) => void = () => undefined
  let fail: (error: Error) => void = () => undefined
  let signal: AbortSignal | undefined
  const socket = new AnonSocket({
    engine,
    port: 80,
    allowHalfOpen,
    open: (given) => {
      signal = given
      return new Promise((ok, bad) => {
        resolve = ok
        fail = bad
      })
    }
  })
  return { socket, fake: made[0]!, engine, open: (stream = 7) => resolve({ stream, circuit: 3 }), fail, signal: () => signal! }
}

function answer(fake: FakeNative, method: string, event: Partial<NativeEvent> = {}): void {
  const op = fake.of(method).at(-1)![0] as number
  fake.emit({ type: 'opOk', op, ...event } as NativeEvent)
}

/** `close` and its argument; unlike events.once it does not reject on `error`. */
function closing(socket: AnonSocket): Promise<unknown> {
  socket.on('error', () => undefined)
  return new Promise((resolve) => socket.once('close', resolve))
}

/** A native stream that takes every write and gives `chunks`, then the end. */
function automatic(fake: FakeNative, chunks: (Buffer | undefined)[]): void {
  fake.auto = (method, args) => {
    const op = args[0] as number
    if (method === 'write') return { type: 'opOk', op }
    if (method !== 'read' || chunks.length === 0) return undefined
    const bytes = chunks.shift()
    return bytes === undefined ? { type: 'opOk', op } : { type: 'opOk', op, bytes }
  }
}

describe('connecting', () => {
  it('shows what net.Socket shows, before and after', async () => {
    const { socket, open } = rig()
    expect([socket.connecting, socket.pending, socket.readyState, socket.remotePort]).toEqual([true, true, 'opening', undefined])
    const order: string[] = []
    socket.on('connect', () => order.push('connect')).on('ready', () => order.push('ready'))
    open()
    await once(socket, 'ready')
    expect(order).toEqual(['connect', 'ready'])
    expect([socket.connecting, socket.pending, socket.readyState, socket.remotePort, socket.circuit]).toEqual([false, false, 'open', 80, 3])
    expect([socket.remoteAddress, socket.remoteFamily, socket.address()]).toEqual([undefined, undefined, {}])
    expect(socket.setNoDelay(true)).toBe(socket)
    expect(socket.setKeepAlive(true, 1)).toBe(socket)
    socket.destroy()
    expect(socket.readyState).toBe('closed')
  })

  it('keeps what is written meanwhile and sends it in order', async () => {
    const { socket, fake, open } = rig()
    automatic(fake, [])
    socket.write('one ')
    socket.write('two ')
    socket.end('three')
    expect(fake.of('write')).toEqual([])
    expect(socket.bytesWritten).toBe(13)
    open()
    await once(socket, 'finish')
    expect(Buffer.concat(fake.of('write').map(([, , bytes]) => bytes as Buffer)).toString()).toBe('one two three')
    expect(fake.of('end')).toEqual([[7]])
    expect(socket.bytesWritten).toBe(13)
  })

  it('fails with the error of the attempt, and fails what was written', async () => {
    const { socket, fail } = rig()
    const error = errorFromCode('ERR_ANONNET_STREAM_REFUSED')
    const written = new Promise((resolve) => socket.write('x', resolve))
    const closed = closing(socket)
    fail(error)
    expect(await closed).toBe(true)
    expect(await written).toMatchObject({ code: 'ERR_ANONNET_CLOSED' })
    expect(socket.errored).toBe(error)
  })

  it('is cancelled by destroy, and gives back a stream that comes all the same', async () => {
    const { socket, fake, open, signal } = rig()
    const closed = closing(socket)
    socket.destroy()
    expect(signal().aborted).toBe(true)
    open(44)
    expect(await closed).toBe(false)
    expect(fake.of('destroy')).toEqual([[44]])
  })
})

describe('reading', () => {
  it('asks for more only while the consumer takes it', async () => {
    const { socket, fake, open } = rig()
    open()
    await once(socket, 'ready')
    expect(fake.of('read')).toHaveLength(1)
    answer(fake, 'read', { bytes: Buffer.alloc(HIGH_WATER_MARK_BYTES) })
    await new Promise(setImmediate)
    expect(fake.of('read')).toHaveLength(1)
    expect(socket.read()).toHaveLength(HIGH_WATER_MARK_BYTES)
    await new Promise(setImmediate)
    expect(fake.of('read')).toHaveLength(2)
    expect(socket.bytesRead).toBe(HIGH_WATER_MARK_BYTES)
    socket.destroy()
  })

  it('ends, and without allowHalfOpen ends the other half too', async () => {
    const { socket, fake, open } = rig()
    automatic(fake, [Buffer.from('hello'), undefined])
    open()
    const chunks: Buffer[] = []
    for await (const chunk of socket) chunks.push(chunk as Buffer)
    expect(Buffer.concat(chunks).toString()).toBe('hello')
    expect(fake.of('end')).toEqual([[7]])
  })

  it('with allowHalfOpen leaves the other half open after the end', async () => {
    const { socket, fake, open } = rig(true)
    automatic(fake, [undefined])
    open()
    socket.resume()
    await once(socket, 'end')
    expect(socket.readyState).toBe('writeOnly')
    expect(fake.of('end')).toEqual([])
    socket.end('late')
    await once(socket, 'close')
    expect((fake.of('write')[0]![2] as Buffer).toString()).toBe('late')
  })

  it('reads on after end(): half-close', async () => {
    const { socket, fake, open } = rig()
    open()
    await once(socket, 'ready')
    socket.end()
    await once(socket, 'finish')
    expect(socket.readyState).toBe('readOnly')
    answer(fake, 'read', { bytes: Buffer.from('after') })
    expect((await once(socket, 'data'))[0].toString()).toBe('after')
    socket.destroy()
  })

  it('breaks with the error of the stream', async () => {
    const { socket, fake, open } = rig()
    open()
    await once(socket, 'ready')
    const closed = closing(socket)
    fake.emit({ type: 'opFailed', op: fake.of('read')[0]![0] as number, code: 'ERR_ANONNET_STREAM_RESET' })
    expect(await closed).toBe(true)
    expect(socket.errored).toMatchObject({ code: 'ERR_ANONNET_STREAM_RESET' })
    expect(fake.of('destroy')).toEqual([[7]])
  })
})

describe('writing', () => {
  it('says stop until the native side took it', async () => {
    const { socket, fake, open } = rig()
    open()
    await once(socket, 'ready')
    expect(socket.write(Buffer.alloc(HIGH_WATER_MARK_BYTES))).toBe(false)
    let drained = false
    socket.once('drain', () => {
      drained = true
    })
    await new Promise(setImmediate)
    expect(drained).toBe(false)
    answer(fake, 'write')
    await new Promise(setImmediate)
    expect(drained).toBe(true)
    socket.destroy()
  })

  it('splits what is large, joins what is small, one operation at a time', async () => {
    const { socket, fake, open } = rig()
    open()
    await once(socket, 'ready')
    socket.write(Buffer.alloc(2 * MAX_WRITE_BYTES + 5, 1))
    for (let i = 0; i < 100; i += 1) socket.write(Buffer.alloc(10, 2))
    expect(fake.of('write')).toHaveLength(1)
    automatic(fake, [])
    answer(fake, 'write')
    await new Promise<void>((resolve) => socket.end(resolve))
    expect(fake.of('write').map(([, , bytes]) => (bytes as Buffer).length)).toEqual([MAX_WRITE_BYTES, MAX_WRITE_BYTES, 5, 1000])
    expect(socket.bytesWritten).toBe(2 * MAX_WRITE_BYTES + 1005)
  })

  it('pieces keep every byte in order and stay below the bound', () => {
    const chunks = [10, 0, MAX_WRITE_BYTES - 10, 1, 2 * MAX_WRITE_BYTES, 3].map((length, index) => Buffer.alloc(length, index))
    const joined = pieces(chunks)
    expect(Buffer.concat(joined).equals(Buffer.concat(chunks))).toBe(true)
    expect(joined.map(({ length }) => length)).toEqual([MAX_WRITE_BYTES, 1, 2 * MAX_WRITE_BYTES, 3])
  })

  it('works in a pipeline', async () => {
    const { socket, fake, open } = rig()
    automatic(fake, [])
    open()
    await pipeline([Buffer.from('a'), Buffer.from('b')], socket, { end: true }).catch(() => undefined)
    expect(fake.of('end')).toEqual([[7]])
  })
})

describe('lifetime', () => {
  it('holds the process until it is closed; unref and ref', async () => {
    const { socket, engine, open } = rig()
    expect(engine.keepAlive.active).toBe(true)
    open()
    await once(socket, 'ready')
    expect(socket.unref()).toBe(socket)
    expect(engine.keepAlive.active).toBe(false)
    socket.ref().ref()
    expect(engine.keepAlive.count).toBe(1)
    socket.destroy()
    await once(socket, 'close')
    expect(engine.keepAlive.active).toBe(false)
    socket.ref()
    expect(engine.keepAlive.active).toBe(false)
  })

  it('destroySoon sends what was written first', async () => {
    const { socket, fake, open } = rig()
    automatic(fake, [])
    open()
    await once(socket, 'ready')
    socket.write('bye')
    socket.destroySoon()
    await once(socket, 'close')
    expect((fake.of('write')[0]![2] as Buffer).toString()).toBe('bye')
    expect(fake.of('end')).toEqual([[7]])
    expect(fake.of('destroy')).toEqual([[7]])
  })

  it('is disposed without an error', async () => {
    const { socket, open } = rig()
    open()
    await once(socket, 'ready')
    socket.on('error', () => expect.unreachable())
    await socket[Symbol.asyncDispose]()
    expect(socket.destroyed).toBe(true)
    await socket[Symbol.asyncDispose]()
  })

  it('emits timeout after silence only, and leaves the socket open', async () => {
    const { socket, fake, open } = rig()
    open()
    await once(socket, 'ready')
    const start = performance.now()
    const timeout = once(socket, 'timeout')
    socket.setTimeout(60)
    setTimeout(() => answer(fake, 'read', { bytes: Buffer.from('x') }), 40)
    await timeout
    expect(performance.now() - start).toBeGreaterThan(90)
    expect(socket.destroyed).toBe(false)
    expect(socket.timeout).toBe(60)
    socket.setTimeout(0)
    expect(socket.timeout).toBeUndefined()
    expect(() => socket.setTimeout(-1)).toThrowError(expect.objectContaining({ code: 'ERR_ANONNET_INVALID_ARGUMENT' }))
    socket.destroy()
  })
})
