// AnonNet in the shape of the Tor network: three bootstrap nodes, five relays that are exits, a client with SOCKS5. All of them are the command
// line tool as it is shipped.
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Child } from '../processes.mjs'
import { Process } from './children.mjs'

const cli = fileURLToPath(new URL('../../../dist/cli.cjs', import.meta.url))
const { keyFileCreate, keyFileInspect } = createRequire(import.meta.url)('../../../index.js')
const AUTHORITIES = 3
/** Shortest and longest interval of the relay list, in seconds. Relays learn of each other from the next list, so it cannot be very long. */
const INTERVAL_SECONDS = [40, 60]
/** How long the relays need to publish before the list is agreed. */
const PUBLISH_SECONDS = 10
const LIST_SECONDS = 180
const SERVICE_SECONDS = 120
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** Lists are agreed at multiples of the interval: the length that has one of them soonest after the relays are there. */
function listInterval() {
  const from = Date.now() / 1000 + PUBLISH_SECONDS
  const wait = (length) => Math.ceil(from / length) * length - from
  let best = INTERVAL_SECONDS[0]
  for (let length = best; length < INTERVAL_SECONDS[1]; length++) if (wait(length) < wait(best)) best = length
  return best * 1000
}

const eventOf = (line) => (line.startsWith('{') ? JSON.parse(line) : undefined)
const readyOf = (line) => eventOf(line)?.event === 'ready' && eventOf(line)

async function freePort(host) {
  const socket = createSocket('udp4').bind(0, host)
  await once(socket, 'listening')
  const { port } = socket.address()
  await new Promise((resolve) => socket.close(resolve))
  return port
}

const AUTHORITY = /^authority(\d+)$/
const RELAY = /^relay(\d+)$/

/** On this machine: each node has an address in a /16 of its own. */
export const LOOPBACK = {
  relays: 5,
  place(name) {
    const number = AUTHORITY.test(name) ? Number(AUTHORITY.exec(name)[1]) : AUTHORITIES + Number(RELAY.exec(name)?.[1] ?? 0)
    return { address: `127.${number + 1}.0.1`, inside: (command, args) => [command, args] }
  },
  port: freePort
}

export class OurNetwork {
  #folder
  #site
  #bootstrap = []
  #authorities = []
  #service
  #interval = listInterval()

  /** Brings it up. A `site` says where each node is, and with `pinned` that every path ends at relay 2, since no other is an exit. */
  static async start(parent, name = 'ours', site = LOOPBACK) {
    const network = new OurNetwork()
    network.#site = site
    network.#folder = join(parent, name)
    mkdirSync(network.#folder, { mode: 0o700 })
    await network.#start()
    return network
  }

  #state(name) {
    const folder = join(this.#folder, name)
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    return folder
  }

  #tool(name, command, args) {
    const common = ['--json', '--log-level', 'warn', '--allow-private', '--list-interval-ms', String(this.#interval)]
    const network = this.#bootstrap.flatMap((entry) => ['--bootstrap', entry])
    // The channel ends the node when the bench is gone.
    const line = [cli, command, '--state-dir', this.#state(name), ...args, ...common, ...network]
    return new Process(`anonnet ${name}`, ...this.#site.place(name).inside(process.execPath, line), { ipc: true })
  }

  async #authority(at) {
    const identity = join(this.#state(`authority${at}`), 'identity.key')
    keyFileCreate(identity)
    const { address } = this.#site.place(`authority${at}`)
    return { identity, address: `${address}:${await this.#site.port(address)}` }
  }

  async #start() {
    const authorities = await Promise.all(Array.from({ length: AUTHORITIES }, (_, at) => this.#authority(at)))
    this.#bootstrap = authorities.map(({ identity, address }) => `${keyFileInspect(identity).publicKey.toString('hex')}@${address}`)
    this.#authorities = authorities.map(({ identity, address }, at) =>
      this.#tool(`authority${at}`, 'bootstrap', ['--identity', identity, '--listen', address])
    )
    await Promise.all(this.#authorities.map((child) => child.line(readyOf)))
    const { relays: count, pinned } = this.#site
    this.relays = Array.from({ length: count }, (_, at) => {
      const exit = !pinned || at === count - 1 ? ['--exit', '--exit-policy', 'accept *:*'] : []
      return this.#tool(`relay${at}`, 'relay', [...exit, '--listen', `${this.#site.place(`relay${at}`).address}:0`])
    })
    const isComplete = (line) => eventOf(line)?.event === 'list' && eventOf(line).relays === count
    const relays = await Promise.all(this.relays.map((child) => child.line(readyOf)))
    await Promise.all([...this.#authorities, ...this.relays].map((child) => child.line(isComplete, LIST_SECONDS)))
    this.hops = relays.map(({ found: { nodeId, address } }, at) => {
      const { onionKey } = keyFileInspect(join(this.#folder, `relay${at}`, 'identity.key'))
      return { nodeId, address, onionKey: onionKey.toString('hex') }
    })
    this.client = this.#tool('client', 'run', ['--socks', '127.0.0.1:0'])
    const { found } = await this.client.line(readyOf)
    this.socks = Number(found.proxies[0].split(':')[1])
  }

  /** Every process of the network, the client, and the service. */
  get all() {
    return [...this.#authorities, ...this.relays, this.client, this.#service].filter(Boolean)
  }

  /** Publishes a port of this machine as a service; resolves to its name when others can reach it. */
  async publish(port) {
    this.#service = this.#tool('service', 'service', ['--target', `80:127.0.0.1:${port}`])
    const { found } = await this.#service.line(readyOf, SERVICE_SECONDS)
    return found.address
  }

  /** A client of ours keeps no list of services that it did not find. */
  async forget() {}

  /**
   * A client that builds circuits along given paths: the addon alone, since the product's client chooses its paths itself. With an `address` it
   * comes from there.
   */
  async builder(address) {
    const child = new Child('builder', './node-process.mjs', [JSON.stringify(address === undefined ? {} : { listen: `${address}:0` })])
    await child.ready
    await child.call('relays', { relays: this.hops })
    return child
  }

  /** A further client: seconds from its start until it is ready. Its data stay in the folder of its name. */
  async startup(name) {
    const child = this.#tool(name, 'run', ['--socks', '127.0.0.1:0'])
    const { at } = await child.line(readyOf)
    await sleep(500)
    await child.end('SIGINT')
    return (at - child.began) / 1000
  }

  async end() {
    await Promise.all(this.all.map((child) => child.end('SIGKILL')))
  }
}
