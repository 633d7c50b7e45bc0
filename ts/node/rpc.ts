/**
 * Requests between nodes: CBOR both ways, `{m, p}` up and `{r}` or `{e}` back.
 */

import { decode, encode } from 'cborg'
import type { RpcCall } from '../directory/types.js'
import { errorFromCode, registryEntry, wrapError } from '../errors/index.js'
import type { Engine, RpcRequestEvent } from '../native/index.js'

/** Longest method name, in bytes. */
export const MAX_METHOD_BYTES = 32
/** Requests that are answered at the same time; more are rejected. */
export const MAX_RUNNING_REQUESTS = 512
/** Default deadline of a request. */
export const RPC_TIMEOUT_MS = 10_000
/** Default bound of an answer. */
export const MAX_REPLY_BYTES = 256 * 1024

/** Largest request of each family of methods, in bytes of the whole body. */
export const MAX_REQUEST_BYTES: Readonly<Record<string, number>> = {
  dht: 24 * 1024,
  service: 24 * 1024,
  list: 1024,
  desc: 16 * 1024,
  vote: 9.5 * 1024 * 1024,
  ping: 64
}

/** Who asks. `nodeId` is present on authenticated links only; `viaCircuit` is the last hop of a client's circuit. */
export interface RpcFrom {
  nodeId?: string
  address: string
  viaCircuit: boolean
}

/** Answers the methods of one family; may throw an AnonNetError, whose code goes back. */
export type RpcHandler = (method: string, params: unknown, from: RpcFrom) => unknown

const STRICT = {
  strict: true,
  allowIndefinite: false,
  allowUndefined: false,
  allowInfinity: false,
  allowNaN: false,
  allowBigInt: false,
  rejectDuplicateMapKeys: true,
  useMaps: false
} as const

function malformed(cause?: unknown): Error {
  return errorFromCode('ERR_ANONNET_RPC_INVALID', { cause })
}

/** The method's name, read without decoding the rest: 0xa2, text "m", then a text of at most `MAX_METHOD_BYTES`. */
export function peekMethod(body: Uint8Array): string | undefined {
  if (body[0] !== 0xa2 || body[1] !== 0x61 || body[2] !== 0x6d) return undefined
  const head = body[3] ?? 0
  let start = 4
  let length = head - 0x60
  if (head === 0x78) {
    length = body[4] ?? 0
    start = 5
  } else if (length < 0 || length > 0x17) {
    return undefined
  }
  if (length > MAX_METHOD_BYTES || start + length > body.length) return undefined
  return Buffer.from(body.buffer, body.byteOffset + start, length).toString('latin1')
}

/** A request's bytes. */
export function encodeRequest(method: string, params: unknown): Uint8Array {
  return encode({ m: method, p: params ?? null })
}

/** Parses a request whose size was checked. Throws ERR_ANONNET_RPC_INVALID. */
export function decodeRequest(body: Uint8Array): { method: string; params: unknown } {
  let value: unknown
  try {
    value = decode(body, STRICT)
  } catch (error) {
    throw malformed(error)
  }
  const { m, p } = value as { m?: unknown; p?: unknown }
  if (typeof m !== 'string') throw malformed()
  return { method: m, params: p }
}

/** Codes that another node may give as a reason: its own refusals. Anything else would let it speak for this machine. */
function foreignError(code: unknown): Error {
  const entry = typeof code === 'string' ? registryEntry(code) : undefined
  if (entry === undefined) return malformed()
  if (entry.blame === 'peer' || entry.blame === 'network' || entry.code === 'ERR_ANONNET_UNSUPPORTED') return errorFromCode(entry.code)
  return errorFromCode('ERR_ANONNET_RPC_REFUSED', { cause: errorFromCode(entry.code) })
}

/** Parses an answer. Throws ERR_ANONNET_RPC_INVALID when malformed, and the other node's error when it refused. */
export function decodeReply(body: Uint8Array): unknown {
  let value: unknown
  try {
    value = decode(body, STRICT)
  } catch (error) {
    throw malformed(error)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw malformed()
  const keys = Object.keys(value)
  if (keys.length === 1 && keys[0] === 'r') return (value as { r: unknown }).r
  if (keys.length === 1 && keys[0] === 'e') throw foreignError((value as { e: unknown }).e)
  throw malformed()
}

/** The `RpcCall` that directory and DHT use, over links of this node. Background work: it does not keep the process alive. */
export function rpcOver(engine: Engine): RpcCall {
  return async (peer, method, params, options = {}) =>
    decodeReply(
      await engine.rpc(peer, encodeRequest(method, params), {
        timeoutMs: options.timeoutMs ?? RPC_TIMEOUT_MS,
        maxReplyBytes: options.maxReplyBytes ?? MAX_REPLY_BYTES,
        signal: options.signal,
        fresh: options.fresh,
        keepAlive: false
      })
    )
}

/** The same to the last hop of a circuit; the peer is ignored, the circuit's path decided it. */
export function rpcThrough(engine: Engine, circuit: number): RpcCall {
  return async (_peer, method, params, options = {}) =>
    decodeReply(
      await engine.circuitRpc(circuit, encodeRequest(method, params), {
        timeoutMs: options.timeoutMs ?? RPC_TIMEOUT_MS,
        maxReplyBytes: options.maxReplyBytes ?? MAX_REPLY_BYTES,
        signal: options.signal,
        keepAlive: false
      })
    )
}

/** Routes incoming requests to their family's handler. */
export class RpcRouter {
  readonly #engine: Engine
  readonly #handlers = new Map<string, RpcHandler>([['ping', () => null]])
  #running = 0

  constructor(engine: Engine) {
    this.#engine = engine
  }

  /** `family` is what stands before the dot: 'dht', 'service', 'list', 'desc', 'vote'. */
  on(family: string, handler: RpcHandler): this {
    this.#handlers.set(family, handler)
    return this
  }

  /** Answers one request, or rejects it when it is malformed or there are too many. Never throws. */
  async handle(event: RpcRequestEvent): Promise<void> {
    const name = peekMethod(event.body)
    const family = name?.split('.', 1)[0] ?? ''
    const limit = Object.hasOwn(MAX_REQUEST_BYTES, family) ? (MAX_REQUEST_BYTES[family] ?? 0) : 256
    if (name === undefined || event.body.length > limit || this.#running >= MAX_RUNNING_REQUESTS) {
      this.#engine.rpcReject(event.request)
      return
    }
    this.#running += 1
    try {
      const { method, params } = decodeRequest(event.body)
      const handler = this.#handlers.get(family)
      const from: RpcFrom = { address: event.address, viaCircuit: event.viaCircuit }
      if (event.nodeId !== undefined) from.nodeId = event.nodeId
      if (handler === undefined) throw errorFromCode('ERR_ANONNET_UNSUPPORTED')
      const result = await handler(method, params, from)
      this.#engine.rpcReply(event.request, encode({ r: result ?? null }))
    } catch (error) {
      this.#fail(event.request, error)
    } finally {
      this.#running -= 1
    }
  }

  #fail(request: number, error: unknown): void {
    const { code } = wrapError(error)
    try {
      if (code === 'ERR_ANONNET_RPC_INVALID') this.#engine.rpcReject(request)
      else this.#engine.rpcReply(request, encode({ e: code }))
    } catch {
      // The requester went away: nobody is left to tell.
    }
  }
}
