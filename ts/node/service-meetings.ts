/**
 * The circuits on which clients of this node's services are: bounded together, since the link to the guard carries them all. One that has
 * had no stream for long is closed, and where there are too many the one that has had none for longest.
 */

import type { Engine } from '../native/index.js'
import { serviceLimits } from '../services/index.js'
import type { ServiceCircuits } from './service-circuits.js'

const LOOK_EVERY_MS = 30_000
/** While there are too many they are looked at so often at most. */
const LOOK_AGAIN_MS = 1_000

export interface ServiceMeetingsParts {
  engine: Pick<Engine, 'circuits'>
  circuits: Pick<ServiceCircuits, 'close'>
}

interface Meeting {
  /** When it had a stream last, as far as is known. */
  usedMs: number
  readonly ended: () => void
}

export class ServiceMeetings {
  readonly #parts: ServiceMeetingsParts
  readonly #meetings = new Map<number, Meeting>()
  /** Places of circuits that are being built. */
  #reserved = 0
  #lookedMs = Number.NEGATIVE_INFINITY
  #timer: NodeJS.Timeout | undefined

  constructor(parts: ServiceMeetingsParts) {
    this.#parts = parts
  }

  get full(): boolean {
    return this.#meetings.size + this.#reserved >= serviceLimits.MAX_MEETINGS
  }

  /** A place for a circuit that is about to be built: false when all are taken. Follow with `add` or `release`. */
  reserve(): boolean {
    if (this.full && !this.#evict()) return false
    this.#reserved += 1
    return true
  }

  /** The circuit was not built. */
  release(): void {
    this.#reserved -= 1
  }

  /** The circuit is there; `ended` is told when it is closed here. */
  add(circuit: number, ended: () => void): void {
    this.#reserved -= 1
    this.#meetings.set(circuit, { usedMs: performance.now(), ended })
    this.#schedule()
  }

  /** A stream came. */
  used(circuit: number): void {
    const meeting = this.#meetings.get(circuit)
    if (meeting !== undefined) meeting.usedMs = performance.now()
  }

  /** The circuit ended otherwise. */
  delete(circuit: number): void {
    this.#meetings.delete(circuit)
  }

  #schedule(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      if (this.#meetings.size === 0) return
      this.#look()
      this.#schedule()
    }, LOOK_EVERY_MS).unref()
  }

  /** Closes those that were idle for too long. */
  #look(): void {
    const now = performance.now()
    this.#lookedMs = now
    const streams = new Map(this.#parts.engine.circuits().map(({ id, streams: open }) => [id, open]))
    for (const [circuit, meeting] of this.#meetings) {
      if ((streams.get(circuit) ?? 0) > 0) meeting.usedMs = now
      else if (now - meeting.usedMs >= serviceLimits.MEETING_IDLE_MS) this.#end(circuit, meeting)
    }
  }

  /** Makes room at the cost of the one that is idle for longest; who has just met may be about to open his stream. */
  #evict(): boolean {
    const now = performance.now()
    if (now - this.#lookedMs >= LOOK_AGAIN_MS) this.#look()
    let longest: [number, Meeting] | undefined
    for (const one of this.#meetings) if (longest === undefined || one[1].usedMs < longest[1].usedMs) longest = one
    if (longest === undefined || now - longest[1].usedMs < serviceLimits.MEETING_GRACE_MS) return false
    this.#end(...longest)
    return true
  }

  #end(circuit: number, { ended }: Meeting): void {
    this.#meetings.delete(circuit)
    this.#parts.circuits.close(circuit)
    ended()
  }
}
