import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { cryptoRng, Runner } from '../../../ts/node/runner.js'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

function thing(everyMs: number, workMs = 0) {
  const runs: number[] = []
  const started = Date.now()
  return {
    runs,
    run: async () => {
      runs.push(Date.now() - started)
      if (workMs > 0) await new Promise((resolve) => setTimeout(resolve, workMs))
    },
    nextRunMs: () => (runs.length === 0 ? started : started + (runs.at(-1) ?? 0) + everyMs)
  }
}

describe('runner', () => {
  it('runs when the thing is due, until closed', async () => {
    const what = thing(100)
    const runner = new Runner(what, () => expect.unreachable())
    await runner.start()
    await vi.advanceTimersByTimeAsync(350)
    expect(what.runs).toEqual([0, 100, 200, 300])
    runner.close()
    await vi.advanceTimersByTimeAsync(500)
    expect(what.runs).toHaveLength(4)
    await runner.start()
    expect(what.runs).toHaveLength(4)
  })

  it('does not overlap runs, unless told to', async () => {
    const alone = thing(10, 100)
    const runner = new Runner(alone, () => expect.unreachable())
    void runner.start()
    const together = thing(10, 100)
    const overlapping = new Runner(together, () => expect.unreachable(), { overlapping: true })
    void overlapping.start()
    await vi.advanceTimersByTimeAsync(199)
    expect(alone.runs).toEqual([0, 105])
    expect(together.runs.length).toBeGreaterThan(10)
    runner.close()
    overlapping.close()
  })

  it('lets the event loop turn between runs of an eager thing, and goes on after a failure', async () => {
    const errors: unknown[] = []
    let runs = 0
    const runner = new Runner(
      {
        run: async () => {
          runs += 1
          throw new Error('no')
        },
        nextRunMs: () => 0
      },
      (error) => errors.push(error)
    )
    await runner.start()
    await vi.advanceTimersByTimeAsync(50)
    expect(runs).toBe(11)
    expect(errors).toHaveLength(11)
    runner.close()
  })
})

it('the generator is uniform in [0, 1)', () => {
  const values = Array.from({ length: 4_000 }, () => cryptoRng())
  expect(Math.min(...values)).toBeGreaterThanOrEqual(0)
  expect(Math.max(...values)).toBeLessThan(1)
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  expect(Math.abs(mean - 0.5)).toBeLessThan(0.03)
})
