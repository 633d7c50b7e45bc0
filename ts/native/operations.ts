/**
 * Operation ids: each maps to whoever waits for its one answer.
 */

import { errorFromCode } from '../errors/index.js'
import { onAbort } from './abort.js'
import type { Hold, KeepAlive } from './keep-alive.js'
import type { OpFailedEvent, OpOkEvent } from './types.js'

const MAX_ID = 2 ** 32 - 1

/** What an operation came to. */
export type Settle = (error: Error | undefined, answer: OpOkEvent | undefined) => void

export interface OperationOptions {
  /** Aborting rejects at once with the reason and cancels the native operation. */
  signal?: AbortSignal | undefined
  /** Whether the process stays alive until the answer; default true. */
  keepAlive?: boolean | undefined
}

interface Pending {
  settle: Settle | undefined
  /** Gives back what an answer brought after nobody wanted it any more. */
  late: ((answer: OpOkEvent) => void) | undefined
  hold: Hold | undefined
  unlisten: (() => void) | undefined
}

/** The error of a failed operation: its code's class, with the hop that failed. */
export function operationError(event: Pick<OpFailedEvent, 'code' | 'hop'>): Error {
  const error = errorFromCode(event.code)
  return event.hop === undefined ? error : Object.assign(error, { hop: event.hop })
}

/** The operations of one native node. */
export class Operations {
  #next = 0
  readonly #pending = new Map<number, Pending>()
  readonly #keepAlive: KeepAlive
  readonly #cancel: (op: number) => void

  constructor(keepAlive: KeepAlive, cancel: (op: number) => void) {
    this.#keepAlive = keepAlive
    this.#cancel = cancel
  }

  /** Operations that the native side has not answered. */
  get size(): number {
    return this.#pending.size
  }

  /** Starts an operation; `begin` throws when the native side refuses it at once. */
  start(begin: (op: number) => void, settle: Settle, options: { keepAlive?: boolean | undefined; late?: Pending['late'] } = {}): number {
    const op = this.#newId()
    const hold = options.keepAlive === false ? undefined : this.#keepAlive.hold()
    this.#pending.set(op, { settle, late: options.late, hold, unlisten: undefined })
    try {
      begin(op)
    } catch (error) {
      this.#pending.delete(op)
      hold?.release()
      throw error
    }
    return op
  }

  /** The same as a promise with a signal. `late` receives an answer that came after the abort, so that nothing leaks. */
  promise<T>(
    begin: (op: number) => void,
    convert: (answer: OpOkEvent) => T,
    options: OperationOptions & { late?: (answer: OpOkEvent) => void } = {}
  ): Promise<T> {
    const { signal, late } = options
    return new Promise<T>((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason)
        return
      }
      const op = this.start(
        begin,
        (error, answer) => {
          if (error !== undefined) {
            reject(error)
            return
          }
          try {
            resolve(convert(answer as OpOkEvent))
          } catch (broken) {
            reject(broken)
          }
        },
        { keepAlive: options.keepAlive, late }
      )
      if (signal === undefined) return
      const pending = this.#pending.get(op)
      if (pending !== undefined) pending.unlisten = onAbort(signal, () => this.#abort(op, reject, signal))
    })
  }

  /** Handles an answer from below. */
  answer(event: OpOkEvent | OpFailedEvent): void {
    const pending = this.#pending.get(event.op)
    if (pending === undefined) return
    this.#pending.delete(event.op)
    this.#quiet(pending)
    if (event.type === 'opFailed') {
      pending.settle?.(operationError(event), undefined)
    } else if (pending.settle === undefined) {
      pending.late?.(event)
    } else {
      pending.settle(undefined, event)
    }
  }

  /** Fails whatever waits; used once the native side is gone. */
  failAll(code: string): void {
    const all = [...this.#pending.values()]
    this.#pending.clear()
    for (const pending of all) {
      this.#quiet(pending)
      pending.settle?.(errorFromCode(code), undefined)
    }
  }

  /** Ids are 32 bits wide, never 0 and never in use twice. */
  #newId(): number {
    do {
      this.#next = this.#next >= MAX_ID ? 1 : this.#next + 1
    } while (this.#pending.has(this.#next))
    return this.#next
  }

  #abort(op: number, reject: (reason: unknown) => void, signal: AbortSignal): void {
    const pending = this.#pending.get(op)
    if (pending === undefined || pending.settle === undefined) return
    // The entry stays until the native answer, which may still bring a stream or a circuit that has to be given back.
    pending.settle = undefined
    this.#quiet(pending)
    reject(signal.reason)
    this.#cancel(op)
  }

  #quiet(pending: Pending): void {
    pending.hold?.release()
    pending.hold = undefined
    pending.unlisten?.()
    pending.unlisten = undefined
  }
}
