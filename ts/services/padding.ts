/** Bytes that come up to a fixed size: u32 length, the bytes, zeros. */
import { Malformed } from '../wire/index.js'

const LENGTH_BYTES = 4

/** `size` is the whole, length included. Throws `Malformed` when the bytes do not fit. */
export function pad(bytes: Uint8Array, size: number): Uint8Array {
  if (bytes.length + LENGTH_BYTES > size) throw new Malformed('too large to pad')
  const padded = Buffer.alloc(size)
  padded.writeUInt32BE(bytes.length)
  padded.set(bytes, LENGTH_BYTES)
  return new Uint8Array(padded)
}

/** Pads to the next multiple of `step`. */
export function padToStep(bytes: Uint8Array, step: number): Uint8Array {
  return pad(bytes, Math.ceil((bytes.length + LENGTH_BYTES) / step) * step)
}

/** Throws `Malformed` when the length does not fit, or what follows is not zeros. */
export function unpad(padded: Uint8Array): Uint8Array {
  const view = Buffer.from(padded.buffer, padded.byteOffset, padded.length)
  if (view.length < LENGTH_BYTES) throw new Malformed('no length')
  const end = LENGTH_BYTES + view.readUInt32BE()
  if (end > view.length || view.subarray(end).some((byte) => byte !== 0)) throw new Malformed('padding')
  return padded.subarray(LENGTH_BYTES, end)
}
