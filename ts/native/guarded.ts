/**
 * Synchronous native calls, and what becomes of what they throw.
 */

import { errorFromCode } from '../errors/index.js'

/** Turns what a synchronous native call threw into our classes; leaves what is not ours. */
export function translate(error: unknown): unknown {
  const { code, message } = error as { code?: unknown; message?: unknown }
  // A panic that was caught at the edge. Its text is nobody's business: an event tells the line.
  if (code === 'GenericFailure') return errorFromCode('ERR_ANONNET_INTERNAL')
  if (typeof code !== 'string' || !code.startsWith('ERR_ANONNET_')) return error
  return errorFromCode(code, { detail: typeof message === 'string' && message !== '' ? message : undefined })
}

/** Runs a synchronous native call. */
export function guarded<T>(call: () => T): T {
  try {
    return call()
  } catch (error) {
    throw translate(error)
  }
}
