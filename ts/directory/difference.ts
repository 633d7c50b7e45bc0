/**
 * A list as a difference from an older one: CBOR
 * `{ v, base, digest, head, ops, signatures }`. Each op makes the next relays of the new list:
 * `[index, count]` takes entries of the base over, `[index, weight, firstSeen]` one entry with new numbers, and
 * `[descriptor, weight, firstSeen]` is a new one. What comes out must have the digest.
 */

import { asArray, asBytes, asFields, asUint, compareBytes, decodeCbor, encodeCbor, guard, Malformed, sha256, toHex } from '../wire/index.js'
import { MAX_LIST_BYTES, MAX_LIST_RELAYS } from './limits.js'
import {
  decodeBody,
  encodeBody,
  encodeList,
  HEAD_FIELDS,
  headFields,
  LIST_CBOR,
  type ListEntry,
  openList,
  readEntry,
  readHead,
  readSignatures
} from './list.js'

const FORMAT = 1
const INVALID = 'ERR_ANONNET_LIST_INVALID'

/** The difference that turns the list `oldBytes` into `newBytes`. Throws ERR_ANONNET_LIST_INVALID when either is malformed. */
export function diff(oldBytes: Uint8Array, newBytes: Uint8Array): Uint8Array {
  return guard(INVALID, () => {
    const base = openList(oldBytes)
    const target = openList(newBytes)
    const to = decodeBody(target.body)
    const at = new Map(decodeBody(base.body).entries.map((entry, index) => [toHex(sha256(entry.descriptor)), { entry, index }] as const))
    const ops: unknown[] = []
    for (const entry of to.entries) {
      const known = at.get(toHex(sha256(entry.descriptor)))
      if (!known) {
        ops.push([entry.descriptor, entry.weight, entry.firstSeen])
      } else if (known.entry.weight !== entry.weight || known.entry.firstSeen !== entry.firstSeen) {
        ops.push([known.index, entry.weight, entry.firstSeen])
      } else {
        const last = ops[ops.length - 1] as [number, number] | unknown[] | undefined
        if (last?.length === 2 && (last[0] as number) + (last[1] as number) === known.index) last[1] = (last[1] as number) + 1
        else ops.push([known.index, 1])
      }
    }
    const signatures = target.signatures.map(([key, signature]) => [key, signature])
    return encodeCbor({ v: FORMAT, base: base.digest, digest: target.digest, head: headFields(to.head), ops, signatures })
  })
}

/**
 * The list that `difference` makes of `oldBytes`, to be verified as any other. Throws ERR_ANONNET_LIST_INVALID when it was
 * made for another base or does not give the list that it promises.
 */
export function applyDiff(oldBytes: Uint8Array, difference: Uint8Array): Uint8Array {
  return guard(INVALID, () => {
    const fields = asFields(decodeCbor(difference, LIST_CBOR), ['v', 'base', 'digest', 'head', 'ops', 'signatures'])
    if (fields.v !== FORMAT) throw new Malformed('unknown format')
    const base = openList(oldBytes)
    if (compareBytes(asBytes(fields.base, 'base', 32), base.digest) !== 0) throw new Malformed('difference from another list')
    const head = readHead(asFields(fields.head, HEAD_FIELDS))
    const old = decodeBody(base.body).entries
    const entries: ListEntry[] = []
    for (const op of asArray(fields.ops, 'ops', MAX_LIST_RELAYS)) {
      entries.push(...applyOp(op, old))
      if (entries.length > MAX_LIST_RELAYS) throw new Malformed('too many relays')
    }
    const body = encodeBody({ head, entries })
    if (body.length > MAX_LIST_BYTES || compareBytes(sha256(body), asBytes(fields.digest, 'digest', 32)) !== 0)
      throw new Malformed('wrong digest')
    return encodeList(body, readSignatures(fields.signatures))
  })
}

function applyOp(op: unknown, old: readonly ListEntry[]): readonly ListEntry[] {
  const items = asArray(op, 'op', 3)
  if (items.length === 2) {
    const index = asUint(items[0], 'index')
    const count = asUint(items[1], 'count', MAX_LIST_RELAYS, 1)
    if (index + count > old.length) throw new Malformed('beyond the base')
    return old.slice(index, index + count)
  }
  if (typeof items[0] !== 'number') return [readEntry(items)]
  const entry = old[asUint(items[0], 'index')]
  if (!entry) throw new Malformed('beyond the base')
  return [readEntry([entry.descriptor, items[1], items[2]])]
}
