/**
 * A socket as a promise of one that is connected.
 */

import { errorFromCode } from '../errors/index.js'
import type { AnonSocket } from './socket.js'

/** Resolves when the socket is connected; rejects with its error, or with the reason of the signal that it was made with. */
export function connected(socket: AnonSocket, signal: AbortSignal | undefined): Promise<AnonSocket> {
  return new Promise((resolve, reject) => {
    const settle = (then: () => void) => () => {
      socket.off('connect', onConnect)
      socket.off('error', onError)
      socket.off('close', onClose)
      then()
    }
    const onConnect = settle(() => resolve(socket))
    // An abort reason may be anything; the socket's own error is always an Error.
    const onError = settle(() => reject(signal?.aborted ? signal.reason : socket.errored))
    const onClose = settle(() => reject(errorFromCode('ERR_ANONNET_CLOSED')))
    socket.once('connect', onConnect)
    socket.once('error', onError)
    socket.once('close', onClose)
  })
}
