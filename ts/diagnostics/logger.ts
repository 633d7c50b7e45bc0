/** Log lines: an interface that is silent unless somebody gives a sink. Pino and the like live in the CLI. */
import { scrub } from '../errors/index.js'
import type { LogLevel } from './types.js'

/** The order of the levels: a logger writes its own level and the ones before it. */
export const LOG_LEVELS = ['error', 'warn', 'info', 'debug'] as const satisfies readonly LogLevel[]

/** A value that a line at info or above must not show: an address, a target, a path, a node id. */
export class Sensitive {
  readonly #value: string | number

  constructor(value: string | number) {
    this.#value = value
  }

  /** The value, for a line at debug level. */
  reveal(): string | number {
    return this.#value
  }

  toString(): string {
    return SCRUBBED
  }

  toJSON(): string {
    return SCRUBBED
  }
}

/** What stands in for a {@link Sensitive} value. */
export const SCRUBBED = '[scrubbed]'

/** Marks a value as not to be shown at info or above. */
export function sensitive(value: string | number): Sensitive {
  return new Sensitive(value)
}

/** What a line carries besides its text. */
export type LogFields = Readonly<Record<string, string | number | boolean | Sensitive | undefined>>

/** A line as a sink gets it. */
export interface LogLine {
  readonly level: LogLevel
  /** The room that wrote it, for example 'churn'. */
  readonly target: string
  readonly message: string
  readonly fields: Readonly<Record<string, string | number | boolean>>
}

/** Where the rooms write to. */
export interface Logger {
  error(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  debug(message: string, fields?: LogFields): void
  /** The same sink for another room. */
  child(target: string): Logger
}

const nothing = (): void => {}

/** Says nothing; the default everywhere. */
export const NO_LOGGER: Logger = Object.freeze({ error: nothing, warn: nothing, info: nothing, debug: nothing, child: () => NO_LOGGER })

function shown(level: LogLevel, fields: LogFields): LogLine['fields'] {
  const result: Record<string, string | number | boolean> = {}
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined) continue
    if (value instanceof Sensitive) result[name] = level === 'debug' ? value.reveal() : SCRUBBED
    else result[name] = typeof value === 'string' && level !== 'debug' ? scrub(value) : value
  }
  return result
}

/**
 * A logger over a sink. At info and above, sensitive values are hidden and texts are scrubbed of addresses, keys and paths, also in
 * messages. A sink that throws does not disturb the node.
 */
export function createLogger(sink: (line: LogLine) => void, options: { readonly level?: LogLevel; readonly target?: string } = {}): Logger {
  const target = options.target ?? 'anonnet'
  const most = LOG_LEVELS.indexOf(options.level ?? 'info')
  const at = (level: LogLevel) => {
    if (LOG_LEVELS.indexOf(level) > most) return nothing
    return (message: string, fields: LogFields = {}): void => {
      try {
        sink({ level, target, message: level === 'debug' ? message : scrub(message), fields: shown(level, fields) })
      } catch {
        // A log line is not worth a circuit.
      }
    }
  }
  return {
    error: at('error'),
    warn: at('warn'),
    info: at('info'),
    debug: at('debug'),
    child: (name) => createLogger(sink, { ...options, target: name })
  }
}
