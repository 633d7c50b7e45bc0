/** What a command may touch of its surroundings; tests give their own. */
import type { Writable } from 'node:stream'
import colours from 'picocolors'
import { isAnonNetError } from '../errors/index.js'

type Palette = ReturnType<typeof colours.createColors>

/** The surroundings of one run of the command. */
export interface Io {
  /** Data, and nothing else. */
  readonly stdout: Writable
  /** Messages, progress, logs. */
  readonly stderr: Writable
  readonly environment: Readonly<Record<string, string | undefined>>
  /** Whether stderr is a terminal. */
  readonly terminal: boolean
}

/** This process's surroundings. */
export function processIo(): Io {
  return { stdout: process.stdout, stderr: process.stderr, environment: process.env, terminal: process.stderr.isTTY === true }
}

/** Whether to colour: only on a terminal and never with NO_COLOR, CLICOLOR=0 or TERM=dumb; FORCE_COLOR colours a pipe as well. */
export function wantsColour(io: Io): boolean {
  const { NO_COLOR, FORCE_COLOR, CLICOLOR, TERM } = io.environment
  if (NO_COLOR !== undefined && NO_COLOR !== '') return false
  if (FORCE_COLOR !== undefined && FORCE_COLOR !== '') return FORCE_COLOR !== '0'
  return io.terminal && CLICOLOR !== '0' && TERM !== 'dumb'
}

/** The colours of a run: plain text where colours are not wanted. */
export function paletteOf(io: Io): Palette {
  return colours.createColors(wantsColour(io))
}

/** Wrong usage: exit code 2. The message is for a person and may name what was typed. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** A failure of the command itself, told in one sentence: exit code 1. */
export class CommandFailed extends Error {
  override readonly name = 'CommandFailed'
  readonly code: string

  constructor(message: string, code = 'ERR_ANONNET_NOT_FOUND') {
    super(message)
    this.code = code
  }
}

const USAGE_CODES: ReadonlySet<string> = new Set([
  'ERR_ANONNET_CONFIG_INVALID',
  'ERR_ANONNET_INVALID_ARGUMENT',
  'ERR_ANONNET_INVALID_ADDRESS',
  'ERR_ANONNET_SERVICE_ADDRESS'
])

/** The exit code of an error: 2 for what was typed wrong, else 1. */
export function exitCodeOf(error: unknown): 1 | 2 {
  if (error instanceof UsageError) return 2
  return isAnonNetError(error) && USAGE_CODES.has(error.code) ? 2 : 1
}

/** What `--json` prints of an error. */
export function errorObject(error: unknown): { error: { code: string; message: string } } {
  if (error instanceof UsageError) return { error: { code: 'ERR_ANONNET_INVALID_ARGUMENT', message: error.message } }
  if (error instanceof CommandFailed || isAnonNetError(error)) return { error: { code: error.code, message: error.message } }
  return { error: { code: 'ERR_ANONNET_INTERNAL', message: error instanceof Error ? error.message : String(error) } }
}

/** Writes one line of data. */
export function printLine(io: Io, text: string): void {
  io.stdout.write(`${text}\n`)
}

/** Writes one JSON value on a line of its own. */
export function printJson(io: Io, value: unknown): void {
  printLine(io, JSON.stringify(value))
}

/** Writes one line for a person. */
export function say(io: Io, text: string): void {
  io.stderr.write(`${text}\n`)
}
