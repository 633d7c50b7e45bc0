/** A client's ways to services: how many there are, and who waits for them. */
import { randomBytes } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { errorFromCode } from '../../../ts/errors/index.js'
import { serviceCrypto } from '../../../ts/native/index.js'
import { ServiceClient } from '../../../ts/node/service-client.js'
import * as Meeting from '../../../ts/node/service-meeting.js'
import { type ServiceAddress, serviceName } from '../../../ts/services/index.js'
import { MAX_WAYS, MEETING_GRACE_MS } from '../../../ts/services/limits.js'
import { useFakeTime, World } from './service-world.js'

vi.mock('../../../ts/node/service-meeting.js', () => ({ meetService: vi.fn() }))

beforeEach(useFakeTime)
afterEach(() => void vi.useRealTimers())

function make() {
  const world = new World()
  const { engine, driver, circuits } = world
  const client = new ServiceClient({ engine, driver, circuits })
  const publicKey = serviceCrypto.publicKey(Uint8Array.from(randomBytes(32)))
  const address: ServiceAddress = { publicKey, name: serviceName(publicKey) }
  const met = vi.mocked(Meeting.meetService)
  met.mockReset().mockImplementation(async () => (await circuits.build('rendezvous')).circuit)
  return { world, client, address, met }
}

describe('ways to services', () => {
  it('keeps a bounded number of them, and lets an idle one go for the next', async () => {
    const { world, client, address } = make()
    const limits = { timeoutMs: 10_000 }
    const first = await client.circuit(address, '0', limits)
    for (let way = 1; way < MAX_WAYS; way++) await client.circuit(address, String(way), limits)
    // All of them were just made: their streams may be about to come.
    await expect(client.circuit(address, 'more', limits)).rejects.toMatchObject({ code: 'ERR_ANONNET_RESOURCE_LIMIT' })
    expect(world.circuits.has(await client.circuit(address, '1', limits))).toBe(true)
    for (const circuit of world.open.keys()) if (circuit !== first) world.open.set(circuit, 1)
    await vi.advanceTimersByTimeAsync(MEETING_GRACE_MS)
    await client.circuit(address, 'more', limits)
    expect(world.circuits.has(first)).toBe(false)
    await expect(client.circuit(address, 'and more', limits)).rejects.toMatchObject({ code: 'ERR_ANONNET_RESOURCE_LIMIT' })
    client.close()
    world.driver.close()
  })
})

describe('those who wait for the same way', () => {
  const waits = { timeoutMs: 60_000 }

  it('fail with nobody else’s deadline: who has time left begins anew', async () => {
    const { world, client, address, met } = make()
    // The first comes to nothing within its time.
    met.mockImplementationOnce(
      ({ timeoutMs }) => new Promise((_resolve, reject) => setTimeout(() => reject(errorFromCode('ERR_ANONNET_TIMEOUT')), timeoutMs))
    )
    const hasty = client.circuit(address, 'same', { timeoutMs: 1_000 }).catch(codeOf)
    await vi.advanceTimersByTimeAsync(200)
    const patient = [client.circuit(address, 'same', waits), client.circuit(address, 'same', waits)]
    await vi.advanceTimersByTimeAsync(2_000)
    expect(await hasty).toBe('ERR_ANONNET_TIMEOUT')
    const [one, other] = await Promise.all(patient)
    expect(world.circuits.has(one ?? 0)).toBe(true)
    expect(other).toBe(one)
    expect(met).toHaveBeenCalledTimes(2)
    client.close()
    world.driver.close()
  })

  it('hear at once of what is no deadline', async () => {
    const { world, client, address, met } = make()
    met.mockImplementation(
      () => new Promise((_resolve, reject) => setTimeout(() => reject(errorFromCode('ERR_ANONNET_INTRODUCTION_FAILED')), 100))
    )
    const both = [client.circuit(address, 'same', waits).catch(codeOf), client.circuit(address, 'same', waits).catch(codeOf)]
    await vi.advanceTimersByTimeAsync(200)
    expect(await Promise.all(both)).toEqual(['ERR_ANONNET_INTRODUCTION_FAILED', 'ERR_ANONNET_INTRODUCTION_FAILED'])
    expect(met).toHaveBeenCalledTimes(1)
    client.close()
    world.driver.close()
  })

  it('may give up: the last of them ends the meeting', async () => {
    const { world, client, address, met } = make()
    const signals: AbortSignal[] = []
    met.mockImplementation(({ signal }) => {
      signals.push(signal)
      return new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
    })
    const leave = [new AbortController(), new AbortController()]
    const both = leave.map(({ signal }) => client.circuit(address, 'same', { ...waits, signal }).catch((reason: unknown) => reason))
    await vi.advanceTimersByTimeAsync(10)
    leave[0]?.abort('first')
    await vi.advanceTimersByTimeAsync(10)
    expect(signals.map(({ aborted }) => aborted)).toEqual([false])
    leave[1]?.abort('second')
    await vi.advanceTimersByTimeAsync(10)
    expect(signals.map(({ aborted }) => aborted)).toEqual([true])
    expect(await Promise.all(both)).toEqual(['first', 'second'])
    // The next gets a way of its own.
    void client.circuit(address, 'same', waits).catch(() => undefined)
    await vi.advanceTimersByTimeAsync(10)
    expect(met).toHaveBeenCalledTimes(2)
    client.close()
    world.driver.close()
  })
})

function codeOf(error: unknown): unknown {
  return (error as { code?: unknown }).code
}
