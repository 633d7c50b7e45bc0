import { encode } from 'cborg'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { errorFromCode } from '../../../ts/errors/index.js'
import { Engine } from '../../../ts/native/engine.js'
import {
  decodeReply,
  decodeRequest,
  encodeRequest,
  MAX_METHOD_BYTES,
  MAX_RUNNING_REQUESTS,
  peekMethod,
  RpcRouter,
  rpcOver
} from '../../../ts/node/rpc.js'
import { fakeAddon } from '../../helpers/fake-native.js'

function rig() {
  const { addon, made } = fakeAddon()
  const engine = new Engine({}, () => expect.unreachable(), addon)
  const fake = made[0]!
  const router = new RpcRouter(engine)
  let request = 0
  const ask = async (body: Uint8Array, more: object = {}): Promise<unknown> => {
    request += 1
    await router.handle({ type: 'rpcRequest', request, address: '192.0.2.1:1', viaCircuit: false, body: Buffer.from(body), ...more })
    const reply = fake.of('rpcReply').find(([id]) => id === request)
    if (reply !== undefined) return { reply: reply[1] as Uint8Array }
    return fake.of('rpcReject').some(([id]) => id === request) ? 'rejected' : 'nothing'
  }
  return { engine, fake, router, ask }
}

describe('requests', () => {
  it('survive the way there', () => {
    const body = encodeRequest('dht.findNode', { target: Uint8Array.of(1, 2) })
    expect(peekMethod(body)).toBe('dht.findNode')
    expect(decodeRequest(body)).toEqual({ method: 'dht.findNode', params: { target: Uint8Array.of(1, 2) } })
    expect(peekMethod(encodeRequest('m'.repeat(MAX_METHOD_BYTES), null))).toBe('m'.repeat(MAX_METHOD_BYTES))
    expect(peekMethod(encodeRequest('m'.repeat(MAX_METHOD_BYTES + 1), null))).toBeUndefined()
    expect(decodeRequest(encodeRequest('ping', undefined)).params).toBeNull()
  })

  it('that are garbage throw nothing but RPC_INVALID, and peeking never throws', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        peekMethod(bytes)
        for (const parse of [decodeRequest, decodeReply]) {
          try {
            parse(bytes)
          } catch (error) {
            const { code } = error as { code: string }
            if (parse === decodeRequest) expect(code).toBe('ERR_ANONNET_RPC_INVALID')
            else expect(code).toMatch(/^ERR_ANONNET_/)
          }
        }
      })
    )
  })
})

describe('router', () => {
  it('gives the family its method, parameters and origin, and sends the answer', async () => {
    const { router, ask } = rig()
    const seen: unknown[] = []
    router.on('dht', (...args) => {
      seen.push(args)
      return { ok: 1 }
    })
    const { reply } = (await ask(encodeRequest('dht.ping', {}), { nodeId: 'aa' })) as { reply: Uint8Array }
    expect(decodeReply(reply)).toEqual({ ok: 1 })
    expect(seen).toEqual([['dht.ping', {}, { nodeId: 'aa', address: '192.0.2.1:1', viaCircuit: false }]])
  })

  it('answers ping of itself, unknown families with UNSUPPORTED, errors with their code, bugs with INTERNAL', async () => {
    const { router, ask } = rig()
    router.on('list', () => {
      throw errorFromCode('ERR_ANONNET_NOT_BOOTSTRAPPED')
    })
    router.on('desc', () => {
      throw new Error('a bug')
    })
    router.on('vote', async () => undefined)
    const codeOf = async (method: string): Promise<unknown> => {
      const { reply } = (await ask(encodeRequest(method, null))) as { reply: Uint8Array }
      try {
        return decodeReply(reply)
      } catch (error) {
        const { code, cause } = error as { code: string; cause?: { code: string } }
        return cause === undefined ? code : [code, cause.code]
      }
    }
    expect(await codeOf('ping')).toBeNull()
    expect(await codeOf('nobody.home')).toBe('ERR_ANONNET_UNSUPPORTED')
    expect(await codeOf('list.get')).toBe('ERR_ANONNET_NOT_BOOTSTRAPPED')
    expect(await codeOf('vote.exchange')).toBeNull()
    expect(await codeOf('desc.publish')).toEqual(['ERR_ANONNET_RPC_REFUSED', 'ERR_ANONNET_INTERNAL'])
  })

  it('rejects what is malformed or too large before decoding it', async () => {
    const { router, ask } = rig()
    router.on('list', () => expect.unreachable())
    expect(await ask(Buffer.from('garbage'))).toBe('rejected')
    expect(await ask(encode({ x: 1 }))).toBe('rejected')
    expect(await ask(encode({ m: 'list.get', p: Buffer.alloc(2_000) }))).toBe('rejected')
    expect(await ask(encode({ m: 'constructor.x', p: Buffer.alloc(300) }))).toBe('rejected')
    expect(await ask(Buffer.concat([encodeRequest('list.get', null), Buffer.of(0)]))).toBe('rejected')
  })

  it('runs a bounded number at the same time', async () => {
    const { router, ask, fake } = rig()
    const release: (() => void)[] = []
    router.on('dht', () => new Promise<void>((resolve) => release.push(resolve)))
    const waiting = Array.from({ length: MAX_RUNNING_REQUESTS }, () => ask(encodeRequest('dht.ping', {})))
    expect(await ask(encodeRequest('dht.ping', {}))).toBe('rejected')
    for (const go of release) go()
    await Promise.all(waiting)
    expect(fake.of('rpcReply')).toHaveLength(MAX_RUNNING_REQUESTS)
    const again = ask(encodeRequest('dht.ping', {}))
    release.at(-1)!()
    expect(await again).toHaveProperty('reply')
  })
})

describe('calls', () => {
  it('return the result, and throw only what another node may say', async () => {
    const { engine, fake } = rig()
    const rpc = rpcOver(engine)
    const replies = new Map<string, Uint8Array>([
      ['a', encode({ r: [1] })],
      ['b', encode({ e: 'ERR_ANONNET_NOT_FOUND' })],
      ['c', encode({ e: 'ERR_ANONNET_KEY_PASSPHRASE' })],
      ['d', encode({ e: 'made up' })],
      ['e', encode({ r: 1, e: 2 })],
      ['f', encode([1])],
      ['g', Buffer.from('no')]
    ])
    fake.auto = (method, args) =>
      method === 'rpc'
        ? { type: 'opOk', op: args[0] as number, bytes: Buffer.from(replies.get(peekMethod(args[2] as Uint8Array)!)!) }
        : undefined
    const call = (method: string) => rpc({ nodeId: 'x', address: 'y' }, method, {}).catch((error: { code: string }) => error.code)
    expect(await call('a')).toEqual([1])
    expect(await call('b')).toBe('ERR_ANONNET_NOT_FOUND')
    expect(await call('c')).toBe('ERR_ANONNET_RPC_REFUSED')
    for (const method of ['d', 'e', 'f', 'g']) expect(await call(method)).toBe('ERR_ANONNET_RPC_INVALID')
    expect(engine.keepAlive.count).toBe(0)
  })
})
