/** `anonnet run`: a client with its proxies. */
import { readFileSync, statSync } from 'node:fs'
import type { Command } from 'commander'
import { type Config, controlPath, defaultStateDir, MAX_OPTION_MS, splitAddress } from '../config/index.js'
import { errorFromCode, isAnonNetError } from '../errors/index.js'
import { type AnonNode, createNode, type NodeOptions } from '../node/index.js'
import { CommandFailed, type Io, paletteOf, printJson, printLine, say, UsageError } from './io.js'
import { keepRunning } from './lifecycle.js'
import { loggerOf } from './log.js'
import { bootstrapOf, type CommonFlags, collect, configOf, daemonFlags, testNetworkOf } from './settings.js'

/** Where the proxies listen when nothing else is said. Not Tor's port: both may run on one machine. */
export const DEFAULT_PROXY_ADDRESS = '127.0.0.1:9550'
/** How long streams may finish after a signal, in milliseconds. */
const DEFAULT_DRAIN_MS = 5_000

interface RunFlags extends CommonFlags {
  readonly socks?: string[]
  readonly http?: string[]
  readonly serviceKey?: string[]
}

/** The listeners: one that speaks both protocols for each address, whichever flag named it. */
export function proxyAddresses({ socks, http }: Config['client']): string[] {
  const all = [...new Set([...socks, ...http])]
  return all.length === 0 ? [DEFAULT_PROXY_ADDRESS] : all
}

function isLoopback(address: string): boolean {
  const host = splitAddress(address)?.host ?? ''
  return host.startsWith('127.') || host === '::1'
}

function announce(io: Io, json: boolean, node: AnonNode, control: string): void {
  const proxies = node.proxies.map((proxy) => proxy.address)
  if (json) {
    printJson(io, { event: 'ready', role: 'client', nodeId: node.nodeId, proxies, control, pid: process.pid })
    return
  }
  for (const address of proxies) printLine(io, `SOCKS5 and HTTP proxy: ${address}`)
  const first = proxies[0]
  if (first !== undefined)
    say(io, paletteOf(io).dim(`try: curl --socks5-hostname ${first} http://example.org/   or: curl -x http://${first} http://example.org/`))
}

/** '<address>=<file>' of each key. Throws UsageError, ERR_ANONNET_KEY_PERMISSIONS. */
function serviceKeysOf(given: readonly string[]): [address: string, key: string][] {
  return given.map((text) => {
    const at = text.indexOf('=')
    if (at < 0) throw new UsageError('--service-key expects address=file')
    return [text.slice(0, at), secretIn(text.slice(at + 1))]
  })
}

/** A secret is read from a file: command lines can be read by others. */
function secretIn(path: string): string {
  try {
    if (process.platform !== 'win32' && (statSync(path).mode & 0o077) !== 0) throw errorFromCode('ERR_ANONNET_KEY_PERMISSIONS')
    return readFileSync(path, 'utf8').trim()
  } catch (error) {
    throw isAnonNetError(error) ? error : new CommandFailed('the file of a service key could not be read', 'ERR_ANONNET_STORE_FAILED')
  }
}

/** Starts a client that knows the keys before its first proxy client can ask. */
async function startClient(keys: readonly (readonly [string, string])[], options: NodeOptions): Promise<AnonNode> {
  const node = await createNode(options)
  try {
    for (const [address, key] of keys) node.authorize(address, key)
    return node
  } catch (error) {
    await node.close({ drainMs: 0 })
    throw error
  }
}

/** Adds `run`. */
export function runCommand(program: Command, io: Io, finish: (code: number) => void): void {
  const run = program
    .command('run')
    .description('run a client with SOCKS5 and HTTP proxies')
    .option('--socks <ip:port>', `where the SOCKS5 proxy listens; repeatable (default ${DEFAULT_PROXY_ADDRESS})`, collect)
    .option('--http <ip:port>', 'where the HTTP proxy listens; every listener speaks both, so this may be the same address', collect)
    .option(
      '--service-key <address=file>',
      'the secret key of `anonnet keys auth` for a service, in a file of mode 0600; repeatable',
      collect
    )
  daemonFlags(run)
    .addHelpText('after', '\nExample:\n  $ anonnet run --config network.toml --socks 127.0.0.1:9550 --http 127.0.0.1:9551\n')
    .action(async (flags: RunFlags) => {
      const config = configOf(io, flags, { client: { socks: flags.socks, http: flags.http, state_dir: flags.stateDir } })
      const bootstrap = bootstrapOf(config)
      const stateDir = config.client.state_dir ?? defaultStateDir('client')
      const control = flags.control ?? controlPath(stateDir)
      const proxy = proxyAddresses(config.client)
      const keys = serviceKeysOf(flags.serviceKey ?? [])
      for (const address of proxy.filter((item) => !isLoopback(item))) {
        say(
          io,
          `${paletteOf(io).yellow('warning')}: ${address} is not loopback: who can reach it can use this proxy, and the way to it is not protected`
        )
      }
      finish(
        await keepRunning({
          io,
          flags,
          config,
          defaultDrainMs: DEFAULT_DRAIN_MS,
          begins: 'asking the bootstrap nodes for the relay list',
          start: (signal) =>
            startClient(keys, {
              bootstrap,
              stateDir,
              control,
              proxy,
              signal,
              logger: loggerOf(io, config.log),
              testNetwork: testNetworkOf(config),
              // Started before the network is, at boot for example, it waits; a signal ends that.
              readyTimeoutMs: MAX_OPTION_MS
            }),
          ready: (node) => announce(io, flags.json === true, node, control)
        })
      )
    })
}
