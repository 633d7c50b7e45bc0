/**
 * Strict decoding of what others send: CBOR with definite lengths, integers, text, bytes, arrays, maps with distinct text keys,
 * booleans and null, and nothing else; bounded in size, depth and number of items before anything is allocated.
 */
import { decode, encode } from 'cborg'
import { type AnonNetError, type ErrorCode, errorFromCode, isAnonNetError } from '../errors/index.js'

export interface CborLimits {
  readonly maxBytes: number
  readonly maxDepth: number
  readonly maxItems: number
}

/** What is wrong with foreign bytes or values. Never leaves the room: `guard` turns it into an AnonNetError. */
export class Malformed extends Error {}

/** Runs `parse`; whatever it throws that is not yet an AnonNetError becomes one with `code`. */
export function guard<T>(code: ErrorCode, parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    if (isAnonNetError(error)) throw error
    throw errorFromCode(code, { detail: error instanceof Malformed ? error.message : undefined, cause: error })
  }
}

/** The error of `code`; `detail` is a few words without addresses, keys or targets. */
export function fault(code: ErrorCode, detail: string): AnonNetError {
  return errorFromCode(code, { detail })
}

/** Canonical CBOR: the same value always gives the same bytes. */
export function encodeCbor(value: unknown): Uint8Array {
  return encode(value)
}

/** Decodes one CBOR value that fills `bytes` exactly. Throws `Malformed` or cborg's error; call it inside `guard`. */
export function decodeCbor(bytes: Uint8Array, limits: CborLimits): unknown {
  if (bytes.length > limits.maxBytes) throw new Malformed('too large')
  scan(bytes, limits)
  return decode(bytes, {
    strict: true,
    allowIndefinite: false,
    allowUndefined: false,
    allowInfinity: false,
    allowNaN: false,
    allowBigInt: false,
    rejectDuplicateMapKeys: true
  })
}

/** Walks over the heads of all items without recursion, so that neither depth nor count is for the sender to choose. */
function scan(bytes: Uint8Array, limits: CborLimits): void {
  const open: number[] = [] // items still to come, of each array and map that is open
  let position = 0
  let items = 0
  do {
    if (++items > limits.maxItems) throw new Malformed('too many items')
    const first = bytes[position]
    if (first === undefined) throw new Malformed('truncated')
    const major = first >> 5
    const head = readHead(bytes, position, first & 31)
    position = head.next
    if (open.length > 0) open[open.length - 1] = (open[open.length - 1] ?? 0) - 1
    if (major === 2 || major === 3) {
      if (head.value > bytes.length - position) throw new Malformed('truncated')
      position += head.value
    } else if (major === 4 || major === 5) {
      if (open.length >= limits.maxDepth) throw new Malformed('nested too deeply')
      open.push(major === 4 ? head.value : head.value * 2)
    } else if (major === 6) {
      throw new Malformed('tag')
    } else if (major === 7 && (first < 0xf4 || first > 0xf6)) {
      throw new Malformed('neither true, false nor null')
    }
    while (open.length > 0 && open[open.length - 1] === 0) open.pop()
  } while (open.length > 0)
  if (position !== bytes.length) throw new Malformed('trailing bytes')
}

function readHead(bytes: Uint8Array, position: number, minor: number): { value: number; next: number } {
  if (minor < 24) return { value: minor, next: position + 1 }
  if (minor > 27) throw new Malformed('indefinite or reserved length')
  const width = 1 << (minor - 24)
  if (position + 1 + width > bytes.length) throw new Malformed('truncated')
  let value = 0
  for (let i = 1; i <= width; i++) value = value * 256 + (bytes[position + i] ?? 0)
  return { value, next: position + 1 + width }
}

/** The fields of a map: all of `required`, any of `optional`, no others. */
export function asFields<R extends string, O extends string = never>(
  value: unknown,
  required: readonly R[],
  optional: readonly O[] = []
): Record<R, unknown> & Partial<Record<O, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Uint8Array) throw new Malformed('not a map')
  for (const name of required) if (!Object.hasOwn(value, name)) throw new Malformed(`no field ${name}`)
  for (const name of Object.keys(value)) {
    if (!(required as readonly string[]).includes(name) && !(optional as readonly string[]).includes(name))
      throw new Malformed('unknown field')
  }
  return value as Record<R, unknown> & Partial<Record<O, unknown>>
}

/** An unsigned integer in [min, max]. */
export function asUint(value: unknown, name: string, max: number = Number.MAX_SAFE_INTEGER, min = 0): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min || value > max)
    throw new Malformed(`${name} is not in range`)
  return value
}

/** Bytes of an exact length. */
export function asBytes(value: unknown, name: string, length: number): Uint8Array {
  if (!(value instanceof Uint8Array) || value.length !== length) throw new Malformed(`${name} is not ${length} bytes`)
  return value
}

/** Bytes of at most `max`. */
export function asBytesUpTo(value: unknown, name: string, max: number): Uint8Array {
  if (!(value instanceof Uint8Array) || value.length > max) throw new Malformed(`${name} is not bytes, or too large`)
  return value
}

/** Printable ASCII of at most `max` characters. */
export function asText(value: unknown, name: string, max: number): string {
  if (typeof value !== 'string' || value.length > max || !/^[\x20-\x7e]*$/.test(value))
    throw new Malformed(`${name} is not short ASCII text`)
  return value
}

/** An array of at most `max` items. */
export function asArray(value: unknown, name: string, max: number): readonly unknown[] {
  if (!Array.isArray(value) || value.length > max) throw new Malformed(`${name} is not an array, or too long`)
  return value
}

/** An array of exactly `length` items. */
export function asTuple(value: unknown, name: string, length: number): readonly unknown[] {
  if (!Array.isArray(value) || value.length !== length) throw new Malformed(`${name} has not ${length} items`)
  return value
}
