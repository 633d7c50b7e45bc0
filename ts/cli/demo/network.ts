/** Brings the demo's network up: bootstrap nodes, relays, exits, a client, a site. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { keyFileCreate, keyFileInspect } from '../../native/index.js'
import { formatBootstrap } from '../../node/index.js'
import { freePort, joinHost, loopback, OWN_PREFIXES } from './addresses.js'
import type { Child, Children } from './children.js'

/** Bootstrap nodes, relays that do not exit, and relays that do. */
export const BOOTSTRAPS = 3
export const MIDDLES = 4
export const EXITS = 2
/** How often the demo's relay list is agreed, in milliseconds. */
export const LIST_INTERVAL_MS = 10_000

const START_DEADLINE_MS = 30_000
const LIST_DEADLINE_MS = 60_000
const CLIENT_DEADLINE_MS = 60_000

/** Who is who. */
export interface Member {
  readonly name: string
  readonly nodeId: string
  readonly address: string
}

/** The network when it is up. */
export interface Network {
  readonly members: readonly Member[]
  readonly client: Child
  readonly control: string
  readonly socks: string
  readonly http: string
  /** What further nodes of it are started with. */
  readonly flags: readonly string[]
}

const testFlags = ['--allow-private', '--list-interval-ms', String(LIST_INTERVAL_MS), ...(OWN_PREFIXES ? [] : ['--relaxed-prefixes'])]
const nodeFlags = ['--json', '--log-level', 'warn', '--drain-ms', '1000', ...testFlags]

async function bootstrapKeys(folder: string): Promise<{ identity: string; entry: string; address: string }[]> {
  return Promise.all(
    Array.from({ length: BOOTSTRAPS }, async (_, index) => {
      const identity = join(folder, `bootstrap-${index + 1}.key`)
      keyFileCreate(identity)
      const host = loopback(index + 1)
      const address = joinHost(host, await freePort(host))
      return { identity, address, entry: formatBootstrap(keyFileInspect(identity).publicKey, address) }
    })
  )
}

async function member(child: Child, signal: AbortSignal): Promise<Member> {
  const ready = await child.waitFor(({ event }) => event === 'ready', signal, START_DEADLINE_MS)
  return { name: child.name, nodeId: String(ready.nodeId), address: String(ready.address) }
}

/** Starts everything but the site, telling each step. */
export async function startNetwork(
  children: Children,
  folder: string,
  tell: (step: string) => void,
  signal: AbortSignal
): Promise<Network> {
  const keys = await bootstrapKeys(folder)
  const all = keys.flatMap(({ entry }) => ['--bootstrap', entry])
  const stateOf = async (name: string): Promise<string> => {
    const state = join(folder, name.replace(' ', '-'))
    await mkdir(state, { mode: 0o700 })
    return state
  }

  const bootstraps = await Promise.all(
    keys.map(async ({ identity, address }, index) => {
      const name = `bootstrap ${index + 1}`
      return children.start(name, [
        'bootstrap',
        '--listen',
        address,
        '--identity',
        identity,
        '--state-dir',
        await stateOf(name),
        ...all,
        ...nodeFlags
      ])
    })
  )
  const authorities = await Promise.all(bootstraps.map((child) => member(child, signal)))
  tell(`${BOOTSTRAPS} bootstrap nodes listen`)

  const relays = await Promise.all(
    Array.from({ length: MIDDLES + EXITS }, async (_, index) => {
      const isExit = index >= MIDDLES
      const name = isExit ? `exit ${index - MIDDLES + 1}` : `relay ${index + 1}`
      const listen = joinHost(loopback(BOOTSTRAPS + index + 1), 0)
      return children.start(name, [
        'relay',
        '--listen',
        listen,
        '--state-dir',
        await stateOf(name),
        ...(isExit ? ['--exit'] : []),
        ...all,
        ...nodeFlags
      ])
    })
  )
  const carriers = await Promise.all(relays.map((child) => member(child, signal)))
  tell(`${MIDDLES + EXITS} relays are up and published, ${EXITS} of them exits`)

  // A bootstrap node's list event counts once every relay is in it.
  const complete = ({ event, relays: count }: { event: string; relays?: unknown }): boolean =>
    event === 'list' && Number(count) >= MIDDLES + EXITS
  await Promise.all(bootstraps.map((child) => child.waitFor(complete, signal, LIST_DEADLINE_MS)))
  tell('the bootstrap nodes agreed on the relay list and signed it')

  const proxyFlags = ['--socks', '127.0.0.1:0', '--http', '127.0.0.1:0']
  const client = children.start('client', ['run', ...proxyFlags, '--state-dir', await stateOf('client'), ...all, ...nodeFlags], 'user')
  const ready = await client.waitFor(({ event }) => event === 'ready', signal, CLIENT_DEADLINE_MS)
  const [socks = '', http = socks] = (ready.proxies as string[]) ?? []
  tell('the client has the list, a three-hop circuit, and its proxies')
  return { members: [...authorities, ...carriers], client, control: String(ready.control), socks, http, flags: [...all, ...nodeFlags] }
}

/** Publishes what listens at `target` ('ip:port') as a service by a process of its own; resolves to its address. */
export async function startService(
  children: Children,
  network: Network,
  folder: string,
  target: string,
  signal: AbortSignal
): Promise<string> {
  const state = join(folder, 'service')
  await mkdir(state, { mode: 0o700 })
  const service = children.start('service', ['service', '--target', target, '--state-dir', state, ...network.flags], 'user')
  const { address } = await service.waitFor(({ event, role }) => event === 'ready' && role === 'service', signal, CLIENT_DEADLINE_MS)
  return String(address)
}
