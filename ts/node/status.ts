/**
 * What `status()` and `circuits()` show, to programs and over the control socket. Plain JSON.
 */

import type { RelayList } from '../directory/types.js'
import type { NativeSnapshot } from '../native/index.js'

/** Which of the three kinds a node is. */
export type NodeRole = 'client' | 'relay' | 'bootstrap'

/** How far the start is. */
export interface BootstrapStatus {
  /** 0 to 100. */
  percent: number
  phase: 'starting' | 'list' | 'circuit' | 'done'
  /** For people. */
  summary: string
}

/** The relay list in use; times are Unix seconds. */
export interface ListStatus {
  interval: number
  validAfter: number
  freshUntil: number
  validUntil: number
  relays: number
  /** Hex. */
  digest: string
}

/** Counters of a relay since it started. */
export type RelayStatus = NativeSnapshot['relay']

export interface NodeStatus {
  role: NodeRole
  /** 64 hex digits. */
  nodeId: string
  /** Of the addon. */
  version: string
  /** Of the wire. */
  protocol: number
  pid: number
  uptimeMs: number
  /** Servers: the UDP address that others use. */
  address: string | null
  bootstrap: BootstrapStatus
  list: ListStatus | null
  /** Client circuits. */
  circuits: { ready: number; building: number; streams: number }
  /** Proxy addresses, 'ip:port'. */
  proxies: string[]
  /** Requests of proxy clients since the start. */
  proxy: { requests: number; open: number; refused: number }
  relay: RelayStatus | null
  /** Links to other nodes. */
  links: number
}

export interface CircuitStatus {
  id: number
  /** The guard first. */
  hops: { nodeId: string; address: string | null }[]
  ready: boolean
  ageMs: number
  streams: number
  bytesRead: number
  bytesWritten: number
}

/** The part of a list that is shown. */
export function listStatus(list: RelayList | undefined): ListStatus | null {
  if (list === undefined) return null
  const { interval, validAfter, freshUntil, validUntil, relays, digest } = list
  return { interval, validAfter, freshUntil, validUntil, relays: relays.length, digest }
}
