/** 256-bit ids and the distance between them: XOR, compared as a number. */

/** Below 0 when `a` is closer to `target` than `b`, 0 when they are the same id. All 32 bytes. */
export function compareDistance(target: Uint8Array, a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < target.length; i++) {
    const t = target[i] ?? 0
    const difference = ((a[i] ?? 0) ^ t) - ((b[i] ?? 0) ^ t)
    if (difference !== 0) return difference
  }
  return 0
}

/** Bits that `a` and `b` have in common from the left: 0 to 256. The number of a contact's bucket. */
export function commonBits(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < a.length; i++) {
    const difference = (a[i] ?? 0) ^ (b[i] ?? 0)
    if (difference !== 0) return 8 * i + Math.clz32(difference) - 24
  }
  return 8 * a.length
}

/** An id that has exactly `bits` bits in common with `self`; the rest comes from `random`. */
export function idInBucket(self: Uint8Array, bits: number, random: Uint8Array): Uint8Array {
  return self.map((byte, index) => {
    const fromLeft = Math.min(8, Math.max(0, bits - 8 * index))
    const mask = fromLeft === 8 ? 0 : 255 >> fromLeft
    const mixed = (byte & ~mask & 255) | ((random[index] ?? 0) & mask)
    if (index !== bits >> 3) return mixed
    const flip = 128 >> (bits & 7)
    return (mixed & ~flip) | (~byte & flip)
  })
}
