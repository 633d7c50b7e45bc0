/** Events of one node: to the process-wide channels, and to bounded queues that `node.events()` reads. */
import { errorFromCode } from '../errors/index.js'
import { publish } from './channels.js'
import type { DiagnosticEvent, DiagnosticEvents, DiagnosticType } from './types.js'

/** Events that wait for a reader that does not read; the oldest go first. */
export const EVENT_QUEUE_CAPACITY = 1024

/** Readers of one node's events at a time. */
export const MAX_EVENT_STREAMS = 64

/** How an event stream is asked for. */
export interface EventStreamOptions {
  /** Ends the stream: `next()` rejects with the signal's reason, as it is. */
  readonly signal?: AbortSignal | undefined
  /** Events that may wait, 1 to {@link EVENT_QUEUE_CAPACITY}. */
  readonly capacity?: number | undefined
}

/** Events in order. Ends when the node closes, after what was still waiting. */
export interface EventStream extends AsyncIterableIterator<DiagnosticEvent> {
  /** How many events were thrown away because nobody read them in time. */
  readonly dropped: number
}

/** The events of one node. */
export interface Diagnostics {
  /** Tells nodes of one process apart; counts from 1. */
  readonly instance: number
  /** Publishes one event. Never throws, never waits. */
  emit<Type extends DiagnosticType>(type: Type, body: DiagnosticEvents[Type]): void
  /** A new reader, which gets what is emitted from now on. ERR_ANONNET_RESOURCE_LIMIT beyond {@link MAX_EVENT_STREAMS}. */
  events(options?: EventStreamOptions): EventStream
  /** Ends every reader. What is emitted afterwards is dropped. */
  close(): void
}

type Result = IteratorResult<DiagnosticEvent, undefined>
const DONE: Result = { done: true, value: undefined }

class Queue implements EventStream {
  dropped = 0
  readonly #capacity: number
  readonly #leave: (queue: Queue) => void
  readonly #signal: AbortSignal | undefined
  readonly #onAbort = (): void => this.#fail()
  #waiting: DiagnosticEvent[] = []
  #readers: { resolve(result: Result): void; reject(reason: unknown): void }[] = []
  #state: 'open' | 'ended' | 'aborted' = 'open'

  constructor(capacity: number, signal: AbortSignal | undefined, leave: (queue: Queue) => void) {
    this.#capacity = capacity
    this.#leave = leave
    this.#signal = signal
    if (signal?.aborted === true) this.#state = 'aborted'
    else signal?.addEventListener('abort', this.#onAbort, { once: true })
  }

  push(event: DiagnosticEvent): void {
    if (this.#state !== 'open') return
    const reader = this.#readers.shift()
    if (reader !== undefined) {
      reader.resolve({ done: false, value: event })
      return
    }
    this.#waiting.push(event)
    if (this.#waiting.length > this.#capacity) {
      this.#waiting.shift()
      this.dropped += 1
    }
  }

  end(): void {
    if (this.#state !== 'open') return
    this.#state = 'ended'
    this.#signal?.removeEventListener('abort', this.#onAbort)
    this.#leave(this)
    for (const reader of this.#readers.splice(0)) reader.resolve(DONE)
  }

  #fail(): void {
    if (this.#state !== 'open') return
    this.#state = 'aborted'
    this.#waiting = []
    this.#leave(this)
    for (const reader of this.#readers.splice(0)) reader.reject(this.#signal?.reason)
  }

  next(): Promise<Result> {
    const event = this.#waiting.shift()
    if (event !== undefined) return Promise.resolve({ done: false, value: event })
    if (this.#state === 'ended') return Promise.resolve(DONE)
    if (this.#state === 'aborted') {
      // Told once, as generators do: a second next() after the failure is simply done.
      this.#state = 'ended'
      return Promise.reject(this.#signal?.reason)
    }
    // A caller that asks without reading is bounded as a slow reader is.
    if (this.#readers.length >= this.#capacity)
      return Promise.reject(errorFromCode('ERR_ANONNET_RESOURCE_LIMIT', { detail: 'event readers' }))
    return new Promise((resolve, reject) => this.#readers.push({ resolve, reject }))
  }

  return(): Promise<Result> {
    this.end()
    this.#waiting = []
    return Promise.resolve(DONE)
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}

let instances = 0

/** The events of a new node. `now` is the wall clock in milliseconds. */
export function createDiagnostics(options: { readonly now?: () => number } = {}): Diagnostics {
  const now = options.now ?? Date.now
  const queues = new Set<Queue>()
  let open = true
  instances += 1
  const instance = instances
  return {
    instance,
    emit(type, body) {
      if (!open) return
      const event = Object.freeze({ ...body, type, instance, atMs: now() }) as unknown as DiagnosticEvent
      publish(event)
      for (const queue of queues) queue.push(event)
    },
    events(stream = {}) {
      const capacity = stream.capacity ?? EVENT_QUEUE_CAPACITY
      if (!Number.isInteger(capacity) || capacity < 1 || capacity > EVENT_QUEUE_CAPACITY) {
        throw errorFromCode('ERR_ANONNET_INVALID_ARGUMENT', { detail: `capacity: 1 to ${EVENT_QUEUE_CAPACITY}` })
      }
      if (queues.size >= MAX_EVENT_STREAMS) throw errorFromCode('ERR_ANONNET_RESOURCE_LIMIT', { detail: 'event streams' })
      const queue = new Queue(capacity, stream.signal, (ended) => queues.delete(ended))
      if (stream.signal?.aborted === true) return queue
      if (open) queues.add(queue)
      else queue.end()
      return queue
    },
    close() {
      open = false
      for (const queue of [...queues]) queue.end()
    }
  }
}
