/** A stand-in for the addon: records what it is told, answers when the test says so. */

import type { NativeAddon, NativeEvent, NativeNode, NativeNodeOptions } from '../../ts/native/types.js'

export interface Call {
  method: string
  args: unknown[]
}

export class FakeNative {
  readonly calls: Call[] = []
  readonly events: NativeEvent[] = []
  readonly options: NativeNodeOptions
  readonly #wake: () => void
  /** Set to make the next call of that method throw. */
  readonly throws = new Map<string, Error>()
  /** Answers calls by itself, as soon as they come. */
  auto: ((method: string, args: unknown[]) => NativeEvent | NativeEvent[] | undefined) | undefined

  constructor(options: NativeNodeOptions, wake: () => void) {
    this.options = options
    this.#wake = wake
  }

  record(method: string, args: unknown[]): unknown {
    const error = this.throws.get(method)
    if (error !== undefined) {
      this.throws.delete(method)
      throw error
    }
    this.calls.push({ method, args })
    const answer = this.auto?.(method, args)
    if (answer !== undefined) setImmediate(() => this.emit(...(Array.isArray(answer) ? answer : [answer])))
    switch (method) {
      case 'drain':
        return this.events.splice(0)
      case 'nodeId':
        return 'aa'.repeat(32)
      case 'publicKey':
      case 'onionKey':
        return Buffer.alloc(32, 7)
      case 'localAddress':
        return '127.0.0.1:1'
      default:
        return undefined
    }
  }

  emit(...events: NativeEvent[]): void {
    this.events.push(...events)
    this.#wake()
  }

  of(method: string): unknown[][] {
    return this.calls.filter((call) => call.method === method).map((call) => call.args)
  }
}

/** An addon whose nodes are `FakeNative`s; `made` holds them. */
export function fakeAddon(): { addon: NativeAddon; made: FakeNative[] } {
  const made: FakeNative[] = []
  const NativeNodeClass = class {
    constructor(options: NativeNodeOptions, wake: () => void) {
      const fake = new FakeNative(options, wake)
      made.push(fake)
      // biome-ignore lint/correctness/noConstructorReturn: the proxy stands for the native object
      return new Proxy(fake, {
        get: (_target, method) => (typeof method === 'string' ? (...args: unknown[]) => fake.record(method, args) : undefined)
      }) as unknown as FakeNative
    }
  }
  const addon = { NativeNode: NativeNodeClass as unknown as new (options: NativeNodeOptions, wake: () => void) => NativeNode }
  return { addon: addon as NativeAddon, made }
}
