import { describe, expect, it } from 'vitest'
import { Engine } from '../../../ts/native/engine.js'
import { type FakeNative, fakeAddon } from '../../helpers/fake-native.js'

function engine(): { engine: Engine; fake: FakeNative; errors: unknown[] } {
  const { addon, made } = fakeAddon()
  const errors: unknown[] = []
  const made1 = new Engine({}, (error) => errors.push(error), addon)
  return { engine: made1, fake: made[0]!, errors }
}

const PEER = { nodeId: 'a', address: '127.0.0.1:1' }
const WHOLE = { timeoutMs: 1, maxReplyBytes: 9 }

describe('a panic that the addon caught', () => {
  it('is an internal error without its text, and an event of its line goes to the listener', () => {
    const { engine: one, fake } = engine()
    fake.throws.set('sign', Object.assign(new Error('index 9 of 192.0.2.7'), { code: 'GenericFailure' }))
    let thrown: unknown
    try {
      one.sign(Buffer.of(1))
    } catch (error) {
      thrown = error
    }
    expect(thrown).toMatchObject({ name: 'InternalError', code: 'ERR_ANONNET_INTERNAL', blame: 'bug' })
    expect((thrown as Error).message).not.toContain('192')
    const heard: unknown[] = []
    one.listen((event) => heard.push(event))
    const bug = { type: 'bug' as const, code: 'ERR_ANONNET_INTERNAL', text: 'engine/src/driver.rs:1' }
    fake.emit(bug)
    expect(heard).toEqual([bug])
  })
})

describe('operations', () => {
  it('resolve by their id, in any order', async () => {
    const { engine: one, fake } = engine()
    const first = one.connect(1, 'h', 1, { timeoutMs: 1 })
    const second = one.connect(1, 'h', 1, { timeoutMs: 1 })
    const ids = fake.of('connect').map(([op]) => op as number)
    expect(ids[0]).toBeGreaterThan(0)
    expect(ids[1]).not.toBe(ids[0])
    fake.emit({ type: 'opOk', op: ids[1]!, number: 22 }, { type: 'opOk', op: ids[0]!, number: 11 })
    expect(await Promise.all([first, second])).toEqual([11, 22])
  })

  it('fail with the class of the code, and with the hop', async () => {
    const { engine: one, fake } = engine()
    const failed = new Promise((resolve) => one.buildCircuit([], 1, resolve))
    fake.emit({ type: 'opFailed', op: fake.of('buildCircuit')[0]![0] as number, code: 'ERR_ANONNET_EXTEND_REFUSED', hop: 2 })
    expect(await failed).toMatchObject({ name: 'CircuitError', code: 'ERR_ANONNET_EXTEND_REFUSED', hop: 2 })
  })

  it('throw the abort reason as it is, and cancel below', async () => {
    const { engine: one, fake } = engine()
    const reason = new Error('enough')
    const controller = new AbortController()
    const rpc = one.rpc({ nodeId: 'a', address: 'b' }, Buffer.of(1), { timeoutMs: 1, maxReplyBytes: 1, signal: controller.signal })
    controller.abort(reason)
    await expect(rpc).rejects.toBe(reason)
    expect(fake.of('cancel')).toEqual([[fake.of('rpc')[0]![0]]])
  })

  it('do not reach the native side when the signal was aborted before', async () => {
    const { engine: one, fake } = engine()
    const reason = { any: 'value' }
    await expect(one.connect(1, 'h', 1, { timeoutMs: 1, signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    expect(fake.of('connect')).toEqual([])
  })

  it('give back a stream or listener that came after the abort', async () => {
    const { engine: one, fake } = engine()
    const controller = new AbortController()
    const options = { timeoutMs: 1, signal: controller.signal }
    const all = [one.connect(5, 'h', 1, options), one.listenProxy('127.0.0.1:0', options)]
    controller.abort()
    await Promise.allSettled(all)
    fake.emit(
      { type: 'opOk', op: fake.of('connect')[0]![0] as number, number: 101 },
      { type: 'opOk', op: fake.of('listenProxy')[0]![0] as number, number: 103, text: 'x' }
    )
    expect(fake.of('destroy')).toEqual([[101]])
    expect(fake.of('closeProxy')).toEqual([[103]])
  })

  it('reject when the native side throws at once, with its code', async () => {
    const { engine: one, fake } = engine()
    fake.throws.set('connect', Object.assign(new Error('no such circuit'), { code: 'ERR_ANONNET_CIRCUIT_CLOSED' }))
    await expect(one.connect(9, 'h', 1, { timeoutMs: 1 })).rejects.toMatchObject({ code: 'ERR_ANONNET_CIRCUIT_CLOSED' })
    expect(one.keepAlive.count).toBe(0)
  })

  it('reject on an answer that lacks what it must bring', async () => {
    const { engine: one, fake } = engine()
    const build = one.rpc(PEER, Buffer.of(1), WHOLE)
    fake.emit({ type: 'opOk', op: fake.of('rpc')[0]![0] as number })
    await expect(build).rejects.toMatchObject({ code: 'ERR_ANONNET_INTERNAL' })
  })
})

describe('keep-alive', () => {
  it('holds while an operation waits and no longer', async () => {
    const { engine: one, fake } = engine()
    expect(one.keepAlive.active).toBe(false)
    const build = one.rpc(PEER, Buffer.of(1), WHOLE)
    expect(one.keepAlive.active).toBe(true)
    fake.emit({ type: 'opOk', op: fake.of('rpc')[0]![0] as number, bytes: Buffer.of(1) })
    await build
    expect(one.keepAlive.active).toBe(false)
  })

  it('does not hold for background work, nor when disabled', async () => {
    const { engine: one, fake } = engine()
    const background = one.circuitRpc(1, Buffer.of(1), { timeoutMs: 1, maxReplyBytes: 1, keepAlive: false })
    expect(one.keepAlive.count).toBe(0)
    const held = one.rpc(PEER, Buffer.of(1), WHOLE)
    one.keepAlive.enable(false)
    expect(one.keepAlive.active).toBe(false)
    one.keepAlive.enable(true)
    expect(one.keepAlive.active).toBe(true)
    fake.emit(
      { type: 'opOk', op: fake.of('circuitRpc')[0]![0] as number, bytes: Buffer.of(2) },
      { type: 'opOk', op: fake.of('rpc')[0]![0] as number, bytes: Buffer.of(1) }
    )
    expect([...(await background)]).toEqual([2])
    await held
  })

  it('releases at the abort, not at the late answer', async () => {
    const { engine: one } = engine()
    const controller = new AbortController()
    const build = one.rpc(PEER, Buffer.of(1), { ...WHOLE, signal: controller.signal })
    controller.abort()
    await build.catch(() => undefined)
    expect(one.keepAlive.active).toBe(false)
  })
})

describe('events', () => {
  it('that came before the listener are delivered first, in order', () => {
    const { engine: one, fake } = engine()
    fake.emit({ type: 'circuitClosed', circuit: 1, code: 'A' })
    const seen: number[] = []
    one.listen((event) => {
      if (event.type === 'circuitClosed') seen.push(event.circuit)
    })
    fake.emit({ type: 'circuitClosed', circuit: 2, code: 'A' })
    expect(seen).toEqual([1, 2])
  })

  it('go on after a listener threw', () => {
    const { engine: one, fake, errors } = engine()
    const seen: string[] = []
    one.listen((event) => {
      seen.push(event.type)
      if (seen.length === 1) throw new Error('listener')
    })
    fake.emit({ type: 'circuitClosed', circuit: 1, code: 'A' }, { type: 'linkUp', authenticated: false })
    expect(seen).toEqual(['circuitClosed', 'linkUp'])
    expect(errors).toHaveLength(1)
  })

  it('that come while events are handled are handled in the same round, not nested', () => {
    const { engine: one, fake } = engine()
    const order: string[] = []
    one.listen((event) => {
      if (event.type !== 'circuitClosed') return
      order.push(`in ${event.circuit}`)
      if (event.circuit === 1) fake.emit({ type: 'circuitClosed', circuit: 2, code: 'A' })
      order.push(`out ${event.circuit}`)
    })
    fake.emit({ type: 'circuitClosed', circuit: 1, code: 'A' })
    expect(order).toEqual(['in 1', 'out 1', 'in 2', 'out 2'])
  })
})

describe('close', () => {
  it('is idempotent, fails what waits, and what comes later', async () => {
    const { engine: one, fake } = engine()
    const waiting = one.rpc(PEER, Buffer.of(1), WHOLE)
    const first = one.close(10)
    expect(one.close(99)).toBe(first)
    expect(fake.of('close')).toHaveLength(1)
    fake.emit({ type: 'opOk', op: fake.of('close')[0]![0] as number })
    await first
    await expect(waiting).rejects.toMatchObject({ code: 'ERR_ANONNET_CLOSED' })
    await expect(one.connect(1, 'h', 1, { timeoutMs: 1 })).rejects.toMatchObject({ code: 'ERR_ANONNET_CLOSED' })
    const read = await new Promise((resolve) => one.read(1, (error) => resolve(error)))
    expect(read).toMatchObject({ code: 'ERR_ANONNET_CLOSED' })
    one.destroy(1)
    expect(fake.of('destroy')).toEqual([])
    expect(one.keepAlive.active).toBe(false)
  })
})

describe('construction', () => {
  it('maps what the addon throws', () => {
    const addon = {
      NativeNode: class {
        constructor() {
          throw Object.assign(new Error('in use'), { code: 'ERR_ANONNET_BIND_FAILED' })
        }
      }
    }
    expect(() => new Engine({}, () => undefined, addon as never)).toThrowError(expect.objectContaining({ code: 'ERR_ANONNET_BIND_FAILED' }))
  })
})
