/**
 * Revision numbers that go up with the time and do not tell it. A number is a secret start, drawn per service and period from a range that
 * is a thousand times wider than all steps together, plus a secret step for each second: later is higher, also after a restart without
 * anything kept, and neither one number nor the difference of two says what the service's clock shows.
 */
import { createCipheriv } from 'node:crypto'
import { domainHash, periodStartS, SERVICE_OVERLAP_S, SERVICE_PERIOD_S, u64 } from '../wire/index.js'

const KEY_DOMAIN = 'anonnet:1:service-revision'
const SECONDS = SERVICE_PERIOD_S + 2 * SERVICE_OVERLAP_S
const START_BYTES = 6

/** The secret of a period's numbers. `seed` is the service's. */
export function revisionKey(seed: Uint8Array, period: number): Uint8Array {
  return domainHash(KEY_DOMAIN, seed, u64(period))
}

/** The number for a time (Unix milliseconds) within the period or its overlap; times outside count as its nearest end. */
export function revisionAt(key: Uint8Array, period: number, nowMs: number): number {
  const second = Math.floor(nowMs / 1000) - periodStartS(period) + SERVICE_OVERLAP_S
  const steps = Math.min(SECONDS, Math.max(0, second)) + 1
  const stream = createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(START_BYTES + 2 * steps))
  // 2^46 for the start, at most 2^33 for the steps: exact as a number.
  let revision = stream.readUIntBE(0, START_BYTES) % 2 ** 46
  for (let step = 0; step < steps; step++) revision += 1 + stream.readUInt16BE(START_BYTES + 2 * step)
  return revision
}
