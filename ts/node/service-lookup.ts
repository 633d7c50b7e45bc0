/**
 * Asks for descriptors and stores them: each time over a circuit of its own, whose last hop asks the DHT.
 */

import { isTimely, parseRecord } from '../dht/index.js'
import { errorFromCode, isAnonNetError, wrapError } from '../errors/index.js'
import { type Engine, onAbort, serviceCrypto } from '../native/index.js'
import { type LookupAction, lookupStep, newLookup } from '../services/index.js'
import { fromHex, periodStartS, serviceKey, toHex } from '../wire/index.js'
import { rpcThrough } from './rpc.js'
import type { ServiceCircuits } from './service-circuits.js'

/** How long a last hop may take for its part of the DHT. */
const ASK_TIMEOUT_MS = 15_000
const MAX_ANSWER_BYTES = 24 * 1024

/** A record's payload as it was found, and its revision. */
export interface FoundDescriptor {
  revision: number
  payload: Uint8Array
}

export interface LookupParts {
  engine: Engine
  circuits: ServiceCircuits
}

interface Limits {
  signal?: AbortSignal | undefined
  timeoutMs: number
}

/** One question to a last hop that was not asked before; `asked` gets its name. */
async function ask(
  { engine, circuits }: LookupParts,
  method: string,
  params: unknown,
  asked: Set<string>,
  { signal, timeoutMs }: Limits
): Promise<unknown> {
  const deadline = performance.now() + timeoutMs
  const { circuit, last } = await circuits.build('lookup', { without: asked, timeoutMs, signal, onPath: (name) => asked.add(name) })
  try {
    const left = Math.max(1, Math.min(ASK_TIMEOUT_MS, Math.ceil(deadline - performance.now())))
    return await rpcThrough(engine, circuit)({ nodeId: last, address: '' }, method, params, {
      timeoutMs: left,
      maxReplyBytes: MAX_ANSWER_BYTES,
      ...(signal === undefined ? {} : { signal })
    })
  } finally {
    circuits.close(circuit)
  }
}

/** What a last hop answered, if it is the service's record of the period. Throws ERR_ANONNET_RECORD_INVALID. */
function checked(answer: unknown, key: string, blinded: Uint8Array, period: number, timeMs: number): FoundDescriptor {
  if (!(answer instanceof Uint8Array)) throw errorFromCode('ERR_ANONNET_RECORD_INVALID')
  const { record, publisher } = parseRecord(answer, serviceCrypto.verify)
  const right = record.type === 'service' && record.key === key && publisher === toHex(blinded) && record.issued === periodStartS(period)
  if (!right || !isTimely(record, timeMs)) throw errorFromCode('ERR_ANONNET_RECORD_INVALID', { detail: 'of another service or period' })
  return { revision: record.seq, payload: record.payload }
}

/**
 * Looks a service up: the highest revision of three answers.
 *
 * @param timeMs the time that services go by, Unix milliseconds.
 * @throws ERR_ANONNET_SERVICE_NOT_FOUND; what the circuits met when nobody could be asked; _TIMEOUT; the signal's reason as it is.
 */
export function lookUp(
  parts: LookupParts,
  service: { blinded: Uint8Array; period: number },
  timeMs: number,
  limits: Limits
): Promise<FoundDescriptor> {
  const { blinded, period } = service
  const { signal, timeoutMs } = limits
  return new Promise((resolve, reject) => {
    const tries = new AbortController()
    const asked = new Set<string>()
    let state = newLookup<FoundDescriptor>()
    let lastError: unknown
    let timer: NodeJS.Timeout | undefined
    const finish = (settle: () => void): void => {
      clearTimeout(timer)
      clearTimeout(deadline)
      unlisten()
      tries.abort(errorFromCode('ERR_ANONNET_ABORTED'))
      settle()
    }
    const deadline = setTimeout(() => finish(() => reject(errorFromCode('ERR_ANONNET_TIMEOUT'))), timeoutMs).unref()
    const unlisten = onAbort(signal, () => finish(() => reject(signal?.reason)))
    const dispatch = (event: Parameters<typeof lookupStep<FoundDescriptor>>[1]): void => {
      const result = lookupStep(state, event, performance.now())
      state = result.state
      clearTimeout(timer)
      if (result.wakeAtMs !== undefined)
        timer = setTimeout(() => dispatch({ type: 'tick' }), Math.max(1, result.wakeAtMs - performance.now())).unref()
      for (const action of result.actions) perform(action)
    }
    const perform = (action: LookupAction<FoundDescriptor>): void => {
      if (action.type === 'ask') {
        void question(action.ask, serviceKey(blinded, action.replica))
        return
      }
      finish(() => {
        if (action.value !== undefined) resolve(action.value)
        else reject(action.denied ? errorFromCode('ERR_ANONNET_SERVICE_NOT_FOUND') : wrapError(lastError, 'ERR_ANONNET_SERVICE_NOT_FOUND'))
      })
    }
    const question = async (id: number, key: string): Promise<void> => {
      try {
        const answer = await ask(parts, 'service.get', { key: fromHex(key, 32) }, asked, { signal: tries.signal, timeoutMs })
        const value = checked(answer, key, blinded, period, timeMs)
        dispatch({ type: 'found', ask: id, revision: value.revision, value })
      } catch (error) {
        lastError = error
        const denied = isAnonNetError(error) && error.code === 'ERR_ANONNET_NOT_FOUND'
        dispatch({ type: denied ? 'denied' : 'failed', ask: id })
      }
    }
    if (signal?.aborted) {
      finish(() => reject(signal.reason))
      return
    }
    dispatch({ type: 'begin' })
  })
}

/** Tries a store by another last hop so often. */
const STORE_TRIES = 3

/** Stores a record through a last hop that was not used yet; returns how many nodes took it: 0 when nobody could be asked. */
export async function store(parts: LookupParts, record: Uint8Array, asked: Set<string>, limits: Limits): Promise<number> {
  for (let tries = 0; tries < STORE_TRIES && !limits.signal?.aborted; tries += 1) {
    try {
      const nodes = await ask(parts, 'service.put', { record }, asked, limits)
      if (typeof nodes === 'number' && nodes > 0) return nodes
    } catch {
      // By another last hop.
    }
  }
  return 0
}
