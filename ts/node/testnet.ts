/**
 * A whole network in this process, on loopback: for tests of programs that use AnonNet.
 */

import { errorFromCode } from '../errors/index.js'
import { type BootstrapNode, createBootstrap } from './bootstrap.js'
import { type AnonNode, createNode } from './client.js'
import type { NodeOptions, TestNetworkOptions } from './options.js'
import { createRelay, type RelayNode } from './relay.js'

const AUTHORITIES = 3
const DEFAULT_RELAYS = 6
/** A list is valid for ten minutes at least, so that short intervals cost nothing but work. */
const DEFAULT_LIST_INTERVAL_MS = 10_000
const LIST_TIMEOUT_MS = 30_000
const LIST_POLL_MS = 20

/** Options of `createTestnet`. */
export interface TestnetOptions {
  /** How many of the relays are exits; default a third, 2 at least. */
  exits?: number
  /** Length of the relay list's interval, in milliseconds; default 10,000. */
  listIntervalMs?: number
  /** Aborts the start; its reason is thrown as is. */
  signal?: AbortSignal
}

/** A running test network. */
export interface Testnet extends AsyncDisposable {
  /** For `createNode({ bootstrap })`, together with `testNetwork`. */
  readonly bootstrap: readonly string[]
  readonly testNetwork: TestNetworkOptions
  readonly authorities: readonly BootstrapNode[]
  readonly relays: readonly RelayNode[]
  /** A client of this network. It is closed with the network. */
  createNode(options?: Partial<NodeOptions>): Promise<AnonNode>
  close(): Promise<void>
}

/** Linux answers for all of 127/8: each node gets a /16 of its own, so that paths are chosen as in the real network. */
const OWN_PREFIXES = process.platform === 'linux'
/** Bootstrap nodes take 64 relays of one /24. */
const MAX_RELAYS = OWN_PREFIXES ? 200 : 64

function addressOf(index: number): string {
  return OWN_PREFIXES ? `127.${index}.0.1:0` : '127.0.0.1:0'
}

/**
 * Starts bootstrap nodes, relays and exits on loopback; resolves when the relay list is signed and `createNode` works.
 *
 * @param relays how many, 4 at least, exits included; default 6.
 * @throws ERR_ANONNET_INVALID_ARGUMENT, _BIND_FAILED, _NOT_BOOTSTRAPPED; the signal's reason as it is.
 */
export async function createTestnet(relays: number = DEFAULT_RELAYS, options: TestnetOptions = {}): Promise<Testnet> {
  const { exits = Math.max(2, Math.ceil(relays / 3)), listIntervalMs = DEFAULT_LIST_INTERVAL_MS, signal } = options
  if (!Number.isInteger(relays) || relays < 4 || relays > MAX_RELAYS || !Number.isInteger(exits) || exits < 1 || exits > relays) {
    throw errorFromCode('ERR_ANONNET_INVALID_ARGUMENT', {
      detail: `a test network has 4 to ${MAX_RELAYS} relays, 1 of them an exit at least`
    })
  }
  const testNetwork: TestNetworkOptions = { listIntervalMs, allowPrivate: true, relaxedPrefixes: !OWN_PREFIXES }
  const authorities: BootstrapNode[] = []
  const started: RelayNode[] = []
  const clients = new Set<AnonNode>()
  const close = async (): Promise<void> => {
    await Promise.all([...clients].map((node) => node.close()))
    await Promise.all(started.map((relay) => relay.close({ drainMs: 0 })))
    await Promise.all(authorities.map((node) => node.close()))
  }
  try {
    for (let index = 1; index <= AUTHORITIES; index += 1) {
      signal?.throwIfAborted()
      authorities.push(await createBootstrap({ listen: addressOf(index), testNetwork }))
    }
    const bootstrap = authorities.map(({ entry }) => entry)
    // Descriptors first, then the tests, then the vote: so the first list already has every relay, whatever the interval.
    for (const authority of authorities) authority.prepare(bootstrap)
    const common = { bootstrap, testNetwork, ...(signal === undefined ? {} : { signal }) }
    await Promise.all(
      Array.from({ length: relays }, async (_, index) => {
        started.push(await createRelay({ ...common, listen: addressOf(AUTHORITIES + 1 + index), exit: index >= relays - exits }))
      })
    )
    await Promise.all(started.map((relay) => relay.publishedEverywhere()))
    await Promise.all(authorities.map((authority) => authority.relaysTested()))
    for (const authority of authorities) authority.beginAgreement()
    await haveLists(authorities, relays, signal)
    return {
      bootstrap,
      testNetwork,
      authorities,
      relays: started,
      createNode: async (more = {}) => {
        const node = await createNode({ bootstrap, testNetwork, ...more })
        clients.add(node)
        return node
      },
      close,
      [Symbol.asyncDispose]: close
    }
  } catch (error) {
    await close()
    throw error
  }
}

async function haveLists(authorities: readonly BootstrapNode[], relays: number, signal: AbortSignal | undefined): Promise<void> {
  const deadline = Date.now() + LIST_TIMEOUT_MS
  while (!authorities.every((node) => (node.status().list?.relays ?? 0) >= relays)) {
    signal?.throwIfAborted()
    if (Date.now() > deadline) throw errorFromCode('ERR_ANONNET_NOT_BOOTSTRAPPED', { detail: 'the test network agreed on no list' })
    await new Promise((resolve) => setTimeout(resolve, LIST_POLL_MS))
  }
}
