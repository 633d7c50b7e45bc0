/** `anonnet service`: publishes local ports as a `.anon` service. */
import { join } from 'node:path'
import type { Command } from 'commander'
import { controlPath, defaultStateDir, MAX_OPTION_MS, splitAddress } from '../config/index.js'
import { createNode, type Service } from '../node/index.js'
import { type Io, paletteOf, printJson, printLine, say, UsageError } from './io.js'
import { type Closable, keepRunning } from './lifecycle.js'
import { loggerOf } from './log.js'
import { bootstrapOf, type CommonFlags, collect, configOf, daemonFlags, testNetworkOf } from './settings.js'

const DEFAULT_PORT = 80
/** How long streams may finish after a signal, in milliseconds. */
const DEFAULT_DRAIN_MS = 5_000

interface ServiceFlags extends CommonFlags {
  readonly target: string[]
  readonly key?: string
  readonly auth?: string[]
}

/** '[PORT:]IP:PORT' of each target as virtual port → address. Wrong usage throws UsageError. */
export function targetsOf(targets: readonly string[]): Record<number, string> {
  const ports: Record<number, string> = {}
  for (const text of targets) {
    const [, virtual, address = ''] = /^(?:(\d{1,5}):)?((?:\[[^\]]*\]|[^:[\]]+):\d{1,5})$/.exec(text) ?? []
    const port = virtual === undefined ? DEFAULT_PORT : Number(virtual)
    if (splitAddress(address) === undefined) throw new UsageError(`--target expects [virtual port:]ip:port, not '${text.slice(0, 60)}'`)
    if (port < 1 || port > 65_535) throw new UsageError('a virtual port is a number from 1 to 65535')
    if (ports[port] !== undefined) throw new UsageError(`two targets for the virtual port ${port}`)
    ports[port] = address
  }
  return ports
}

function announce(io: Io, json: boolean, service: Service): void {
  const { address, ports } = service
  if (json) {
    printJson(io, { event: 'ready', role: 'service', address, ports, pid: process.pid })
    return
  }
  printLine(io, address)
  const [first = DEFAULT_PORT] = ports
  const where = first === DEFAULT_PORT ? `http://${address}/` : `${address}:${first}`
  say(io, paletteOf(io).dim(`reachable by others now, for example: curl --socks5-hostname 127.0.0.1:9550 ${where}`))
}

/** Adds `service`. */
export function serviceCommand(program: Command, io: Io, finish: (code: number) => void): void {
  const service = program
    .command('service')
    .description('publish local ports as a .anon service, and print its address once others can reach it')
    .requiredOption('--target <[port:]ip:port>', 'virtual port and where its streams go; repeatable (default port: 80)', collect)
    .option('--key <dir>', 'the folder of the key file service.key, made when absent (default: the state folder)')
    .option('--auth <key>', 'a client key that may reach it, from `anonnet keys auth`; repeatable; without it everybody may', collect)
  daemonFlags(service)
    .addHelpText('after', '\nExample:\n  $ anonnet service --target 127.0.0.1:8080 --target 22:127.0.0.1:22\n')
    .action(async (flags: ServiceFlags) => {
      const ports = targetsOf(flags.target)
      const config = configOf(io, flags, {})
      const bootstrap = bootstrapOf(config)
      const stateDir = flags.stateDir ?? join(defaultStateDir('client'), 'service')
      const start = async (signal: AbortSignal): Promise<Closable & { readonly service: Service }> => {
        const node = await createNode({
          bootstrap,
          stateDir,
          control: flags.control ?? controlPath(stateDir),
          signal,
          logger: loggerOf(io, config.log),
          testNetwork: testNetworkOf(config),
          // Started before the network is, at boot for example, it waits; a signal ends that.
          readyTimeoutMs: MAX_OPTION_MS
        })
        try {
          const published = await node.listen({
            ports,
            stateDir: flags.key ?? stateDir,
            signal,
            timeoutMs: MAX_OPTION_MS,
            ...(flags.auth === undefined ? {} : { auth: flags.auth })
          })
          return { service: published, close: (options) => node.close(options) }
        } catch (error) {
          await node.close({ drainMs: 0 })
          throw error
        }
      }
      finish(
        await keepRunning({
          io,
          flags,
          config,
          defaultDrainMs: DEFAULT_DRAIN_MS,
          begins: 'asking the bootstrap nodes for the relay list',
          start,
          ready: (running) => announce(io, flags.json === true, running.service)
        })
      )
    })
}
