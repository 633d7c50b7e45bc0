/** Answers 'list.get': the newest list, or what changed since the one that the asker has. For bootstrap nodes and for relays that cache. */

import { asBytes, asBytesUpTo, asFields, fault, fromHex, guard, Malformed, toHex } from '../wire/index.js'
import { applyDiff, diff } from './difference.js'
import { MAX_ARCHIVED_LISTS, MAX_LIST_BYTES } from './limits.js'
import type { RelayList } from './types.js'

/** `same`: the asker has the newest. `list` or `diff`: bytes for verifyList or applyDiff. */
export type ListAnswer = { readonly same: true } | { readonly list: Uint8Array } | { readonly diff: Uint8Array }

export class ListArchive {
  #lists: RelayList[] = []
  readonly #differences = new Map<string, Uint8Array>()

  /** Newest first. */
  get lists(): readonly RelayList[] {
    return this.#lists
  }

  get newest(): RelayList | undefined {
    return this.#lists[0]
  }

  /** Adds a verified list; one of the same interval is replaced, older ones beyond MAX_ARCHIVED_LISTS go. */
  add(list: RelayList): void {
    this.#lists = [list, ...this.#lists.filter((other) => other.interval !== list.interval)]
      .sort((a, b) => b.interval - a.interval)
      .slice(0, MAX_ARCHIVED_LISTS)
    this.#differences.clear()
  }

  /** `params` is `{}` or `{ have: digest[32] }`. Throws ERR_ANONNET_RPC_INVALID, ERR_ANONNET_NOT_BOOTSTRAPPED when there is no list. */
  get(params: unknown): ListAnswer {
    const have = guard('ERR_ANONNET_RPC_INVALID', () => {
      const fields = asFields(params, [], ['have'])
      return fields.have === undefined ? undefined : toHex(asBytes(fields.have, 'have', 32))
    })
    const newest = this.newest
    if (!newest) throw fault('ERR_ANONNET_NOT_BOOTSTRAPPED', 'no list yet')
    if (have === newest.digest) return { same: true }
    const base = this.#lists.find((list) => list.digest === have)
    if (!base) return { list: newest.raw }
    const known = this.#differences.get(base.digest) ?? diff(base.raw, newest.raw)
    this.#differences.set(base.digest, known)
    return known.length < newest.raw.length ? { diff: known } : { list: newest.raw }
  }
}

/** What to ask for, given the list that one has. */
export function listQuestion(have: RelayList | undefined): { have?: Uint8Array } {
  return have ? { have: fromHex(have.digest, 32) } : {}
}

/** The bytes of the list that an answer to 'list.get' stands for. Throws `Malformed` or ERR_ANONNET_LIST_INVALID. */
export function listBytes(reply: unknown, have: RelayList | undefined): Uint8Array {
  const answer = asFields(reply, [], ['same', 'list', 'diff'])
  if (Object.keys(answer).length !== 1) throw new Malformed('not an answer')
  if (answer.list !== undefined) return asBytesUpTo(answer.list, 'list', MAX_LIST_BYTES)
  if (!have) throw new Malformed('no list')
  if (answer.same === true) return have.raw
  return applyDiff(have.raw, asBytesUpTo(answer.diff, 'diff', MAX_LIST_BYTES))
}
