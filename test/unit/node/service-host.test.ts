/** A service's own side over an engine that is none: what it does with introductions while time passes, and what it leaves behind. */
import { randomBytes } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { type Engine, serviceCrypto } from '../../../ts/native/index.js'
import type { CircuitDriver } from '../../../ts/node/circuits.js'
import type { ServiceCircuits } from '../../../ts/node/service-circuits.js'
import { ServiceClient, type ServiceClientParts } from '../../../ts/node/service-client.js'
import { ServiceHost } from '../../../ts/node/service-host.js'
import { ServiceMeetings } from '../../../ts/node/service-meetings.js'
import { type ServiceAddress, serviceName, writeIntroduction } from '../../../ts/services/index.js'
import { POW_INTERVAL_MS } from '../../../ts/services/limits.js'

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance', 'Date'] }))
afterEach(() => void vi.useRealTimers())

/** Introduction points are there at once; nobody is ever met, and nothing is ever stored. */
async function make(): Promise<{ host: ServiceHost; seed: Uint8Array; introduce: () => void; sleep: () => void }> {
  let circuits = 0
  let requests = 0
  let told = (): void => undefined
  const never = new Promise<never>(() => undefined)
  const nowS = Math.floor(Date.now() / 1000)
  const driver = {
    list: { validAfter: nowS - 60, validUntil: nowS + 86_400 } as object | undefined,
    watch: (watcher: () => void) => {
      told = watcher
      return () => undefined
    }
  }
  const seed = Uint8Array.from(randomBytes(32))
  const publicKey = serviceCrypto.publicKey(seed)
  const engine = {
    services: {
      establishIntro: async () => ({ authKey: randomBytes(32), onionKey: randomBytes(32), kemKey: randomBytes(1184) }),
      setIntroSubcredentials: () => true,
      dropIntroduction: () => undefined
    }
  } as unknown as Engine
  const serviceCircuits = {
    build: (kind: string) => {
      if (kind !== 'intro') return never
      circuits += 1
      return Promise.resolve({ circuit: circuits, last: String(circuits).padStart(64, '0') })
    },
    onEnd: () => undefined,
    close: () => undefined
  } as unknown as ServiceCircuits
  const host = new ServiceHost({
    engine,
    driver: driver as unknown as CircuitDriver,
    circuits: serviceCircuits,
    meetings: new ServiceMeetings({ engine, circuits: serviceCircuits }),
    seed,
    address: { publicKey, name: serviceName(publicKey) },
    clients: [],
    onStream: () => undefined,
    onError: () => undefined,
    onPublished: () => undefined
  })
  await vi.advanceTimersByTimeAsync(10)
  expect(host.introPoints).toBeGreaterThan(0)
  const body = Buffer.from(writeIntroduction({ cookie: randomBytes(20), rendezvous: '11'.repeat(32), pow: undefined }))
  return {
    host,
    seed,
    introduce: () => {
      requests += 1
      expect(host.introduced({ type: 'introduced', circuit: 1, request: requests, body })).toBe(true)
    },
    sleep: () => {
      driver.list = undefined
      told()
    }
  }
}

describe('a service', () => {
  it('raises what it asks for while introductions keep coming, however close together, and lowers it again', async () => {
    for (const [everyMs, intervals] of [
      [20, 1.1],
      [500, 2.1]
    ] as const) {
      const { host, introduce } = await make()
      for (let atMs = 0; atMs < intervals * POW_INTERVAL_MS; atMs += everyMs) {
        introduce()
        vi.advanceTimersByTime(everyMs)
      }
      expect([everyMs, host.effort > 0]).toEqual([everyMs, true])
      await vi.advanceTimersByTimeAsync(3 * POW_INTERVAL_MS)
      expect(host.effort).toBe(0)
      host.close()
    }
  })

  it('has no timer while there is no list', async () => {
    const { host, sleep } = await make()
    sleep()
    // What was under way comes to its end.
    await vi.advanceTimersByTimeAsync(2_000)
    expect(vi.getTimerCount()).toBe(0)
    host.close()
  })

  it('leaves no key behind: its seed, and the keys of clients that were authorised', async () => {
    const { host, seed } = await make()
    expect(seed.some((byte) => byte !== 0)).toBe(true)
    host.close()
    expect([...seed]).toEqual(Array(32).fill(0))

    const client = new ServiceClient({} as unknown as ServiceClientParts)
    const addressOf = (): ServiceAddress => {
      const publicKey = serviceCrypto.publicKey(randomBytes(32))
      return { publicKey, name: serviceName(publicKey) }
    }
    const [first, second] = [addressOf(), addressOf()]
    const secrets = [1, 2, 3].map((byte) => new Uint8Array(32).fill(byte))
    const wiped = (): boolean[] => secrets.map((secret) => secret.every((byte) => byte === 0))
    client.authorize(first, secrets[0])
    client.authorize(first, secrets[1])
    expect(wiped()).toEqual([true, false, false])
    client.authorize(second, secrets[2])
    client.authorize(first, undefined)
    expect(wiped()).toEqual([true, true, false])
    client.close()
    expect(wiped()).toEqual([true, true, true])
  })
})
