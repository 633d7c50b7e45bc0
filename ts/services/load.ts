/**
 * Introductions under load. Those with more proof of work come first, a bounded number waits, and a bucket bounds how many are taken in a
 * second. When more come than can be taken, the descriptor asks for an effort: a little more than what was just enough, so that a flood
 * pays for every place that it takes. One introduction of a huge effort moves the suggestion no more than any other.
 */
import {
  INTRODUCTION_BURST,
  INTRODUCTION_RATE,
  INTRODUCTION_WAIT_MS,
  MAX_POW_EFFORT,
  MAX_POW_NONCES,
  MAX_RUNNING_RENDEZVOUS,
  MAX_WAITING_INTRODUCTIONS,
  POW_INTERVAL_MS,
  POW_LOWER,
  POW_RAISE,
  POW_SEED_MS
} from './limits.js'
import type { PowProof } from './types.js'

/** An introduction whose proof was verified. */
interface Waiting {
  readonly request: number
  readonly effort: number
  readonly sinceMs: number
}

export interface LoadLimits {
  readonly waiting: number
  readonly running: number
  readonly rate: number
  readonly burst: number
}

export const LOAD_LIMITS: LoadLimits = {
  waiting: MAX_WAITING_INTRODUCTIONS,
  running: MAX_RUNNING_RENDEZVOUS,
  rate: INTRODUCTION_RATE,
  burst: INTRODUCTION_BURST
}

/** A seed, and the nonces that were used with it. */
interface Seed {
  readonly seed: Uint8Array
  readonly madeMs: number
  readonly nonces: Set<string>
}

export interface LoadOptions {
  /** Whether a nonce is a proof of that effort. Not called for efforts of 0. */
  readonly proves: (seed: Uint8Array, nonce: Uint8Array, effort: number) => boolean
  readonly randomBytes: (count: number) => Uint8Array
  readonly nowMs: number
  readonly limits?: LoadLimits
}

/** What became of an introduction. */
export type Verdict = 'taken' | 'no-proof' | 'bad-proof' | 'full'

/** The introductions of one service. */
export class Load {
  readonly #options: LoadOptions
  readonly #limits: LoadLimits
  #waiting: Waiting[] = []
  #running = 0
  #tokens: number
  #filledMs: number
  #seed: Seed
  #before: Seed | undefined
  #effort = 0
  /** What was asked for in the interval before: who read that descriptor is let through. */
  #effortBefore = 0
  #intervalMs: number
  /** Of this interval: the efforts that came, how many were begun, and whether any had no place. */
  #came: number[] = []
  #begun = 0
  #overflowed = false
  /** Of this interval: those that were refused because they proved nothing. */
  #refused = 0
  /** How many were begun in the last interval that had too many. */
  #capacity = 0
  /** Since the last look. */
  #seedChanged = false

  constructor(options: LoadOptions) {
    this.#options = options
    this.#limits = options.limits ?? LOAD_LIMITS
    this.#tokens = this.#limits.burst
    this.#filledMs = options.nowMs
    this.#intervalMs = options.nowMs
    this.#seed = this.#newSeed(options.nowMs)
  }

  /** What the descriptor says: an effort of 0 asks for nothing. */
  get suggestion(): { readonly seed: Uint8Array; readonly effort: number } {
    return { seed: this.#seed.seed, effort: this.#effort }
  }

  get running(): number {
    return this.#running
  }

  get waiting(): number {
    return this.#waiting.length
  }

  /**
   * Takes an introduction into the queue, or not. `dropped` are those that lose their place to it.
   */
  offer(request: number, proof: PowProof | undefined, nowMs: number): { verdict: Verdict; dropped: number[] } {
    const effort = proof?.effort ?? 0
    if (proof === undefined) {
      if (Math.min(this.#effort, this.#effortBefore) > 0) {
        this.#refused += 1
        return { verdict: 'no-proof', dropped: [] }
      }
    } else if (!this.#accepts(proof, nowMs)) {
      return { verdict: 'bad-proof', dropped: [] }
    }
    this.#came.push(effort)
    const dropped = this.#expire(nowMs)
    // Behind all of the same or more effort: who came first goes first.
    const at = this.#waiting.findIndex((other) => other.effort < effort)
    this.#waiting.splice(at < 0 ? this.#waiting.length : at, 0, { request, effort, sinceMs: nowMs })
    if (this.#waiting.length <= this.#limits.waiting) return { verdict: 'taken', dropped }
    this.#overflowed = true
    const last = this.#waiting.pop()
    if (last?.request === request) return { verdict: 'full', dropped }
    return { verdict: 'taken', dropped: last === undefined ? dropped : [...dropped, last.request] }
  }

  /** The next to be served, when there is room for one. Call `finished` when its rendezvous came about or failed. */
  next(nowMs: number): number | undefined {
    this.#fill(nowMs)
    if (this.#running >= this.#limits.running || this.#tokens < 1) {
      if (this.#waiting.length > 0 && this.#tokens < 1) this.#overflowed = true
      return undefined
    }
    const first = this.#waiting.shift()
    if (first === undefined) return undefined
    this.#tokens -= 1
    this.#running += 1
    this.#begun += 1
    return first.request
  }

  finished(): void {
    this.#running = Math.max(0, this.#running - 1)
  }

  /** When `next` may have something again although nothing happens; undefined: never. */
  nextMs(nowMs: number): number | undefined {
    if (this.#waiting.length === 0 || this.#running >= this.#limits.running) return undefined
    return this.#tokens >= 1 ? nowMs : nowMs + Math.ceil((1000 * (1 - this.#tokens)) / this.#limits.rate)
  }

  /** Looks at the interval that ended. Returns whether the suggestion changed so that the descriptor has to be published, and who waited too long. */
  tick(nowMs: number): { changed: boolean; dropped: number[] } {
    const dropped = this.#expire(nowMs)
    const intervals = Math.floor((nowMs - this.#intervalMs) / POW_INTERVAL_MS)
    const before = this.#effort
    if (intervals > 0) {
      this.#intervalMs += intervals * POW_INTERVAL_MS
      this.#effortBefore = before
      this.#effort = this.#overflowed ? this.#raised() : this.#lowered(intervals)
      this.#came = []
      this.#begun = 0
      this.#overflowed = false
      this.#refused = 0
    }
    if (nowMs - this.#seed.madeMs >= POW_SEED_MS) this.#changeSeed(nowMs)
    const changed = this.#effort !== before || (this.#seedChanged && this.#effort > 0)
    this.#seedChanged = false
    return { changed, dropped }
  }

  /** A little more than the least effort that found a place in this interval: only who proves more than that raises it. */
  #raised(): number {
    this.#capacity = Math.max(this.#begun, this.#limits.running)
    const sorted = this.#came.sort((a, b) => b - a)
    const least = sorted[Math.max(1, this.#begun) - 1] ?? sorted[sorted.length - 1]
    // Those that were too late had all come before.
    if (least === undefined) return this.#effort
    return Math.min(MAX_POW_EFFORT, Math.max(Math.floor(least * POW_RAISE), least + 1))
  }

  /** Who was refused without a proof would be back with no effort: where they are too many the least effort stays, which keeps them out. */
  #lowered(intervals: number): number {
    const lower = Math.floor(this.#effort * POW_LOWER ** intervals)
    return this.#refused > 0 && this.#came.length + this.#refused > this.#capacity * intervals ? Math.max(1, lower) : lower
  }

  #accepts({ seedHead, nonce, effort }: PowProof, nowMs: number): boolean {
    const seed = [this.#seed, this.#before].find((one) => one !== undefined && Buffer.compare(one.seed.subarray(0, 4), seedHead) === 0)
    if (seed === undefined) return false
    const key = Buffer.from(nonce).toString('hex')
    if (seed.nonces.has(key) || seed.nonces.size >= MAX_POW_NONCES) return false
    if (!this.#options.proves(seed.seed, nonce, effort)) return false
    seed.nonces.add(key)
    // Long before it is full: as many again are for those who have the descriptor of before.
    if (seed === this.#seed && seed.nonces.size >= MAX_POW_NONCES / 2) this.#changeSeed(nowMs)
    return true
  }

  #changeSeed(nowMs: number): void {
    this.#before = this.#seed
    this.#seed = this.#newSeed(nowMs)
    this.#seedChanged = true
  }

  #expire(nowMs: number): number[] {
    const late = this.#waiting.filter(({ sinceMs }) => nowMs - sinceMs >= INTRODUCTION_WAIT_MS)
    if (late.length > 0) {
      this.#overflowed = true
      this.#waiting = this.#waiting.filter((one) => !late.includes(one))
    }
    return late.map(({ request }) => request)
  }

  #fill(nowMs: number): void {
    const seconds = Math.max(0, nowMs - this.#filledMs) / 1000
    this.#tokens = Math.min(this.#limits.burst, this.#tokens + seconds * this.#limits.rate)
    this.#filledMs = nowMs
  }

  #newSeed(nowMs: number): Seed {
    return { seed: this.#options.randomBytes(32), madeMs: nowMs, nonces: new Set() }
  }
}
