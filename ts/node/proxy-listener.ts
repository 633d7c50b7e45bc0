/**
 * A proxy port of a client.
 */

import type { Engine, Hold } from '../native/index.js'

/** A port for SOCKS4, SOCKS4a, SOCKS5 and HTTP proxy clients. Keeps the process alive while it is open. */
export class ProxyListener implements AsyncDisposable {
  /** The bound address, 'ip:port'. */
  readonly address: string
  /** The native listener. @internal */
  readonly id: number
  readonly #engine: Engine
  readonly #onClose: (listener: ProxyListener) => void
  readonly #hold: Hold
  #closed = false

  /** @internal */
  constructor(engine: Engine, id: number, address: string, onClose: (listener: ProxyListener) => void) {
    this.#engine = engine
    this.id = id
    this.address = address
    this.#onClose = onClose
    this.#hold = engine.keepAlive.hold()
  }

  /** Takes no new clients any more; streams that run go on. May be called again. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#hold.release()
    this.#engine.closeProxy(this.id)
    this.#onClose(this)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}
