/**
 * Decides whether the process may end. The addon never keeps it alive; this does, while something is held.
 *
 * One far-away timer carries the reference: Node has no cheaper public handle that can be referenced at will.
 */

const LONGEST_TIMER_MS = 2 ** 31 - 1

/** A reason to stay alive. `release` may be called any number of times. */
export interface Hold {
  release(): void
}

/** Counts the reasons of one node. */
export class KeepAlive {
  #count = 0
  #enabled = true
  #timer: NodeJS.Timeout | undefined

  /** Reasons held now, whether or not they count. */
  get count(): number {
    return this.#count
  }

  /** Adds a reason. */
  hold(): Hold {
    this.#count += 1
    this.#apply()
    let held = true
    return {
      release: () => {
        if (!held) return
        held = false
        this.#count -= 1
        this.#apply()
      }
    }
  }

  /** With `false` no reason counts any more, as `unref()` of net.Server. */
  enable(enabled: boolean): void {
    this.#enabled = enabled
    this.#apply()
  }

  /** True while this keeps the process alive. */
  get active(): boolean {
    return this.#timer !== undefined
  }

  #apply(): void {
    const wanted = this.#enabled && this.#count > 0
    if (wanted === this.active) return
    if (wanted) {
      this.#timer = setInterval(() => {}, LONGEST_TIMER_MS)
    } else {
      clearInterval(this.#timer)
      this.#timer = undefined
    }
  }
}
