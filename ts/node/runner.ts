/**
 * Time for the rooms that have none: runs a thing when it says that it is due.
 */

import { randomBytes } from 'node:crypto'
import type { Rng } from '../directory/types.js'

/** Something due again at `nextRunMs` (Unix milliseconds), which may change with each run. */
export interface Runnable {
  run(): Promise<void>
  nextRunMs(): number
}

/** However eager a room is, the event loop turns in between. */
const MIN_PAUSE_MS = 5
const LONGEST_TIMER_MS = 2 ** 31 - 1

/** Uniform in [0, 1), from the system's generator. */
export const cryptoRng: Rng = () => randomBytes(6).readUIntBE(0, 6) / 2 ** 48

/** Runs one thing. Its timers do not keep the process alive. */
export class Runner {
  readonly #what: Runnable
  readonly #onError: (error: unknown) => void
  readonly #overlapping: boolean
  #timer: NodeJS.Timeout | undefined
  #running = 0
  #paused = false
  #closed = false

  /** `overlapping`: it may be run again while the last run waits for answers. */
  constructor(what: Runnable, onError: (error: unknown) => void, options: { overlapping?: boolean } = {}) {
    this.#what = what
    this.#onError = onError
    this.#overlapping = options.overlapping ?? false
  }

  /** Runs now; resolves when that run is over. Never rejects. */
  async start(): Promise<void> {
    if (this.#closed || this.#paused) return
    clearTimeout(this.#timer)
    this.#running += 1
    const run = this.#what.run().catch(this.#onError)
    if (this.#overlapping) this.schedule()
    await run
    this.#running -= 1
    this.schedule()
  }

  /** Looks again at when the next run is due: call it when something happened that may have changed that. */
  schedule(): void {
    clearTimeout(this.#timer)
    if (this.#closed || this.#paused || (this.#running > 0 && !this.#overlapping)) return
    const delay = this.#what.nextRunMs() - Date.now()
    this.#timer = setTimeout(() => void this.start(), Math.min(Math.max(MIN_PAUSE_MS, delay), LONGEST_TIMER_MS)).unref()
  }

  /** Runs nothing before `resume`; a run that is under way goes on. */
  pause(): void {
    this.#paused = true
    clearTimeout(this.#timer)
  }

  /** What became due meanwhile runs soon. */
  resume(): void {
    this.#paused = false
    this.schedule()
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
  }
}
