/** Tokens for STORE: who asked us a FIND within the last ten minutes, without remembering anybody. */
import { createHmac, timingSafeEqual } from 'node:crypto'
import { TOKEN_LIFETIME_MS } from './limits.js'
import { TOKEN_BYTES } from './messages.js'

const TIME_BYTES = 6

export class TokenKey {
  /** `secret`: 32 random bytes, new with each start. */
  constructor(private readonly secret: Uint8Array) {}

  /** `nodeId` is the asker's, proved by the link; `nowMs` Unix milliseconds. */
  issue(nodeId: string, nowMs: number): Uint8Array {
    const token = Buffer.alloc(TOKEN_BYTES)
    token.writeUIntBE(Math.floor(nowMs), 0, TIME_BYTES)
    token.set(this.#mac(nodeId, token.subarray(0, TIME_BYTES)), TIME_BYTES)
    return new Uint8Array(token)
  }

  accepts(token: Uint8Array, nodeId: string, nowMs: number): boolean {
    const time = Buffer.from(token.subarray(0, TIME_BYTES))
    const age = nowMs - time.readUIntBE(0, TIME_BYTES)
    const right = timingSafeEqual(this.#mac(nodeId, time), token.subarray(TIME_BYTES))
    return right && age >= -1000 && age <= TOKEN_LIFETIME_MS
  }

  #mac(nodeId: string, time: Uint8Array): Buffer {
    return createHmac('sha256', this.secret)
      .update(time)
      .update(nodeId)
      .digest()
      .subarray(0, TOKEN_BYTES - TIME_BYTES)
  }
}
