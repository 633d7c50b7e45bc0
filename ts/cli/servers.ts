/** `anonnet relay` and `anonnet bootstrap`. */
import type { Command } from 'commander'
import { type Config, controlPath, defaultStateDir, type PartialConfig } from '../config/index.js'
import { createBootstrap, createRelay, type ServerOptions } from '../node/index.js'
import { type Io, printJson, printLine, say, UsageError } from './io.js'
import { keepRunning } from './lifecycle.js'
import { loggerOf } from './log.js'
import { givenPassphrase } from './passphrase.js'
import { bootstrapOf, type CommonFlags, collect, configOf, daemonFlags, testNetworkOf, wholeNumber } from './settings.js'

/** How long circuits through a relay may finish after a signal, in milliseconds. */
const DEFAULT_DRAIN_MS = 30_000
/** Where a server listens when nothing is said: every IPv4 address, one UDP port. */
const DEFAULT_LISTEN = '0.0.0.0:9501'

interface ServerFlags extends CommonFlags {
  readonly listen?: string
  readonly advertise?: string
  readonly identity?: string
  readonly passphraseFile?: string
}

interface RelayFlags extends ServerFlags {
  readonly exit?: boolean
  readonly exitPolicy?: string[]
  readonly family?: string[]
  readonly bandwidthRateBytes?: number
  readonly bandwidthBurstBytes?: number
  readonly declaredRateBytes?: number
}

/** What is said of a server that runs. */
interface Started {
  readonly nodeId: string
  readonly address: string
  readonly entry: string
}

function serverFlags(command: Command): Command {
  return command
    .option('--listen <ip:port>', `UDP address to listen on, port 0 for any (default ${DEFAULT_LISTEN})`)
    .option('--advertise <ip:port>', 'the address that others use, where it differs from --listen')
    .option('--identity <file>', 'the key file (default: identity.key in the state folder, made when absent)')
    .option('--passphrase-file <file>', 'passphrase of the key file (or ANONNET_PASSPHRASE)')
}

function announce(io: Io, json: boolean, role: 'relay' | 'bootstrap', node: Started, control: string): void {
  if (json) {
    printJson(io, { event: 'ready', role, nodeId: node.nodeId, address: node.address, entry: node.entry, control, pid: process.pid })
    return
  }
  say(io, `${role} ${node.nodeId.slice(0, 16)}… listens on UDP ${node.address}`)
  if (role === 'bootstrap') printLine(io, node.entry)
}

function serverSection({ listen, advertise, identity, stateDir }: ServerFlags): NonNullable<PartialConfig['bootstrap']> {
  return { listen, advertise, identity, state_dir: stateDir }
}

/** The options that relays and bootstrap nodes share, and the path of the control socket. */
function serverOptions(
  io: Io,
  role: 'relay' | 'bootstrap',
  flags: ServerFlags,
  config: Config
): Omit<ServerOptions, 'bootstrap'> & { control: string } {
  const section = config[role]
  const listen = section.listen ?? DEFAULT_LISTEN
  const { advertise, identity } = section
  if (/^(0\.0\.0\.0|\[::\]):/.test(listen) && advertise === undefined) {
    throw new UsageError(
      `${listen} is no address that others can use: say --listen <the address of this machine>:port, or --advertise ip:port as well`
    )
  }
  const stateDir = section.state_dir ?? defaultStateDir(role)
  const passphrase = givenPassphrase(io, flags.passphraseFile)
  return {
    listen,
    stateDir,
    control: flags.control ?? controlPath(stateDir),
    logger: loggerOf(io, config.log),
    testNetwork: testNetworkOf(config),
    ...(advertise === undefined ? {} : { advertise }),
    ...(identity === undefined ? {} : { identity }),
    ...(passphrase === undefined ? {} : { passphrase })
  }
}

function relayOnly({ exit, exit_policy, family, bandwidth_rate_bytes, bandwidth_burst_bytes, declared_rate_bytes }: Config['relay']) {
  if (bandwidth_burst_bytes !== undefined && bandwidth_rate_bytes === undefined)
    throw new UsageError('--bandwidth-burst-bytes needs --bandwidth-rate-bytes')
  if (exit_policy !== undefined && !exit) throw new UsageError('an exit policy needs --exit')
  const burst = bandwidth_burst_bytes === undefined ? {} : { burst: bandwidth_burst_bytes }
  return {
    exit,
    family,
    ...(exit_policy === undefined ? {} : { exitPolicy: exit_policy }),
    ...(bandwidth_rate_bytes === undefined ? {} : { bandwidth: { rate: bandwidth_rate_bytes, ...burst } }),
    ...(declared_rate_bytes === undefined ? {} : { declaredBandwidth: declared_rate_bytes })
  }
}

/** Adds `relay`. */
export function relayCommand(program: Command, io: Io, finish: (code: number) => void): void {
  const relay = serverFlags(program.command('relay'))
    .description('run a relay: one process, one UDP port')
    .option('--exit', 'let streams out to the internet here, as the exit policy allows')
    .option(
      '--exit-policy <line>',
      "such as 'accept *:443'; repeatable, the first that fits counts (default: reject *:25, accept *:*)",
      collect
    )
    .option('--family <node id>', 'another relay of the same operator; repeatable', collect)
    .option('--bandwidth-rate-bytes <n>', 'forward at most this many bytes a second', wholeNumber)
    .option('--bandwidth-burst-bytes <n>', 'and this many at once', wholeNumber)
    .option('--declared-rate-bytes <n>', 'the rate that the descriptor declares, bytes a second', wholeNumber)
  daemonFlags(relay)
    .addHelpText('after', '\nExample:\n  $ anonnet relay --config network.toml --listen 192.0.2.7:9501 --state-dir /var/lib/anonnet\n')
    .action(async (flags: RelayFlags) => {
      const config = configOf(io, flags, {
        relay: {
          ...serverSection(flags),
          exit: flags.exit,
          exit_policy: flags.exitPolicy,
          family: flags.family,
          bandwidth_rate_bytes: flags.bandwidthRateBytes,
          bandwidth_burst_bytes: flags.bandwidthBurstBytes,
          declared_rate_bytes: flags.declaredRateBytes
        }
      })
      const bootstrap = bootstrapOf(config)
      const options = { ...serverOptions(io, 'relay', flags, config), ...relayOnly(config.relay), bootstrap }
      finish(
        await keepRunning({
          io,
          flags,
          config,
          defaultDrainMs: DEFAULT_DRAIN_MS,
          begins: 'publishing at the bootstrap nodes',
          start: (signal) => createRelay({ ...options, signal }),
          ready: (node) => announce(io, flags.json === true, 'relay', node, options.control)
        })
      )
    })
}

/** Adds `bootstrap`. */
export function bootstrapCommand(program: Command, io: Io, finish: (code: number) => void): void {
  daemonFlags(serverFlags(program.command('bootstrap')))
    .description('run a bootstrap node, which agrees with the others on the relay list and signs it')
    .addHelpText(
      'after',
      '\nExample:\n  $ anonnet keys new --out b1.key\n  $ anonnet bootstrap --identity b1.key --listen 192.0.2.1:9501 --config network.toml\n'
    )
    .action(async (flags: ServerFlags) => {
      const config = configOf(io, flags, { bootstrap: serverSection(flags) })
      const bootstrap = bootstrapOf(config)
      const options = { ...serverOptions(io, 'bootstrap', flags, config), bootstrap }
      finish(
        await keepRunning({
          io,
          flags,
          config,
          defaultDrainMs: DEFAULT_DRAIN_MS,
          begins: 'binding the UDP port',
          start: (signal) => createBootstrap({ ...options, signal }),
          ready: (node) => announce(io, flags.json === true, 'bootstrap', node, options.control)
        })
      )
    })
}
