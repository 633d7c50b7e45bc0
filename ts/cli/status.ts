/** `anonnet status` and `anonnet circuits`: what a running node says of itself. */
import type { Command } from 'commander'
import { controlPath, defaultStateDir, type Role } from '../config/index.js'
import { isAnonNetError } from '../errors/index.js'
import { type CircuitStatus, controlRequest, type NodeStatus } from '../node/index.js'
import { CommandFailed, type Io, printJson, printLine } from './io.js'

interface StatusFlags {
  readonly stateDir?: string
  readonly control?: string
  readonly json?: boolean
}

const ROLES: readonly Role[] = ['client', 'relay', 'bootstrap']

/** Asks the node that the flags name, or the first that runs from a default folder. */
export async function askNode(flags: StatusFlags, method: 'status' | 'circuits'): Promise<unknown> {
  const named = flags.control ?? (flags.stateDir === undefined ? undefined : controlPath(flags.stateDir))
  const paths = named === undefined ? ROLES.map((role) => controlPath(defaultStateDir(role))) : [named]
  for (const path of new Set(paths)) {
    try {
      return await controlRequest(path, method)
    } catch (error) {
      if (!isAnonNetError(error) || error.code !== 'ERR_ANONNET_NOT_FOUND') throw error
    }
  }
  throw new CommandFailed(
    named === undefined
      ? 'no node is running: start one with `anonnet run`, or say where it keeps its state with --state-dir'
      : 'no node answers there: is it running, and with the same --state-dir or --control?'
  )
}

/** Seconds, minutes, hours or days, whichever reads best. */
export function duration(ms: number): string {
  const seconds = Math.round(ms / 1_000)
  if (seconds < 120) return `${seconds} s`
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`
  if (seconds < 172_800) return `${Math.round(seconds / 3_600)} h`
  return `${Math.round(seconds / 86_400)} d`
}

/** Bytes in decimal units. */
export function size(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  const step = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(bytes, 1)) / 3)))
  return step === 0 ? `${bytes} B` : `${(bytes / 1_000 ** step).toFixed(1)} ${units[step]}`
}

/** `status` for a person. */
export function statusLines(status: NodeStatus): string[] {
  const lines = [
    `role         ${status.role} ${status.nodeId}`,
    `version      ${status.version}, protocol ${status.protocol}, pid ${status.pid}, up ${duration(status.uptimeMs)}`,
    `bootstrap    ${status.bootstrap.percent} % (${status.bootstrap.phase}): ${status.bootstrap.summary}`
  ]
  if (status.address !== null) lines.push(`address      UDP ${status.address}`)
  if (status.list !== null)
    lines.push(`relay list   ${status.list.relays} relays, valid until ${new Date(status.list.validUntil * 1_000).toISOString()}`)
  if (status.role === 'client') {
    lines.push(`circuits     ${status.circuits.ready} ready, ${status.circuits.building} being built, ${status.circuits.streams} streams`)
    for (const address of status.proxies) lines.push(`proxy        SOCKS5 and HTTP on ${address}`)
  }
  if (status.relay !== null) {
    lines.push(
      `relaying     ${status.relay.circuits} circuits, ${size(status.relay.bytesForwarded)} forwarded, ${status.relay.exitStreams} exit streams`
    )
    lines.push(`handshakes   ${status.relay.handshakes} done, ${status.relay.handshakesRefused} refused`)
  }
  lines.push(`links        ${status.links}`)
  return lines
}

/** `circuits` for a person. */
export function circuitLines(circuits: readonly CircuitStatus[]): string[] {
  if (circuits.length === 0) return ['no circuits']
  return circuits.flatMap((circuit) => [
    `circuit ${circuit.id}: ${circuit.ready ? 'ready' : 'being built'}, ${duration(circuit.ageMs)} old, ${circuit.streams} streams, ${size(circuit.bytesRead)} down, ${size(circuit.bytesWritten)} up`,
    ...circuit.hops.map((hop, index) => `  ${index + 1}. ${hop.nodeId.slice(0, 16)}…${hop.address === null ? '' : ` at ${hop.address}`}`)
  ])
}

function controlFlags(command: Command): Command {
  return command
    .option('--state-dir <dir>', 'the state folder of the node')
    .option('--control <path>', 'its control socket, where it is not in that folder')
    .option('--json', 'print JSON')
}

/** Adds `status` and `circuits`. */
export function statusCommands(program: Command, io: Io): void {
  controlFlags(program.command('status'))
    .description('say how a running node is')
    .addHelpText('after', '\nExample:\n  $ anonnet status --json\n')
    .action(async (flags: StatusFlags) => {
      const status = (await askNode(flags, 'status')) as NodeStatus
      if (flags.json) printJson(io, status)
      else for (const line of statusLines(status)) printLine(io, line)
    })
  controlFlags(program.command('circuits'))
    .description('list the circuits of a running client, with their hops')
    .addHelpText('after', '\nExample:\n  $ anonnet circuits\n')
    .action(async (flags: StatusFlags) => {
      const circuits = (await askNode(flags, 'circuits')) as CircuitStatus[]
      if (flags.json) printJson(io, circuits)
      else for (const line of circuitLines(circuits)) printLine(io, line)
    })
}
