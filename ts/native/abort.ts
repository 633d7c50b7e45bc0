/**
 * Listening to abort signals.
 */

import { defaultMaxListeners, getMaxListeners, setMaxListeners } from 'node:events'

/** One signal may well end hundreds of streams; as undici, this raises Node's default warning limit and leaves a limit of the caller's own. */
const MAX_LISTENERS = 1_500

/** Calls `listener` when the signal aborts, never for one that already was; returns what ends that. */
export function onAbort(signal: AbortSignal | undefined, listener: () => void): () => void {
  if (signal === undefined) return () => undefined
  if (getMaxListeners(signal) === defaultMaxListeners) setMaxListeners(MAX_LISTENERS, signal)
  signal.addEventListener('abort', listener, { once: true })
  return () => signal.removeEventListener('abort', listener)
}
