/** The processes of the demo: each started by this one, each ended by its id, whatever happens. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { isSingleExecutable } from '../../native/index.js'
import { CommandFailed } from '../io.js'

/** How long a process may take to drain before it is killed, in milliseconds. */
const STOP_DEADLINE_MS = 4_000
/** Last lines of a process's stderr that are kept for the error message. */
const KEPT_LINES = 12
/** Events that are kept for who asks later. */
const KEPT_EVENTS = 256

/** An event line of a child: one JSON object with `event`. */
export interface ChildEvent {
  readonly event: string
  readonly [field: string]: unknown
}

/** Whether a process is part of the network or uses it. */
export type Kind = 'server' | 'user'

/** One running process. */
export class Child {
  readonly name: string
  readonly kind: Kind
  readonly pid: number
  readonly #process: ChildProcess
  readonly #seen: ChildEvent[] = []
  readonly #said: string[] = []
  readonly #waiters = new Set<() => void>()
  #ended: string | undefined

  constructor(name: string, args: readonly string[], kind: Kind) {
    this.name = name
    this.kind = kind
    // The channel ties the child to this process: when this one is gone, even by kill -9, the child ends itself.
    // A single executable is its own script.
    const script = isSingleExecutable() ? [] : [...process.execArgv, process.argv[1] ?? '']
    this.#process = spawn(process.execPath, [...script, ...args], {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc']
    })
    this.pid = this.#process.pid ?? 0
    if (this.#process.stdout !== null) createInterface(this.#process.stdout).on('line', (line) => this.#line(line))
    if (this.#process.stderr !== null) {
      createInterface(this.#process.stderr).on('line', (line) => {
        this.#said.push(line)
        if (this.#said.length > KEPT_LINES) this.#said.shift()
      })
    }
    this.#process.once('error', (error) => this.#end(`could not be started (${error.message})`))
    this.#process.once('exit', (code, signal) => this.#end(`ended with ${signal ?? `code ${code}`}`))
  }

  /** How it ended; undefined while it runs. */
  get ended(): string | undefined {
    return this.#ended
  }

  #line(line: string): void {
    if (!line.startsWith('{')) return
    try {
      this.#seen.push(JSON.parse(line) as ChildEvent)
      if (this.#seen.length > KEPT_EVENTS) this.#seen.shift()
    } catch {
      return // half a line of a process that was killed
    }
    this.#wake()
  }

  #end(how: string): void {
    this.#ended ??= how
    this.#wake()
  }

  #wake(): void {
    for (const waiter of this.#waiters) waiter()
  }

  /** The error that tells how it ended, with its last words. */
  failure(): CommandFailed {
    const words = this.#said.length === 0 ? '' : `; it said:\n${this.#said.map((line) => `    ${line}`).join('\n')}`
    return new CommandFailed(`${this.name} ${this.#ended ?? 'does not answer'}${words}`, 'ERR_ANONNET_INTERNAL')
  }

  /** Resolves with the first event, past or to come, that fits. */
  async waitFor(fits: (event: ChildEvent) => boolean, signal: AbortSignal, deadlineMs: number): Promise<ChildEvent> {
    const deadline = AbortSignal.timeout(deadlineMs)
    for (;;) {
      const found = this.#seen.find(fits)
      if (found !== undefined) return found
      signal.throwIfAborted()
      if (this.#ended !== undefined || deadline.aborted) throw this.failure()
      await new Promise<void>((resolve) => {
        const go = (): void => {
          this.#waiters.delete(go)
          signal.removeEventListener('abort', go)
          deadline.removeEventListener('abort', go)
          resolve()
        }
        this.#waiters.add(go)
        signal.addEventListener('abort', go, { once: true })
        deadline.addEventListener('abort', go, { once: true })
      })
    }
  }

  /** Asks it to drain, and kills it when it does not. */
  async stop(): Promise<void> {
    if (this.#ended !== undefined || this.pid === 0) return
    const gone = once(this.#process, 'exit')
    this.#process.kill('SIGTERM')
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), STOP_DEADLINE_MS)
    await gone
    clearTimeout(timer)
  }

  /** Kills it now, without waiting: for the way out of a crash. */
  kill(): void {
    if (this.#ended === undefined && this.pid !== 0) this.#process.kill('SIGKILL')
  }
}

/** All processes of one demo. */
export class Children {
  readonly #all: Child[] = []
  readonly #atExit = (): void => this.kill()

  constructor() {
    process.on('exit', this.#atExit)
  }

  start(name: string, args: readonly string[], kind: Kind = 'server'): Child {
    const child = new Child(name, args, kind)
    this.#all.push(child)
    return child
  }

  /** A process that ended although nobody told it to. */
  fallen(): Child | undefined {
    return this.#all.find((child) => child.ended !== undefined)
  }

  get count(): number {
    return this.#all.length
  }

  /** Ends all: first what uses the network, so that the relays have no circuits left to drain. */
  async stop(): Promise<void> {
    const users = this.#all.filter(({ kind }) => kind === 'user')
    await Promise.all(users.map((child) => child.stop()))
    await Promise.all(this.#all.map((child) => child.stop()))
    process.off('exit', this.#atExit)
  }

  kill(): void {
    for (const child of this.#all) child.kill()
  }
}
