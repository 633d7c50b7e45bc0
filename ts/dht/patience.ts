/** How long an answer is waited for: a dead contact on the way costs a lookup that long, so it follows what answers take. */
import { MIN_RPC_TIME_SAMPLES, MIN_RPC_TIMEOUT_MS, RPC_TIME_SAMPLES, RPC_TIMEOUT_MS, RPC_TIMEOUT_TIMES } from './limits.js'

const PART = 0.9

export class Patience {
  #timesMs: number[] = []

  answered(tookMs: number): void {
    this.#timesMs = [...this.#timesMs.slice(1 - RPC_TIME_SAMPLES), Math.max(0, tookMs)]
  }

  get timeoutMs(): number {
    if (this.#timesMs.length < MIN_RPC_TIME_SAMPLES) return RPC_TIMEOUT_MS
    const sorted = [...this.#timesMs].sort((a, b) => a - b)
    const ms = sorted[Math.ceil(sorted.length * PART) - 1] ?? RPC_TIMEOUT_MS
    return Math.round(Math.min(RPC_TIMEOUT_MS, Math.max(MIN_RPC_TIMEOUT_MS, ms * RPC_TIMEOUT_TIMES)))
  }
}
