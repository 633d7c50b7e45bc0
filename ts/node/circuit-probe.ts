/**
 * Whether a circuit still answers.
 */

import { wrapError } from '../errors/index.js'
import type { Engine } from '../native/index.js'
import { encodeRequest } from './rpc.js'

/** An answer to a probe is a handful of bytes. */
const MAX_PROBE_REPLY_BYTES = 256
/** With these a probe was not answered; every other failure is an answer of the circuit's last hop, or says nothing of it. */
const SILENT_CODES: ReadonlySet<string> = new Set([
  'ERR_ANONNET_TIMEOUT',
  'ERR_ANONNET_CIRCUIT_CLOSED',
  'ERR_ANONNET_CIRCUIT_PROTOCOL',
  'ERR_ANONNET_CLOSED',
  'ERR_ANONNET_LINK_CLOSED'
])

/** Asks the last hop. A probe may wait behind megabytes of a download on the same circuit: one from which bytes come is alive too. */
export async function probe(engine: Engine, circuit: number, timeoutMs: number): Promise<boolean> {
  const read = (): number => engine.circuits().find(({ id }) => id === circuit)?.bytesRead ?? 0
  const before = read()
  try {
    await engine.circuitRpc(circuit, encodeRequest('ping', null), { timeoutMs, maxReplyBytes: MAX_PROBE_REPLY_BYTES, keepAlive: false })
    return true
  } catch (error) {
    return !SILENT_CODES.has(wrapError(error).code) || read() > before
  }
}
