/**
 * A bug of ours, planted as a panic, never ends the program: the call or the operation fails with ERR_ANONNET_INTERNAL, every node of the
 * process tells of it, and goes on. The panics are in an addon of their own, which is built here and never shipped.
 */

import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { Engine } from '../../ts/native/index.js'
import { findAddon, packageRoot } from '../../ts/native/loader.js'
import type { BugEvent, EngineEvent, NativeAddon, NativeNode, NativeNodeOptions } from '../../ts/native/types.js'

type Planting = NativeNode & { plant(op: number, place: string, circuit?: number): void }

const root = packageRoot()!
let file = ''
let addon: NativeAddon
const engines: Engine[] = []

beforeAll(() => {
  file = execFileSync(process.execPath, [join(root, 'scripts', 'testing-addon.mjs')], { encoding: 'utf8' }).trim()
  addon = findAddon({ ANONNET_ADDON: file })
}, 900_000)

afterEach(async () => {
  await Promise.all(engines.splice(0).map((engine) => engine.close(0)))
})

/** An engine, the native node behind it, and what it tells. */
function start(options: NativeNodeOptions = {}): { engine: Engine; native: Planting; events: EngineEvent[]; failures: unknown[] } {
  let native: NativeNode | undefined
  const catching = {
    ...addon,
    NativeNode: class {
      constructor(settings: NativeNodeOptions, wake: () => void) {
        native = new addon.NativeNode(settings, wake)
        // biome-ignore lint/correctness/noConstructorReturn: the node itself, of which the test wants to know
        return native
      }
    } as unknown as NativeAddon['NativeNode']
  }
  const failures: unknown[] = []
  const engine = new Engine(options, (error) => failures.push(error), catching)
  engines.push(engine)
  const events: EngineEvent[] = []
  engine.listen((event) => events.push(event))
  return { engine, native: native as Planting, events, failures }
}

async function until<T>(what: string, look: () => T | undefined): Promise<T> {
  const deadline = Date.now() + 10_000
  for (;;) {
    const seen = look()
    if (seen !== undefined) return seen
    if (Date.now() > deadline) throw new Error(`${what}: not in 10 s`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

const bugIn = (events: EngineEvent[], place: RegExp): Promise<BugEvent> =>
  until(`a bug at ${place}`, () => events.find((event): event is BugEvent => event.type === 'bug' && place.test(event.text)))

/** The node still signs, rotates, talks to itself, and ends. */
async function works(engine: Engine): Promise<void> {
  expect(engine.sign(Buffer.from('x'))).toHaveLength(64)
  expect(engine.rotateOnionKey()).toHaveLength(32)
  expect(engine.circuits()).toEqual(expect.any(Array))
  expect(engine.snapshot().links).toEqual(expect.any(Array))
  const nobody = { nodeId: 'a'.repeat(64), address: '127.0.0.1:9' }
  await expect(engine.rpc(nobody, Buffer.alloc(1), { timeoutMs: 100, maxReplyBytes: 10 })).rejects.toMatchObject({ name: 'TimeoutError' })
}

const INTERNAL = { code: 'ERR_ANONNET_INTERNAL', blame: 'bug' }

describe('a panic', () => {
  it('in a call is thrown as ERR_ANONNET_INTERNAL without its text, told by every node, and leaves no lock behind', async () => {
    const [one, other] = [start({ listen: '127.0.0.1:0' }), start()]
    // As the engine calls: through its guard.
    const { guarded } = await import('../../ts/native/guarded.js')
    let thrown: unknown
    try {
      guarded(() => one.native.plant(1, 'call'))
    } catch (error) {
      thrown = error
    }
    expect(thrown).toMatchObject(INTERNAL)
    expect((thrown as Error).message).not.toContain('planted')
    for (const { events } of [one, other]) {
      expect(await bugIn(events, /^engine\/src\/node\/plant\.rs:\d+$|^src\/node\/plant\.rs:\d+$/)).toMatchObject({
        code: 'ERR_ANONNET_INTERNAL'
      })
    }
    await works(one.engine)
    await works(other.engine)
  })

  it('in the task of an operation fails the operation, and the next ones are answered', async () => {
    const { engine, native, events } = start({ listen: '127.0.0.1:0' })
    for (const op of [4_000_000_001, 4_000_000_002]) {
      native.plant(op, 'task')
      // The engine does not know the number; what it makes of the answer is in test/unit/native.
      await bugIn(events, /plant\.rs/)
    }
    await until('both bugs', () => (events.filter(({ type }) => type === 'bug').length >= 2 ? true : undefined))
    await works(engine)
  })

  it('in the task of a circuit ends the circuit, and says so', async () => {
    const relay = start({ listen: '127.0.0.1:0', roles: { relay: true, exit: false, bootstrap: false }, allowPrivate: true })
    const client = start({ allowPrivate: true })
    const hop = { nodeId: relay.engine.nodeId, onionKey: relay.engine.onionKey, address: relay.engine.localAddress! }
    const build = (): Promise<number> =>
      new Promise((resolve, reject) => client.engine.buildCircuit([hop], 9_000, (error, id) => (error ? reject(error) : resolve(id))))
    const circuit = await build()
    const waiting = client.engine.circuitRpc(circuit, Buffer.alloc(1), { timeoutMs: 9_000, maxReplyBytes: 10 })
    const failed = expect(waiting).rejects.toMatchObject({ name: 'CircuitError' })
    client.native.plant(1, 'circuit', circuit)
    await failed
    const closed = await until('the end of the circuit', () => client.events.find(({ type }) => type === 'circuitClosed'))
    expect(closed).toEqual({ type: 'circuitClosed', circuit, code: 'ERR_ANONNET_INTERNAL' })
    expect(client.engine.circuits()).toEqual([])
    await bugIn(client.events, /client\/circuit\.rs/)
    const again = await build()
    expect(client.engine.circuits().map(({ id }) => id)).toEqual([again])
  })

  it('in the callback that wakes JavaScript is told with the next event, and nothing is lost', async () => {
    const { engine, native, events } = start({ listen: '127.0.0.1:0' })
    native.plant(1, 'callback')
    const nobody = { nodeId: 'a'.repeat(64), address: '127.0.0.1:9' }
    await expect(engine.rpc(nobody, Buffer.alloc(1), { timeoutMs: 100, maxReplyBytes: 10 })).rejects.toMatchObject({ name: 'TimeoutError' })
    await bugIn(events, /binding\/src\/testing\.rs/)
    await works(engine)
  })

  it('in a finalizer, and on the way out, leaves the process its exit code, and nothing on standard error', () => {
    const code = `
      const addon = require(${JSON.stringify(file)})
      let node = new addon.NativeNode({}, () => {})
      node.plant(1, 'finalizer')
      node.plant(2, 'task')
      try { node.plant(3, 'call') } catch (error) { if (error.code !== 'GenericFailure') process.exit(3) }
      node = undefined
      const keep = new addon.NativeNode({}, () => {})
      setTimeout(() => {
        gc()
        setTimeout(() => {
          const told = keep.drain().filter(({ type, text }) => type === 'bug' && text.includes('testing.rs'))
          process.exit(told.length === 1 ? 7 : 4)
        }, 200)
      }, 200)`
    const run = spawnSync(process.execPath, ['--expose-gc', '-e', code], { timeout: 20_000, encoding: 'utf8' })
    expect([run.status, run.signal, run.stderr]).toEqual([7, null, ''])
  })
})

describe('the addon that is shipped', () => {
  it('plants nothing', () => {
    const shipped = findAddon({})
    expect(shipped.NativeNode.prototype).not.toHaveProperty('plant')
    expect(Object.keys(shipped)).not.toContain('plant')
    expect((addon.NativeNode.prototype as unknown as Planting).plant).toBeTypeOf('function')
    expect(readFileSync(join(root, 'index.d.ts'), 'utf8')).not.toMatch(/plant/)
  })
})
