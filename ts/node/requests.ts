/**
 * One thing done over a circuit: waits for the pool, tries, and lets the pool decide about another try.
 */

import { errorFromCode } from '../errors/index.js'
import { onAbort } from '../native/index.js'
import type { CircuitDriver, CircuitRequest } from './circuits.js'

/** Deadline and signal of the whole. */
export interface RequestLimits {
  timeoutMs: number
  signal?: AbortSignal | undefined
}

/** What is left of them for one try. */
export interface TryLimits {
  timeoutMs: number
  signal: AbortSignal
}

/**
 * Runs `use` on a circuit that the pool gives, on another when it fails, until the pool gives up.
 *
 * @throws what the last try or the pool said; ERR_ANONNET_TIMEOUT; the signal's reason as it is.
 */
export function overCircuit<T>(
  driver: CircuitDriver,
  request: CircuitRequest,
  limits: RequestLimits,
  use: (circuit: number, limits: TryLimits) => Promise<T>
): Promise<{ result: T; circuit: number }> {
  const { signal } = limits
  const deadline = performance.now() + limits.timeoutMs
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason)
      return
    }
    const tries = new AbortController()
    let id: number | undefined
    let settled = false
    const finish = (then: () => void): void => {
      if (settled) return
      settled = true
      clearTimeout(timer)
      unlisten()
      then()
    }
    const giveUp = (reason: unknown): void =>
      finish(() => {
        if (id !== undefined) driver.cancel(id)
        tries.abort()
        reject(reason)
      })
    const timer = setTimeout(() => giveUp(errorFromCode('ERR_ANONNET_TIMEOUT')), limits.timeoutMs).unref()
    const unlisten = onAbort(signal, () => giveUp(signal?.reason))

    const attempt = async (circuit: number): Promise<void> => {
      try {
        const result = await use(circuit, { timeoutMs: Math.max(1, Math.ceil(deadline - performance.now())), signal: tries.signal })
        finish(() => {
          if (id !== undefined) driver.connected(id)
          resolve({ result, circuit })
        })
      } catch (error) {
        if (!settled && id !== undefined) driver.failed(id, error)
      }
    }
    id = driver.request(
      { ...request, waitMs: limits.timeoutMs },
      {
        attach: (circuit) => {
          // The pool may attach before it has told the id: the try begins a turn later.
          queueMicrotask(() => {
            if (!settled) void attempt(circuit)
          })
        },
        refuse: (error) => finish(() => reject(error))
      }
    )
  })
}
