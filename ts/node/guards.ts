/**
 * A client's guards: whoever builds circuits says here what became of them; they are kept on disk, and what changes is told.
 */

import type { Diagnostics } from '../diagnostics/index.js'
import type { RelayList, Rng } from '../directory/types.js'
import { type GuardState, guardFailed, guardSucceeded, guardSummary, refreshGuards } from '../routing/index.js'

export interface GuardParts {
  diagnostics: Diagnostics
  guards: GuardState
  rng: Rng
  /** Called when the guards that are kept on disk changed. */
  onGuards: (guards: GuardState) => void
}

export class Guards {
  readonly #parts: GuardParts
  #state: GuardState

  constructor(parts: GuardParts) {
    this.#parts = parts
    this.#state = parts.guards
  }

  get state(): GuardState {
    return this.#state
  }

  set state(state: GuardState) {
    const before = this.#state
    if (state === before) return
    this.#state = state
    if (state.sampled !== before.sampled) this.#parts.onGuards(state)
    const now = guardSummary(state)
    const was = guardSummary(before)
    const { diagnostics } = this.#parts
    if (now.sampled !== was.sampled || now.primary !== was.primary || now.reachable !== was.reachable) {
      diagnostics.emit('guard', { sampled: now.sampled, primary: now.primary, reachable: now.reachable })
    }
    if (now.networkDown !== was.networkDown) diagnostics.emit('network', { state: now.networkDown ? 'down' : 'up' })
  }

  /** There is another relay list. */
  refresh(list: RelayList): void {
    this.state = refreshGuards(this.#state, list, this.#parts.rng, Date.now())
  }

  /** A guard finished the first hop of a circuit, or did not. `startedAtMs`: when the circuit was begun, Unix milliseconds. */
  answered(nodeId: string, outcome: 'succeeded' | 'failed', startedAtMs: number): void {
    const nowMs = Date.now()
    if (outcome === 'succeeded') this.state = guardSucceeded(this.#state, nodeId, nowMs)
    else this.state = guardFailed(this.#state, nodeId, startedAtMs, this.#parts.rng, nowMs)
  }
}
