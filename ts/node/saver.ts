/**
 * Writes one state file after the other, the newest contents only: changes that come while a write runs are joined.
 */

import type { AnonNetError } from '../errors/index.js'
import { wrapError } from '../errors/index.js'
import type { StateDir } from './state.js'

/** One file of the state directory. Without a directory it does nothing. */
export class Saver {
  readonly #state: StateDir | undefined
  readonly #name: string
  readonly #onFailure: (error: AnonNetError) => void
  #next: (() => Uint8Array) | undefined
  #writing: Promise<void> | undefined

  constructor(state: StateDir | undefined, name: string, onFailure: (error: AnonNetError) => void) {
    this.#state = state
    this.#name = name
    this.#onFailure = onFailure
  }

  /** Has the file replaced soon; `bytes` is asked when its turn comes. */
  save(bytes: () => Uint8Array): void {
    if (this.#state === undefined) return
    this.#next = bytes
    this.#writing ??= this.#write(this.#state)
  }

  /** Resolves when everything that was to be saved is on the disk (or failed to get there). */
  async flush(): Promise<void> {
    await this.#writing
  }

  async #write(state: StateDir): Promise<void> {
    // Changes of the same turn are one write.
    await Promise.resolve()
    while (this.#next !== undefined) {
      const bytes = this.#next
      this.#next = undefined
      try {
        await state.write(this.#name, bytes())
      } catch (error) {
        this.#onFailure(wrapError(error, 'ERR_ANONNET_STORE_FAILED'))
      }
    }
    this.#writing = undefined
  }
}
