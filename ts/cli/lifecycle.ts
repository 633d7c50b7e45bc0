/** The life of a command that keeps running: it starts, says so, waits for a signal, drains. */

import type { Config } from '../config/index.js'
import { onDiagnostic } from '../diagnostics/index.js'
import { type Io, paletteOf, printJson, say } from './io.js'
import type { CommonFlags } from './settings.js'

/** What is closed at the end. */
export interface Closable {
  close(options?: { drainMs?: number }): Promise<void>
}

/** Signals that come together are one: a terminal and npm may both pass on the same Ctrl-C. */
const SAME_SIGNAL_MS = 300

/** Why a running command ends. */
export type Ending = 'signal' | 'parent'

/** Listens for what ends a command; `release` takes the listeners away. */
export interface Endings {
  /** Aborted by the first signal, or when the process that started this one is gone. */
  readonly signal: AbortSignal
  /** Resolves with the same. */
  readonly ended: Promise<Ending>
  release(): void
}

/** Thrown out of a start that a signal ended. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted'
}

/** Catches SIGINT, SIGTERM and SIGHUP, and the end of the parent where there is a channel to it. A second signal ends the process at once. */
export function catchEndings(atOnce: () => void = () => process.exit(1)): Endings {
  const controller = new AbortController()
  let tell: (ending: Ending) => void
  let firstAt = 0
  const ended = new Promise<Ending>((resolve) => {
    tell = resolve
  })
  const end = (ending: Ending): void => {
    firstAt = Date.now()
    tell(ending)
    controller.abort(new Interrupted('interrupted'))
  }
  const onSignal = (): void => {
    if (firstAt === 0) end('signal')
    else if (Date.now() - firstAt > SAME_SIGNAL_MS) atOnce()
  }
  const onDisconnect = (): void => {
    if (firstAt === 0) end('parent')
    else atOnce()
  }
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
  for (const name of signals) process.on(name, onSignal)
  process.on('disconnect', onDisconnect)
  return {
    signal: controller.signal,
    ended,
    release: () => {
      for (const name of signals) process.off(name, onSignal)
      process.off('disconnect', onDisconnect)
    }
  }
}

/** Options of {@link keepRunning}. */
export interface Running<T extends Closable> {
  readonly io: Io
  readonly flags: CommonFlags
  readonly config: Config
  /** How long it drains where the flags say nothing. */
  readonly defaultDrainMs: number
  /** What it does first, for the progress line that comes before any answer. */
  readonly begins: string
  /** Starts it; the signal ends the start. */
  readonly start: (signal: AbortSignal) => Promise<T>
  /** Says that it runs. */
  readonly ready: (node: T) => void
}

/** Starts, prints progress, says when it is ready, waits for the end and drains. Exit code 0 also when a signal ended the start. */
export async function keepRunning<T extends Closable>({
  io,
  flags,
  config,
  defaultDrainMs,
  begins,
  start,
  ready
}: Running<T>): Promise<number> {
  const json = flags.json === true
  const quiet = flags.quiet === true
  const endings = catchEndings()
  const unsubscribe = narrate(io, json, quiet, config.log.level)
  // Nodes that wait for work do not keep a process alive; this one is meant to.
  const alive = setInterval(() => undefined, 2 ** 30)
  if (json) printJson(io, { event: 'starting', pid: process.pid })
  else if (!quiet) say(io, `  0 % (starting): ${begins}`)
  try {
    const node = await start(endings.signal)
    ready(node)
    const ending = await endings.ended
    if (!json && !quiet)
      say(io, ending === 'signal' ? 'closing; a second signal ends at once' : 'closing: the process that started this one is gone')
    await node.close({ drainMs: ending === 'parent' ? 0 : (flags.drainMs ?? defaultDrainMs) })
    return 0
  } catch (error) {
    if (error instanceof Interrupted) return 0
    throw error
  } finally {
    clearInterval(alive)
    unsubscribe()
    endings.release()
  }
}

/** Prints progress and warnings while a node runs, but for what its log says anyway; returns what ends that. */
export function narrate(io: Io, json: boolean, quiet: boolean, logLevel: Config['log']['level']): () => void {
  const paint = paletteOf(io)
  const ends: (() => void)[] = []
  const logs = (level: 'warn' | 'info'): boolean => logLevel === 'debug' || logLevel === 'info' || logLevel === level
  if (json) {
    ends.push(onDiagnostic('bootstrap', ({ percent, phase, summary }) => printJson(io, { event: 'bootstrap', percent, phase, summary })))
    ends.push(onDiagnostic('list:updated', ({ relays, validAfter }) => printJson(io, { event: 'list', relays, validAfter })))
    ends.push(onDiagnostic('warning', ({ code, message }) => printJson(io, { event: 'warning', code, message })))
  } else if (!quiet) {
    if (!logs('info')) {
      ends.push(
        onDiagnostic('bootstrap', ({ percent, phase, summary }) => say(io, `${String(percent).padStart(3)} % (${phase}): ${summary}`))
      )
    }
    if (!logs('warn')) ends.push(onDiagnostic('warning', ({ message }) => say(io, `${paint.yellow('warning')}: ${message}`)))
  }
  return () => {
    for (const end of ends) end()
  }
}
