/**
 * What a relay does for services and their clients as the last hop of a circuit: asks the DHT in their place.
 */

import type { DhtNode } from '../dht/index.js'
import { errorFromCode } from '../errors/index.js'
import { asBytes, asBytesUpTo, asFields, guard, Malformed, toHex } from '../wire/index.js'
import type { RpcHandler } from './rpc.js'

/** Lookups and stores under way at the same time; more are refused. */
export const MAX_RUNNING_SERVICE_REQUESTS = 64
/** Stores a second that a relay does for long, and after a pause: a flood of records so costs the flooder many relays. */
export const SERVICE_STORE_RATE = 16
export const SERVICE_STORE_BURST = 256
/** A record with room to spare. */
const MAX_RECORD_BYTES = 20 * 1024

/**
 * Answers 'service.get' { key } with the newest record, and 'service.put' { record } with how many nodes took it. Only through a circuit: who
 * came by a link of his own would show what he asks for.
 *
 * Throws what becomes the error code of the answer: ERR_ANONNET_RPC_INVALID, _RPC_REFUSED, _RATE_LIMITED, _NOT_FOUND, _RECORD_INVALID.
 */
export function serviceHandler(dht: Pick<DhtNode, 'findService' | 'storeService'>, nowMs: () => number): RpcHandler {
  let running = 0
  let tokens = SERVICE_STORE_BURST
  let filledMs = nowMs()
  const takeToken = (): boolean => {
    const now = nowMs()
    tokens = Math.min(SERVICE_STORE_BURST, tokens + ((now - filledMs) / 1000) * SERVICE_STORE_RATE)
    filledMs = now
    if (tokens < 1) return false
    tokens -= 1
    return true
  }
  const bounded = async <T>(what: () => Promise<T>): Promise<T> => {
    if (running >= MAX_RUNNING_SERVICE_REQUESTS) throw errorFromCode('ERR_ANONNET_RATE_LIMITED')
    running += 1
    try {
      return await what()
    } finally {
      running -= 1
    }
  }
  return (method, params, from) =>
    guard('ERR_ANONNET_RPC_INVALID', () => {
      if (!from.viaCircuit) throw errorFromCode('ERR_ANONNET_RPC_REFUSED', { detail: 'not through a circuit' })
      switch (method) {
        case 'service.get': {
          const key = toHex(asBytes(asFields(params, ['key']).key, 'key', 32))
          return bounded(() => dht.findService(key))
        }
        case 'service.put': {
          const record = asBytesUpTo(asFields(params, ['record']).record, 'record', MAX_RECORD_BYTES)
          if (!takeToken()) throw errorFromCode('ERR_ANONNET_RATE_LIMITED')
          return bounded(() => dht.storeService(record))
        }
        default:
          throw new Malformed('unknown method')
      }
    })
}
