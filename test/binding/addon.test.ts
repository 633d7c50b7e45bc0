/** The addon's edge (attack 49): what it exports, and that nothing JavaScript hands it does more than throw. */

import { spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { afterEach, describe, expect, it } from 'vitest'
import { ERROR_REGISTRY } from '../../ts/errors/index.js'
import * as keys from '../../ts/native/keys.js'
import { findAddon, packageRoot, platformName } from '../../ts/native/loader.js'
import type { NativeNode, NativeNodeOptions } from '../../ts/native/types.js'
import { temporaryFolder } from '../helpers/folder.js'

const root = packageRoot()!
// Another build is held to the same: `npm run build:min -- --test`.
const file = process.env.ANONNET_ADDON || join(root, `anonnet.${platformName()}.node`)
const addon = findAddon({ ANONNET_ADDON: file })
const folder = temporaryFolder()
const open: NativeNode[] = []

function node(options: NativeNodeOptions = {}): NativeNode {
  const made = new addon.NativeNode(options, () => undefined)
  open.push(made)
  return made
}

async function answer(of: NativeNode, op: number): Promise<{ type: string; code?: string }> {
  const deadline = Date.now() + 5_000
  for (;;) {
    for (const event of of.drain()) if ((event.type === 'opOk' || event.type === 'opFailed') && event.op === op) return event
    if (Date.now() > deadline) throw new Error('no answer in 5 s')
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

function thrown(run: () => unknown): unknown {
  try {
    run()
  } catch (error) {
    return error
  }
  throw new Error('it did not throw')
}

afterEach(async () => {
  for (const one of open.splice(0)) {
    try {
      one.close(4_000_000_000, 0)
      await answer(one, 4_000_000_000)
    } catch {
      // closed by its test
    }
  }
})

describe('exports', () => {
  it('are exactly these', () => {
    expect(Object.keys(createRequire(import.meta.url)(file) as object).sort()).toEqual([
      'NativeNode',
      'errorRegistry',
      'keyFileCreate',
      'keyFileExport',
      'keyFileImport',
      'keyFileInspect',
      'keyFileRotate',
      'nodeIdOf',
      'openRecord',
      'powVerify',
      'sealRecord',
      'serviceBlind',
      'servicePublicKey',
      'serviceSign',
      'serviceSubcredential',
      'verify',
      'version',
      'x25519Agree',
      'x25519Public'
    ])
  })

  it('of the class are exactly these', () => {
    expect(Object.getOwnPropertyNames(addon.NativeNode.prototype).sort()).toEqual(
      [
        'acceptRendezvous',
        'acceptStream',
        'attach',
        'awaitRendezvous',
        'buildCircuit',
        'cancel',
        'circuitRpc',
        'circuits',
        'close',
        'closeCircuit',
        'closeLinks',
        'closeProxy',
        'connect',
        'connectDirect',
        'constructor',
        'destroy',
        'drain',
        'dropIntroduction',
        'end',
        'establishIntro',
        'establishRendezvous',
        'forwardStream',
        'introduce',
        'links',
        'listenDirect',
        'listenProxy',
        'localAddress',
        'nodeId',
        'onionKey',
        'powSolve',
        'publicKey',
        'read',
        'refuse',
        'refuseStream',
        'resolve',
        'rotateOnionKey',
        'rpc',
        'rpcReject',
        'rpcReply',
        'setIntroSubcredentials',
        'setKnownRelays',
        'sign',
        'snapshot',
        'withdraw',
        'write'
      ].sort()
    )
  })

  it('have one error registry with TypeScript', () => {
    expect(addon.errorRegistry()).toEqual(ERROR_REGISTRY.map((entry) => ({ ...entry })))
  })

  it('tell the versions', () => {
    expect(keys.version()).toEqual({
      version: expect.stringMatching(/^\d+\.\d+\.\d+/),
      protocol: 1,
      features: ['exit', 'metrics', 'proxy']
    })
  })
})

describe('errors that are thrown', () => {
  it('carry the stable code, the advice, and no path of this machine', () => {
    const missing = join(folder, 'no', 'such.key')
    const cases: [() => unknown, string][] = [
      [() => keys.keyFileInspect(missing), 'ERR_ANONNET_STORE_FAILED'],
      [() => keys.nodeIdOf(Buffer.alloc(31)), 'ERR_ANONNET_INVALID_ARGUMENT'],
      [() => new addon.NativeNode({ listen: 'nonsense' }, () => undefined), 'ERR_ANONNET_INVALID_ARGUMENT'],
      [() => new addon.NativeNode({ listen: '192.0.2.1:1' }, () => undefined), 'ERR_ANONNET_BIND_FAILED'],
      [() => new addon.NativeNode({ exitPolicy: ['allow everything'] }, () => undefined), 'ERR_ANONNET_CONFIG_INVALID'],
      [() => node().read(1, 77), 'ERR_ANONNET_CLOSED'],
      [() => node().circuitRpc(1, 77, Buffer.alloc(1), 10, 10), 'ERR_ANONNET_CIRCUIT_CLOSED'],
      [() => node().rpc(0, { nodeId: 'a'.repeat(64), address: '127.0.0.1:1' }, Buffer.alloc(1), 10, 10), 'ERR_ANONNET_INVALID_ARGUMENT'],
      [() => node().refuse(1, 'ERR_ANONNET_NO_SUCH'), 'ERR_ANONNET_INVALID_ARGUMENT']
    ]
    for (const [run, code] of cases) {
      const error = thrown(run) as Error & { code: string }
      expect([code, error.code]).toEqual([code, code])
      expect(error.message).not.toContain(folder)
      expect(error.message).not.toMatch(/\.rs|\/root|\/home|panicked/)
    }
  })
})

describe('wrong arguments', () => {
  const wrong = [
    undefined,
    null,
    0,
    -1,
    1.5,
    Number.NaN,
    2 ** 31,
    2 ** 53,
    '',
    'x'.repeat(70_000),
    true,
    {},
    [],
    () => 0,
    Symbol('s'),
    10n,
    new Uint8Array(3)
  ]

  it('of every method throw or are answered, and the node goes on', async () => {
    const one = node({ listen: '127.0.0.1:0', roles: { relay: true, exit: false, bootstrap: false } })
    const methods = Object.getOwnPropertyNames(addon.NativeNode.prototype).filter(
      (name) => !['constructor', 'close', 'drain'].includes(name)
    )
    const before = one.nodeId()
    for (const name of methods) {
      const method = (one as unknown as Record<string, (...args: unknown[]) => unknown>)[name]!.bind(one)
      for (const value of wrong) {
        for (const args of [[], [value], [value, value], [1, value, value], [1, value, value, value], [1, value, value, value, value]]) {
          try {
            method(...args)
          } catch (error) {
            expect(error).toBeInstanceOf(Error)
          }
        }
      }
    }
    expect(one.nodeId()).toBe(before)
    one.rpc(999_999, { nodeId: before, address: '127.0.0.1:9' }, Buffer.alloc(1), 200, 10)
    expect((await answer(one, 999_999)).type).toBe('opFailed')
  })

  it('of the constructor and the functions throw', () => {
    for (const value of [undefined, null, 1, 'x', [], () => 0]) {
      for (const options of [
        { listen: 5 },
        { identity: {} },
        { roles: 7 },
        { exitPolicy: 'reject *:*' },
        { bandwidthRate: -1 },
        { bandwidthRate: 'a' }
      ]) {
        expect(() => new addon.NativeNode(options as never, value as never)).toThrow()
      }
    }
    for (const value of wrong) {
      if (value instanceof Uint8Array) continue
      expect(() => addon.verify(value as never, value as never, value as never)).toThrow()
      expect(() => addon.nodeIdOf(value as never)).toThrow()
      expect(() => addon.servicePublicKey(value as never)).toThrow()
      expect(() => addon.x25519Public(value as never)).toThrow()
      expect(() => addon.x25519Agree(value as never, value as never)).toThrow()
      expect(() => addon.serviceBlind(value as never, 1)).toThrow()
      expect(() => addon.serviceSubcredential(value as never, 1)).toThrow()
      expect(() => addon.serviceSign(value as never, 1, Buffer.alloc(1))).toThrow()
      expect(() => addon.sealRecord(value as never, 'inner', Buffer.alloc(1))).toThrow()
      expect(() => addon.openRecord(value as never, 'inner', Buffer.alloc(64))).toThrow()
      expect(() => addon.powVerify(value as never, value as never, value as never, 1)).toThrow()
    }
  })

  it('that are numbers out of range are refused, never wrapped', () => {
    const one = node()
    for (const port of [0, 65_536, 2 ** 31]) expect(() => one.connect(1, 1, 'example.org', port, 10)).toThrow()
  })
})

describe('buffers', () => {
  it('that are detached, empty, shared or views of others are bytes or an error', () => {
    const one = node()
    const detached = new Uint8Array(64)
    structuredClone(detached, { transfer: [detached.buffer] })
    expect(detached.length).toBe(0)
    try {
      one.sign(detached as Buffer)
    } catch (error) {
      expect(error).toBeInstanceOf(Error)
    }
    const text = Buffer.from('xxabcxx')
    const view = text.subarray(2, 5)
    expect(keys.verify(one.publicKey(), Buffer.from('abc'), one.sign(view))).toBe(true)
    const shared = new Uint8Array(new SharedArrayBuffer(3)).fill(97)
    try {
      expect(one.sign(shared as Buffer)).toHaveLength(64)
    } catch (error) {
      expect(error).toBeInstanceOf(Error)
    }
    expect(keys.verify(one.publicKey(), Buffer.alloc(0), one.sign(Buffer.alloc(0)))).toBe(true)
    expect(keys.verify(Buffer.alloc(31), Buffer.alloc(0), Buffer.alloc(64))).toBe(false)
    expect(keys.verify(one.publicKey(), Buffer.alloc(0), Buffer.alloc(0))).toBe(false)
  })

  it('are copied on entry: changing them afterwards changes nothing', async () => {
    const one = node({ listen: '127.0.0.1:0' })
    const other = node({ listen: '127.0.0.1:0' })
    const body = Buffer.from('before')
    one.rpc(5, { nodeId: other.nodeId(), address: other.localAddress()! }, body, 5_000, 100)
    body.write('after!')
    const deadline = Date.now() + 5_000
    let got: string | undefined
    while (got === undefined && Date.now() < deadline) {
      for (const event of other.drain()) {
        if (event.type === 'rpcRequest') {
          got = event.body.toString()
          expect(event.nodeId).toBe(one.nodeId())
          other.rpcReply(event.request, Buffer.from('answer'))
        }
      }
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    expect(got).toBe('before')
    expect(await answer(one, 5)).toMatchObject({ type: 'opOk', bytes: Buffer.from('answer') })
  })
})

describe('calls after close', () => {
  it('throw ERR_ANONNET_CLOSED or do nothing, and closing twice is fine', async () => {
    const one = node({ listen: '127.0.0.1:0' })
    one.close(1, 0)
    expect((await answer(one, 1)).type).toBe('opOk')
    const peer = { nodeId: 'a'.repeat(64), address: '127.0.0.1:1' }
    for (const run of [
      () => one.rpc(2, peer, Buffer.alloc(1), 10, 10),
      () => one.buildCircuit(3, [], 10),
      () => one.connect(4, 1, 'h', 1, 10),
      () => one.listenProxy(5, '127.0.0.1:0'),
      () => one.resolve(6, 1, 'h', 10),
      () => one.rotateOnionKey()
    ]) {
      expect(thrown(run)).toMatchObject({ code: 'ERR_ANONNET_CLOSED' })
    }
    expect(one.attach(1, 1)).toBe(false)
    expect(one.closeCircuit(1)).toBe(false)
    one.destroy(1)
    one.end(1)
    one.cancel(1)
    one.drain()
    expect(one.nodeId()).toMatch(/^[0-9a-f]{64}$/)
    one.close(7, 0)
    expect((await answer(one, 7)).type).toBe('opOk')
  })

  it('answer what was under way with ERR_ANONNET_CLOSED, and the close last', async () => {
    const one = node()
    one.rpc(1, { nodeId: 'a'.repeat(64), address: '127.0.0.1:1' }, Buffer.alloc(1), 60_000, 10)
    one.close(2, 0)
    const seen: unknown[] = []
    const deadline = Date.now() + 5_000
    while (seen.length < 2 && Date.now() < deadline) {
      for (const event of one.drain()) if ('op' in event) seen.push([event.op, event.type, 'code' in event ? event.code : undefined])
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    expect(seen).toEqual([
      [1, 'opFailed', 'ERR_ANONNET_CLOSED'],
      [2, 'opOk', undefined]
    ])
  })
})

describe('threads and processes', () => {
  const script = `
    const { workerData, parentPort } = require('node:worker_threads')
    const addon = require(workerData)
    const node = new addon.NativeNode({ listen: '127.0.0.1:0' }, () => node.drain())
    for (let op = 1; op < 50; op += 1) node.rpc(op, { nodeId: 'a'.repeat(64), address: '127.0.0.1:1' }, Buffer.alloc(9), 60000, 10)
    parentPort.postMessage(node.nodeId())
    setInterval(() => {}, 1000)
  `

  it('a worker may be terminated with an open node, many times, beside a node of this thread', async () => {
    const mine = node({ listen: '127.0.0.1:0' })
    for (let round = 0; round < 5; round += 1) {
      const workers = [1, 2].map(() => new Worker(script, { eval: true, workerData: file }))
      await Promise.all(workers.map((worker) => new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))))
      expect(await Promise.all(workers.map((worker) => worker.terminate()))).toEqual([1, 1])
    }
    mine.rpc(1, { nodeId: 'a'.repeat(64), address: '127.0.0.1:1' }, Buffer.alloc(1), 100, 10)
    expect((await answer(mine, 1)).type).toBe('opFailed')
  })

  it('an open node keeps no process alive, and process.exit with one is clean', () => {
    for (const end of ['', 'process.exit(7)']) {
      const code = `
        const addon = require(${JSON.stringify(file)})
        globalThis.node = new addon.NativeNode({ listen: '127.0.0.1:0' }, () => {})
        node.rpc(1, { nodeId: 'a'.repeat(64), address: '127.0.0.1:1' }, Buffer.alloc(1), 60000, 10)
        ${end}`
      const run = spawnSync(process.execPath, ['-e', code], { timeout: 10_000, encoding: 'utf8' })
      expect([run.status, run.signal, run.stderr]).toEqual([end === '' ? 0 : 7, null, ''])
    }
  })
})
