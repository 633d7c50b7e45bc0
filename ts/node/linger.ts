/**
 * The end of a stream that was closed here after its last byte was written, and not yet there.
 */

import type { Engine } from '../native/index.js'

/** How long the far end may take to read what was written and to end its half. */
const LINGER_MS = 10_000

/**
 * Drops what still comes until the far end is through, and lets the stream go then, or when the time is over. Reading begins when what is
 * returned is called, with whether all is over already.
 */
export function linger(engine: Engine, stream: number): (over: boolean) => void {
  let gone = false
  const done = (): void => {
    if (gone) return
    gone = true
    clearTimeout(timer)
    engine.destroy(stream)
  }
  const timer = setTimeout(done, LINGER_MS).unref()
  const next = (over: boolean): void => {
    if (over) done()
    else if (!gone) engine.read(stream, (error, bytes) => next(error !== undefined || bytes === null))
  }
  return next
}
