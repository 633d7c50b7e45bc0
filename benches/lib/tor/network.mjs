// A private Tor network on loopback: three authorities, five relays that may exit to loopback, and two clients, one of them without conflux.
import { execFile, execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Process } from './children.mjs'
import { TorControl } from './control.mjs'

const run = promisify(execFile)
/** Debian asks this program whether an installed service may start; 101 is no. */
const POLICY = '/usr/sbin/policy-rc.d'
const AUTHORITIES = 3
const BOOTSTRAP_SECONDS = 240
const PUBLISH_SECONDS = 120
/** They are relays as well: without them the shape is ours. */
const WITHOUT_AUTHORITIES = `ExcludeNodes ${Array.from({ length: AUTHORITIES }, (_, at) => `authority${at}`).join()}`
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** Whether apt-get installed tor, without the service that would join the public network. */
function install() {
  const options = { stdio: ['ignore', 2, 2], env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } }
  const ours = !existsSync(POLICY)
  try {
    if (ours) writeFileSync(POLICY, '#!/bin/sh\nexit 101\n', { mode: 0o755 })
    execFileSync('apt-get', ['update', '-q'], options)
    execFileSync('apt-get', ['install', '-q', '-y', '--no-install-recommends', 'tor'], options)
    return true
  } catch {
    return false
  } finally {
    if (ours) rmSync(POLICY, { force: true })
  }
}

/** Debian's tor, installed where it is missing and may be; its version. Ends the bench with 2 where neither works. */
export function findTor() {
  const found = () => {
    try {
      execFileSync('tor-gencert', ['--help'], { stdio: 'ignore' })
    } catch (error) {
      if (error.code === 'ENOENT') return undefined
    }
    try {
      return /^Tor version ([\w.-]*\w)/m.exec(execFileSync('tor', ['--version'], { encoding: 'utf8' }))?.[1]
    } catch {
      return undefined
    }
  }
  const version = found()
  if (version) return version
  if (process.getuid?.() === 0 && install() && found()) return found()
  process.stderr.write('This bench needs tor and tor-gencert: `apt-get install tor` as root on Debian and Ubuntu, then run it again.\n')
  return process.exit(2)
}

/** So many TCP ports that are free now. */
async function freePorts(count) {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer()
      await new Promise((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve))
      return server
    })
  )
  const ports = servers.map((server) => server.address().port)
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}

/** On this machine: the nodes share an address and have ports of their own, and clients choose their paths. */
const LOOPBACK = { relays: 5, ports: freePorts, place: () => ({ address: '127.0.0.1', inside: (command, args) => [command, args] }) }

export class TorNetwork {
  #folder
  #site
  #authorityLines = []
  #processes = new Map()

  constructor(scheduler, folder, site) {
    this.scheduler = scheduler
    this.#site = site
    this.#folder = folder
    this.fingerprints = []
  }

  /**
   * Brings it up; resolves when the clients know every relay with the flags that it will have. A `site` says where each node is, and with
   * `pinned` that every path is relay 0 and 1, in either order, and 2; then there is no client with conflux, which needs two paths.
   */
  static async start(scheduler, parent, site = LOOPBACK) {
    const folder = join(parent, `tor-${scheduler}`)
    mkdirSync(folder, { mode: 0o700 })
    const network = new TorNetwork(scheduler, folder, site)
    await network.#start()
    return network
  }

  #common(name) {
    const data = join(this.#folder, name)
    mkdirSync(join(data, 'keys'), { recursive: true, mode: 0o700 })
    return [
      'TestingTorNetwork 1',
      `DataDirectory ${data}`,
      `Nickname ${name}`,
      `Address ${this.#site.place(name).address}`,
      'Log notice stdout',
      `ControlSocket ${join(data, 'control')}`,
      'CookieAuthentication 1',
      'ShutdownWaitLength 0',
      'AssumeReachable 1',
      // Tables of countries, where Debian's are installed: nobody here has one, and they take 25 MB.
      ...['GeoIPFile /dev/null', 'GeoIPv6File /dev/null'],
      'PathsNeededToBuildCircuits 0.67',
      // Nothing but the machine limits what a relay carries.
      'BandwidthRate 1 GBytes',
      'BandwidthBurst 1 GBytes',
      `Schedulers ${this.scheduler}`,
      // It ends when the bench does, however that ends.
      `__OwningControllerProcess ${process.pid}`,
      ...this.#authorityLines
    ]
  }

  #relay(name, port) {
    return [
      'SocksPort 0',
      `ORPort ${this.#site.place(name).address}:${port}`,
      'ExitRelay 1',
      'ExitPolicyRejectPrivate 0',
      'ExitPolicy accept *:*',
      'ContactInfo bench@example.invalid'
    ]
  }

  #client(socks, more) {
    // Builds are timed, so their timeout is not learned.
    return [
      `SocksPort 127.0.0.1:${socks} IsolateSOCKSAuth`,
      WITHOUT_AUTHORITIES,
      'LearnCircuitBuildTimeout 0',
      'CircuitBuildTimeout 60',
      ...(this.#site.pinned ? ['EntryNodes relay0,relay1', 'MiddleNodes relay0,relay1', 'ExitNodes relay2'] : []),
      ...more
    ]
  }

  #launchConflux() {
    this.confluxClient = this.#launch('conflux', this.#client(this.socks.conflux, []))
  }

  #launch(name, lines) {
    const file = join(this.#folder, `${name}.torrc`)
    writeFileSync(file, `${[...this.#common(name), ...lines].join('\n')}\n`)
    const command = this.#site.place(name).inside('tor', ['-f', file, '--defaults-torrc', '/dev/null'])
    const child = new Process(`tor ${name}`, ...command)
    this.#processes.set(name, child)
    return child
  }

  /** Makes an authority's keys; resolves to its line in everybody's configuration. */
  async #authority(name, orPort, dirPort) {
    const data = join(this.#folder, name)
    const keys = join(data, 'keys')
    const { address } = this.#site.place(name)
    mkdirSync(keys, { recursive: true, mode: 0o700 })
    const files = [
      '-i',
      join(keys, 'authority_identity_key'),
      '-s',
      join(keys, 'authority_signing_key'),
      '-c',
      join(keys, 'authority_certificate')
    ]
    const made = run('tor-gencert', ['--create-identity-key', '--passphrase-fd', '0', '-m', '12', '-a', `${address}:${dirPort}`, ...files])
    made.child.stdin.end('bench\n')
    await made
    const certificate = readFileSync(join(keys, 'authority_certificate'), 'utf8')
    const identity = /^fingerprint (\w+)$/m.exec(certificate)[1]
    const { stdout } = await run('tor', [
      '--quiet',
      '--list-fingerprint',
      '--DataDirectory',
      data,
      '--Nickname',
      name,
      '--ORPort',
      String(orPort),
      // Any authority will do to print a fingerprint.
      '--DirAuthority',
      `any 127.0.0.1:1 ${'f'.repeat(40)}`,
      '-f',
      '/dev/null',
      '--ignore-missing-torrc',
      '--defaults-torrc',
      '/dev/null'
    ])
    const fingerprint = stdout.trim().split('\n').at(-1).split(' ').slice(1).join('')
    return `DirAuthority ${name} orport=${orPort} no-v2 v3ident=${identity} ${address}:${dirPort} ${fingerprint}`
  }

  async #start() {
    const ports = await this.#site.ports(2 * AUTHORITIES + this.#site.relays + 2)
    const authorities = Array.from({ length: AUTHORITIES }, (_, at) => ({
      name: `authority${at}`,
      orPort: ports.pop(),
      dirPort: ports.pop()
    }))
    this.#authorityLines = await Promise.all(authorities.map(({ name, orPort, dirPort }) => this.#authority(name, orPort, dirPort)))
    for (const { name, orPort, dirPort } of authorities) {
      this.#launch(name, [
        ...this.#relay(name, orPort),
        `DirPort ${this.#site.place(name).address}:${dirPort}`,
        'AuthoritativeDirectory 1',
        'V3AuthoritativeDirectory 1',
        ...['V3AuthVotingInterval 20', 'V3AuthVoteDelay 4', 'V3AuthDistDelay 4', 'V3AuthNIntervalsValid 3'],
        ...['TestingV3AuthInitialVotingInterval 20', 'TestingV3AuthInitialVoteDelay 4', 'TestingV3AuthInitialDistDelay 4'],
        // Who is stable or fast is judged by comparison else, and an entry has to be both.
        ...['AuthDirVoteStableGuaranteeMinUptime 0', 'AuthDirVoteStableGuaranteeMTBF 0', 'AuthDirFastGuarantee 1 KBytes'],
        ...['TestingDirAuthVoteExit *', 'TestingDirAuthVoteHSDir *', 'TestingDirAuthVoteGuard *', 'TestingMinExitFlagThreshold 0']
      ])
    }
    this.relays = Array.from({ length: this.#site.relays }, (_, at) => this.#launch(`relay${at}`, this.#relay(`relay${at}`, ports.pop())))
    const done = (line) => line.includes('Bootstrapped 100%')
    const all = (children) => Promise.all(children.map((child) => child.line(done, BOOTSTRAP_SECONDS)))
    await all(this.relays)
    // A client whose guard is not listed as one when it comes has nobody to ask for the next list.
    const relay = await TorControl.open(join(this.#folder, 'relay0'))
    await this.#complete(relay)
    relay.close()
    this.socks = { plain: ports.pop(), conflux: ports.pop() }
    this.client = this.#launch('plain', this.#client(this.socks.plain, ['ConfluxEnabled 0']))
    if (!this.#site.pinned) this.#launchConflux()
    await all([this.client, this.confluxClient].filter(Boolean))
    this.control = await TorControl.open(join(this.#folder, 'plain'))
    await this.#complete(this.control)
    await Promise.all(authorities.map(({ name }) => this.#voteSeldom(name)))
    for (const { name } of this.relays) this.fingerprints.push(await this.#fingerprint(name.split(' ')[1]))
  }

  /** Waits until the node of that control port knows all relays with the flags that they will have. */
  async #complete(control) {
    const deadline = Date.now() + BOOTSTRAP_SECONDS * 1000
    for (;;) {
      const known = await control.relays()
      const names = this.relays.map(({ name }) => name.split(' ')[1])
      if (names.every((name) => ['Guard', 'Exit', 'V2Dir', 'Stable'].every((flag) => known.get(name)?.includes(flag)))) return
      if (Date.now() > deadline) throw new Error('the Tor network has no complete consensus')
      await sleep(500)
    }
  }

  /** Votes every 20 seconds would disturb the figures. */
  async #voteSeldom(name) {
    const control = await TorControl.open(join(this.#folder, name))
    await control.ask('SETCONF V3AuthVotingInterval=300 V3AuthVoteDelay=20 V3AuthDistDelay=20')
    control.close()
  }

  async #fingerprint(name) {
    const [line] = await this.control.ask(`GETINFO ns/name/${name}`).then((lines) => lines.filter((text) => text.startsWith('r ')))
    return Buffer.from(line.split(' ')[2], 'base64').toString('hex').toUpperCase()
  }

  /** Every process that a client's traffic needs: the network and that client. */
  subject(client) {
    return [...this.#processes.values()].filter((child) => child === client || (child !== this.client && child !== this.confluxClient))
  }

  get all() {
    return [...this.#processes.values()]
  }

  /**
   * A new client with conflux for the one that was measured: that one goes on for minutes with streams that were broken off, and took a
   * quarter of the machine from whoever came next, with 2 GB in its queues.
   */
  async renewConflux() {
    await this.confluxClient.end('SIGKILL')
    this.#launchConflux()
    await this.confluxClient.line((line) => line.includes('Bootstrapped 100%'), BOOTSTRAP_SECONDS)
  }

  /** Publishes a port of this machine as an onion service; resolves to its name when relays have stored it. */
  async publish(port) {
    const data = join(this.#folder, 'service')
    const folder = join(data, 'onion')
    const lines = ['SocksPort 0', WITHOUT_AUTHORITIES, `HiddenServiceDir ${folder}`, `HiddenServicePort 80 127.0.0.1:${port}`]
    const service = this.#launch('service', lines)
    // That far its control port is there, and nothing is stored yet.
    await service.line((line) => line.includes('Bootstrapped'), BOOTSTRAP_SECONDS)
    const control = await TorControl.open(data)
    await control.published(PUBLISH_SECONDS)
    control.close()
    return readFileSync(join(folder, 'hostname'), 'utf8').trim()
  }

  /** Makes the client forget which onion services it did not find. */
  async forget() {
    await this.control.ask('SIGNAL NEWNYM')
  }

  /** A further client: seconds from its start until it is ready. Its data stay in the folder of its name. */
  async startup(name) {
    const [socks] = await this.#site.ports(1)
    const child = this.#launch(name, this.#client(socks, []))
    const { at } = await child.line((line) => line.includes('Bootstrapped 100%'))
    // It keeps what it fetched when it has a moment.
    await sleep(500)
    await child.end('SIGINT')
    this.#processes.delete(name)
    return (at - child.began) / 1000
  }

  async end() {
    this.control?.close()
    await Promise.all(this.all.map((child) => child.end('SIGKILL')))
  }
}
