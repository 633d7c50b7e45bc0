// One side of a connection that is a Duplex, as the bench uses it: bytes are written with back-pressure and counted as they come.
import { once } from 'node:events'

const BLOCK = Buffer.alloc(64 * 1024, 'anonnet')

/** `onBytes` gets how many came. Resolves `send(bytes)` when all were handed over. */
export function duplexSide(duplex, onBytes) {
  duplex.on('data', (chunk) => onBytes(chunk.length))
  duplex.on('error', (error) => {
    process.stderr.write(`a stream broke: ${error.message}\n`)
    process.exit(1)
  })
  return {
    async send(bytes) {
      for (let left = bytes; left > 0; left -= BLOCK.length) {
        if (!duplex.write(left < BLOCK.length ? BLOCK.subarray(0, left) : BLOCK)) await once(duplex, 'drain')
      }
    }
  }
}
