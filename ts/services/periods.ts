/** Which periods count now. Clocks are bounded by the relay list, which both sides have: a wrong clock gives no other period, and shows nowhere. */
import type { RelayList } from '../directory/types.js'
import { periodOf, SERVICE_OVERLAP_S } from '../wire/index.js'

/** The time (Unix milliseconds) that services go by: ours, as far as the list's validity allows it. */
export function serviceTimeMs(list: Pick<RelayList, 'validAfter' | 'validUntil'>, nowMs: number): number {
  return Math.min(list.validUntil * 1000, Math.max(list.validAfter * 1000, nowMs))
}

/** The periods that a service publishes for: the current one, and near its ends the one beside it. Ascending. */
export function publishedPeriods(timeMs: number): number[] {
  const first = periodOf(timeMs - SERVICE_OVERLAP_S * 1000)
  const last = periodOf(timeMs + SERVICE_OVERLAP_S * 1000)
  return first === last ? [first] : [first, last]
}
