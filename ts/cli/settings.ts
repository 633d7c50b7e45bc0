/** The flags that the long-running commands share, and the configuration that they make together with files and environment. */
import { existsSync } from 'node:fs'
import { type Command, Option } from 'commander'
import {
  type Config,
  defaultConfigFile,
  loadConfig,
  type PartialConfig,
  readConfigFile,
  type Surroundings,
  surroundings
} from '../config/index.js'
import { type Io, UsageError } from './io.js'

/** Values of the shared flags, as commander names them. */
export interface CommonFlags {
  readonly config?: string[]
  readonly bootstrap?: string[]
  readonly stateDir?: string
  readonly control?: string
  readonly listIntervalMs?: number
  readonly allowPrivate?: boolean
  readonly relaxedPrefixes?: boolean
  readonly logLevel?: PartialLog['level']
  readonly logFormat?: PartialLog['format']
  readonly drainMs?: number
  readonly json?: boolean
  readonly quiet?: boolean
}

type PartialLog = Config['log']

/** Adds each value of a repeatable flag. */
export const collect = (value: string, before: string[] | undefined): string[] => [...(before ?? []), value]

/** A whole number, or wrong usage. */
export function wholeNumber(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new UsageError(`expected a whole number, not '${text.slice(0, 40)}'`)
  return Number(text)
}

/** The flags of `run`, `relay`, `bootstrap` and `fetch`: which network, where the state is, what is said. */
export function networkFlags(command: Command): Command {
  return command
    .option('-c, --config <file>', 'configuration file; repeatable, later ones win', collect)
    .option('--bootstrap <key@ip:port>', 'a bootstrap node of the network; repeatable, name all of them', collect)
    .addOption(new Option('--log-level <level>', 'how much is logged to stderr').choices(['error', 'warn', 'info', 'debug', 'silent']))
    .addOption(new Option('--log-format <form>', 'how it is logged').choices(['text', 'json']))
    .option('--allow-private', 'test networks only: exits may reach loopback and private addresses')
    .option('--relaxed-prefixes', 'test networks only: paths may hold two relays of one address prefix')
    .option('--list-interval-ms <ms>', 'test networks only: how often the relay list is agreed; the same on every node', wholeNumber)
    .option('-q, --quiet', 'no progress lines')
}

/** The flags of what keeps running. */
export function daemonFlags(command: Command): Command {
  return networkFlags(command)
    .option('--state-dir <dir>', 'where keys, guards and lists are kept')
    .option('--control <path>', 'the control socket that `status` and `circuits` ask')
    .option('--drain-ms <ms>', 'how long streams may finish after SIGINT or SIGTERM; a second signal ends at once', wholeNumber)
    .option('--json', 'print events as JSON, one a line')
}

/** The configuration of one run. Without `--config` the default file counts, when there is one. */
export function configOf(io: Io, common: CommonFlags, flags: PartialConfig, place: Surroundings = surroundings()): Config {
  const environment = io.environment
  const named = common.config ?? (environment.ANONNET_CONFIG ? [environment.ANONNET_CONFIG] : undefined)
  const standard = defaultConfigFile({ ...place, environment })
  const files = named ?? (existsSync(standard) ? [standard] : [])
  const shared: PartialConfig = {
    network: { bootstrap: common.bootstrap },
    test_network: {
      allow_private: common.allowPrivate,
      relaxed_prefixes: common.relaxedPrefixes,
      list_interval_ms: common.listIntervalMs
    },
    log: { level: common.logLevel, format: common.logFormat }
  }
  return loadConfig({ files: files.map(readConfigFile), environment, flags: { ...shared, ...flags } }).config
}

/** The bootstrap list, or wrong usage that says how to give one. */
export function bootstrapOf(config: Config): string[] {
  if (config.network.bootstrap.length === 0) {
    throw new UsageError(
      'which network? Name all its bootstrap nodes: --bootstrap <public key>@ip:port for each, or a --config file with [network] bootstrap = […]'
    )
  }
  return config.network.bootstrap
}

/** `testNetwork` of the node options. */
export function testNetworkOf(config: Config): { allowPrivate: boolean; relaxedPrefixes: boolean; listIntervalMs?: number } {
  const { allow_private, relaxed_prefixes, list_interval_ms } = config.test_network
  return {
    allowPrivate: allow_private,
    relaxedPrefixes: relaxed_prefixes,
    ...(list_interval_ms === undefined ? {} : { listIntervalMs: list_interval_ms })
  }
}
