/**
 * The options of the three kinds of node. `ts/config` checks their form; here they get their defaults.
 */

import { checkOptions } from '../config/index.js'
import type { Logger } from '../diagnostics/index.js'
import { errorFromCode } from '../errors/index.js'
import { type BootstrapEntry, type BootstrapPeer, parseBootstrap, parseUdpAddress } from './address.js'

/** Relaxations for test networks. Set none of them elsewhere; all nodes of one network need the same. */
export interface TestNetworkOptions {
  /** Length of the relay list's interval in milliseconds; default 3,600,000. */
  listIntervalMs?: number
  /** Exits may reach loopback and private addresses, and relays may extend circuits to them. */
  allowPrivate?: boolean
  /** Paths may hold two relays of one /16: where 127.N.0.1 cannot be bound (macOS, Windows). */
  relaxedPrefixes?: boolean
}

/** What every node takes. */
export interface CommonOptions {
  /** All bootstrap nodes of the network, 3 or more: a majority of these keys signs the relay list. */
  bootstrap: readonly BootstrapEntry[]
  /** Where keys, guards and lists are kept (made with mode 0700, locked). Without it nothing touches the disk. */
  stateDir?: string
  /** Aborts the start; its reason is thrown as is. */
  signal?: AbortSignal
  /** Default: nothing is logged. */
  logger?: Logger
  /** Path of a control socket to listen on, mode 0600. */
  control?: string
  testNetwork?: TestNetworkOptions
}

/** Options of `createNode`. */
export interface NodeOptions extends CommonOptions {
  /** Addresses to listen on for SOCKS and HTTP proxy clients, 'ip:port'; port 0 takes any. */
  proxy?: string | readonly string[]
  /** How long the start may take, in milliseconds; default 60,000. */
  readyTimeoutMs?: number
}

/** What relays and bootstrap nodes take. */
export interface ServerOptions extends CommonOptions {
  /** UDP address to listen on, 'ip:port'; port 0 takes any. */
  listen: string
  /** The address that others use, 'ip:port'; default: the bound one. */
  advertise?: string
  /** Path of the key file, made when absent; default `identity.key` in the state directory, else fresh keys in memory. */
  identity?: string
  /** Passphrase of the key file. */
  passphrase?: Uint8Array
  /** Limit of relayed traffic: bytes a second (0: none), and bytes in one burst. */
  bandwidth?: { rate: number; burst?: number }
}

/** Options of `createRelay`. */
export interface RelayOptions extends ServerOptions {
  /** Whether streams may leave the network here; default false. */
  exit?: boolean
  /** Lines such as 'accept *:443', the first match wins; default with `exit`: 'reject *:25', 'accept *:*'. */
  exitPolicy?: readonly string[]
  /** Node ids (hex) of relays of the same operator: no path holds two of them. */
  family?: readonly string[]
  /** Bytes a second that the descriptor declares; default `bandwidth.rate`, else 10,000,000. */
  declaredBandwidth?: number
}

/** Options of `createBootstrap`. */
export interface BootstrapOptions extends Omit<ServerOptions, 'bootstrap'> {
  /** All bootstrap nodes, this one included. Absent: nothing is agreed on before `join()`. */
  bootstrap?: readonly BootstrapEntry[]
}

export const DEFAULT_LIST_INTERVAL_MS = 3_600_000
export const DEFAULT_READY_TIMEOUT_MS = 60_000
export const DEFAULT_CONNECT_TIMEOUT_MS = 30_000
export const DEFAULT_DECLARED_BANDWIDTH = 10_000_000
export const DEFAULT_EXIT_POLICY: readonly string[] = ['reject *:25', 'accept *:*']
/** How long a closing relay lets circuits go on. */
export const DEFAULT_RELAY_DRAIN_MS = 5_000

/** Checks options and the signal. Throws ERR_ANONNET_CONFIG_INVALID, or the signal's reason as it is. */
export function checked<T extends { signal?: AbortSignal }>(role: 'client' | 'relay' | 'bootstrap', options: T): T {
  checkOptions(role, options)
  options.signal?.throwIfAborted()
  return options
}

/** The bootstrap nodes, each once. */
export function bootstrapPeers(entries: readonly BootstrapEntry[]): BootstrapPeer[] {
  const peers = entries.map(parseBootstrap)
  if (new Set(peers.map(({ nodeId }) => nodeId)).size !== peers.length) {
    throw errorFromCode('ERR_ANONNET_CONFIG_INVALID', { detail: 'bootstrap: one key stands there twice' })
  }
  return peers
}

/** The address that others use. Throws ERR_ANONNET_CONFIG_INVALID when none was given and the bound one means "any". */
export function advertised(options: Pick<ServerOptions, 'advertise'>, bound: string): string {
  if (options.advertise !== undefined) {
    parseUdpAddress(options.advertise)
    return options.advertise
  }
  const { ip } = parseUdpAddress(bound)
  if (ip === '0.0.0.0' || ip === '::') {
    throw errorFromCode('ERR_ANONNET_CONFIG_INVALID', { detail: 'advertise: needed where a node listens on all addresses' })
  }
  return bound
}
