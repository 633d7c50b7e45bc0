/** What every node agrees on about the records of services: where they lie and how long a period is. Who publishes and who asks is not in it. */
import { createHash } from 'node:crypto'
import { signedMessage, toHex } from './bytes.js'

/** A blinded key, and so a place in the ring, holds for so long: UTC days. */
export const SERVICE_PERIOD_S = 24 * 3600
/** Before and after its period a record is stored and returned for so long: as old as the relay list of either side may be. */
export const SERVICE_OVERLAP_S = 3 * 3600
/** A record that is not stored anew goes after so long. The same for all, so that it says nothing. */
export const SERVICE_TTL_S = 3 * 3600
/** Places in the ring that a service's record lies at. */
export const SERVICE_REPLICAS = 2

const KEY_DOMAIN = 'anonnet:1:service-key'

/** H(d, x) of the protocol: SHA3-256(ENCAP(d) | x). */
export function domainHash(domain: string, ...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(
    createHash('sha3-256')
      .update(signedMessage(domain, Buffer.concat(parts)))
      .digest()
  )
}

/** The key (hex) that a replica of a service's record lies under: nobody but the owner of the blinded key can sign one for it. */
export function serviceKey(blinded: Uint8Array, replica: number): string {
  return toHex(domainHash(KEY_DOMAIN, blinded, Uint8Array.of(replica)))
}

/** The number of the period that a time (Unix milliseconds) lies in. */
export function periodOf(nowMs: number): number {
  return Math.floor(nowMs / (SERVICE_PERIOD_S * 1000))
}

/** When a period begins, Unix seconds. */
export function periodStartS(period: number): number {
  return period * SERVICE_PERIOD_S
}

/** A number as 8 bytes, big-endian. */
export function u64(value: number): Uint8Array {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(BigInt(value))
  return new Uint8Array(bytes)
}
