/** A client's ways to services: how many there are, and who waits for them. */
import { randomBytes } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
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
