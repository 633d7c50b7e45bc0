import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createDiagnostics } from '../../../ts/diagnostics/index.js'
import { errorFromCode } from '../../../ts/errors/index.js'
import type { EngineEvent } from '../../../ts/native/index.js'
import { Dormancy, type DormancyParts, Readiness } from '../../../ts/node/dormancy.js'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const late = (): Error => errorFromCode('ERR_ANONNET_TIMEOUT')

describe('waiting for a circuit', () => {
  it('ends with the circuit, the time, the signal or a failure, and leaves nothing behind', async () => {
    const readiness = new Readiness()
    const one = readiness.wait({ signal: undefined, timeoutMs: 1_000 }, late)
    readiness.ready()
    await one
    const two = readiness.wait({ signal: undefined, timeoutMs: 1_000 }, late)
    vi.advanceTimersByTime(1_000)
    await expect(two).rejects.toMatchObject({ code: 'ERR_ANONNET_TIMEOUT' })
    const controller = new AbortController()
    const three = readiness.wait({ signal: controller.signal, timeoutMs: 1_000 }, late)
    controller.abort('why')
    await expect(three).rejects.toBe('why')
    const four = readiness.wait({ signal: new AbortController().signal, timeoutMs: 1_000 }, late)
    readiness.fail(errorFromCode('ERR_ANONNET_ABORTED'))
    await expect(four).rejects.toMatchObject({ code: 'ERR_ANONNET_ABORTED' })
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe('falling asleep', () => {
  it('closes a link that a dial brings afterwards, and is over when the last one is gone', async () => {
    let links = 1
    const engine = { closing: false, closeLinks: vi.fn(), links: () => Array.from({ length: links }) }
    const part = () => ({ sleep: vi.fn(), wake: vi.fn() })
    const [driver, lists] = [part(), part()]
    const parts = { engine, diagnostics: createDiagnostics(), driver, lists, readiness: new Readiness() }
    const dormancy = new Dormancy(parts as unknown as DormancyParts)
    const event = (type: 'linkUp' | 'linkDown'): void => dormancy.onEvent({ type, authenticated: false } as EngineEvent)
    event('linkUp')
    expect(engine.closeLinks).not.toHaveBeenCalled()

    let asleep = 0
    const sleeping = [dormancy.sleep(), dormancy.sleep()].map((one) => one.then(() => ++asleep))
    expect([driver.sleep.mock.calls.length, lists.sleep.mock.calls.length, engine.closeLinks.mock.calls.length]).toEqual([1, 1, 1])
    links = 2
    event('linkUp')
    expect(engine.closeLinks).toHaveBeenCalledTimes(2)
    links = 1
    event('linkDown')
    await Promise.resolve()
    expect(asleep).toBe(0)
    links = 0
    event('linkDown')
    await Promise.all(sleeping)
    expect(asleep).toBe(2)
    dormancy.wake()
    dormancy.wake()
    expect([driver.wake.mock.calls.length, lists.wake.mock.calls.length]).toEqual([1, 1])
  })
})
