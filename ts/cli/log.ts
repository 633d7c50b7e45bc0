/** The log of a running command: pino to stderr, as JSON or as lines that a person and journald read. */
import { pino } from 'pino'
import type { Config } from '../config/index.js'
import { createLogger, type Logger, type LogLine, NO_LOGGER } from '../diagnostics/index.js'
import { type Io, paletteOf } from './io.js'

/** syslog's priorities, which journald takes from a line's head. */
const PRIORITY = { error: 3, warn: 4, info: 6, debug: 7 } as const

/** Seconds only: finer times in a log help who wants to match traffic. */
function now(): string {
  return new Date().toISOString().replace(/\.\d+Z$/, 'Z')
}

function textSink(io: Io): (line: LogLine) => void {
  const paint = paletteOf(io)
  const journal = io.environment.JOURNAL_STREAM !== undefined
  const colour = { error: paint.red, warn: paint.yellow, info: paint.green, debug: paint.dim } as const
  return ({ level, target, message, fields }) => {
    const rest = Object.entries(fields)
      .map(([name, value]) => ` ${name}=${typeof value === 'string' ? JSON.stringify(value) : String(value)}`)
      .join('')
    const head = journal ? `<${PRIORITY[level]}>` : `${now()} ${colour[level](level.padEnd(5))} `
    io.stderr.write(`${head}${target}: ${message}${rest}\n`)
  }
}

function jsonSink(io: Io): (line: LogLine) => void {
  const log = pino(
    { level: 'debug', base: null, timestamp: () => `,"time":"${now()}"`, formatters: { level: (label) => ({ level: label }) } },
    {
      write: (line: string) => io.stderr.write(line)
    }
  )
  return ({ level, target, message, fields }) => log[level]({ target, ...fields }, message)
}

/** The logger of a configuration. */
export function loggerOf(io: Io, { level, format }: Config['log']): Logger {
  if (level === 'silent') return NO_LOGGER
  return createLogger(format === 'json' ? jsonSink(io) : textSink(io), { level })
}
