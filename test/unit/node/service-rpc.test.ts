/** What a relay does for services as the last hop of a circuit. */
import { describe, expect, it } from 'vitest'
import { MAX_RUNNING_SERVICE_REQUESTS, SERVICE_STORE_BURST, SERVICE_STORE_RATE, serviceHandler } from '../../../ts/node/service-rpc.js'
import { codeOf, codeOfAsync } from '../directory/helpers.js'

const VIA = { address: '127.0.0.1:1', viaCircuit: true }
const KEY = new Uint8Array(32).fill(7)

function make(dht: { findService?: (key: string) => Promise<Uint8Array>; storeService?: (raw: Uint8Array) => Promise<number> } = {}) {
  let nowMs = 0
  const handler = serviceHandler(
    { findService: dht.findService ?? (async () => Uint8Array.of(1, 2)), storeService: dht.storeService ?? (async (raw) => raw.length) },
    () => nowMs
  )
  return {
    ask: (method: string, params: unknown, from = VIA) => handler(method, params, from) as Promise<unknown>,
    later: (ms: number) => {
      nowMs += ms
    }
  }
}

describe('a last hop, asked for services', () => {
  it('asks the DHT for the key, and stores what it is given', async () => {
    const keys: string[] = []
    const { ask } = make({
      findService: async (key) => {
        keys.push(key)
        return Uint8Array.of(9)
      }
    })
    expect(await ask('service.get', { key: KEY })).toEqual(Uint8Array.of(9))
    expect(keys).toEqual(['07'.repeat(32)])
    expect(await ask('service.put', { record: new Uint8Array(5) })).toBe(5)
  })

  it('does so only for who comes through a circuit', () => {
    const { ask } = make()
    for (const [method, params] of [
      ['service.get', { key: KEY }],
      ['service.put', { record: new Uint8Array(5) }]
    ] as const) {
      expect(codeOf(() => ask(method, params, { ...VIA, viaCircuit: false }))).toBe('ERR_ANONNET_RPC_REFUSED')
    }
  })

  it('refuses what is malformed', () => {
    const { ask } = make()
    for (const [method, params] of [
      ['service.get', null],
      ['service.get', {}],
      ['service.get', { key: new Uint8Array(31) }],
      ['service.get', { key: KEY, more: 1 }],
      ['service.put', { record: 'text' }],
      ['service.put', { record: new Uint8Array(20 * 1024 + 1) }],
      ['service.drop', {}]
    ] as const) {
      expect([method, codeOf(() => ask(method, params))]).toEqual([method, 'ERR_ANONNET_RPC_INVALID'])
    }
  })

  it('does a bounded number at the same time', async () => {
    let release = (): void => undefined
    const held = new Promise<Uint8Array>((resolve) => {
      release = () => resolve(KEY)
    })
    const { ask } = make({ findService: () => held })
    const running = Array.from({ length: MAX_RUNNING_SERVICE_REQUESTS }, () => ask('service.get', { key: KEY }))
    expect(await codeOfAsync(() => ask('service.get', { key: KEY }))).toBe('ERR_ANONNET_RATE_LIMITED')
    release()
    await Promise.all(running)
    expect(await ask('service.get', { key: KEY })).toBe(KEY)
  })

  it('stores at a bounded rate', async () => {
    const { ask, later } = make()
    const put = () => ask('service.put', { record: new Uint8Array(5) })
    for (let count = 0; count < SERVICE_STORE_BURST; count++) await put()
    expect(codeOf(put)).toBe('ERR_ANONNET_RATE_LIMITED')
    later(1000)
    for (let count = 0; count < SERVICE_STORE_RATE; count++) await put()
    expect(codeOf(put)).toBe('ERR_ANONNET_RATE_LIMITED')
  })
})
