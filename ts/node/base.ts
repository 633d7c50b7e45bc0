/**
 * What the three kinds of node have in common: the native node, the state directory, events, the control socket, the end.
 */

import { createDiagnostics, type Diagnostics, type EventStream, type Logger, NO_LOGGER } from '../diagnostics/index.js'
import type { Signer } from '../directory/types.js'
import { errorFromCode, wrapError } from '../errors/index.js'
import { Engine, type EngineEvent, type Hold, type NativeNodeOptions, version } from '../native/index.js'
import { type ControlHandlers, type ControlServer, serveControl } from './control.js'
import type { CommonOptions } from './options.js'
import { StateDir } from './state.js'
import type { BootstrapStatus, CircuitStatus, NodeRole, NodeStatus } from './status.js'

/** How a node is closed. */
export interface CloseOptions {
  /** How long what runs may go on, in milliseconds. */
  drainMs?: number
}

/** The parts that a node is made around. */
export interface Core {
  role: NodeRole
  engine: Engine
  diagnostics: Diagnostics
  log: Logger
  state: StateDir | undefined
}

/** Tells of something that an operator should know. */
export function warn(core: Pick<Core, 'diagnostics' | 'log'>, error: unknown, message: string): void {
  const { code } = wrapError(error)
  core.diagnostics.emit('warning', { code, message })
  core.log.warn(message, { code })
}

/**
 * Opens the state directory and starts the native node.
 *
 * @throws ERR_ANONNET_STORE_FAILED, _BIND_FAILED, _KEY_*, _CONFIG_INVALID.
 */
export async function openCore(
  role: NodeRole,
  options: Pick<CommonOptions, 'stateDir' | 'logger' | 'signal' | 'testNetwork'>,
  native: (state: StateDir | undefined) => NativeNodeOptions
): Promise<Core> {
  const state = options.stateDir === undefined ? undefined : await StateDir.open(options.stateDir)
  const diagnostics = createDiagnostics()
  const log = options.logger ?? NO_LOGGER
  try {
    options.signal?.throwIfAborted()
    const fromRoom = { allowPrivate: options.testNetwork?.allowPrivate ?? false, ...native(state) }
    const engine = new Engine(fromRoom, (error) => warn({ diagnostics, log }, error, 'an event could not be handled'))
    return { role, engine, diagnostics, log, state }
  } catch (error) {
    diagnostics.close()
    await state?.release()
    throw error
  }
}

/** The engine's identity as the directory signs with it. */
export function signerOf(engine: Engine): Signer {
  return { publicKey: Uint8Array.from(engine.publicKey), sign: (message) => engine.sign(message) }
}

/** A running node. */
export abstract class BaseNode implements AsyncDisposable {
  /** @internal */
  protected readonly core: Core
  readonly #startedMs = performance.now()
  readonly #nodeId: string
  #control: ControlServer | undefined
  #holds: Hold[] = []
  #bootstrap: BootstrapStatus = { percent: 0, phase: 'starting', summary: 'starting' }
  #closing: Promise<void> | undefined

  /** @internal */
  constructor(core: Core) {
    this.core = core
    this.#nodeId = core.engine.nodeId
  }

  /** 64 hex digits. A client's changes with every start: it is known to nobody. */
  get nodeId(): string {
    return this.#nodeId
  }

  /** True from the first call of `close`. */
  get closed(): boolean {
    return this.#closing !== undefined
  }

  /** Plain numbers of now. */
  abstract status(): NodeStatus

  /** Circuits that this node built as a client. */
  circuits(): CircuitStatus[] {
    return []
  }

  /**
   * What happens from now on, typed; see `DiagnosticEvent`. A slow reader loses the oldest (`dropped` counts them).
   * Ends when the node closes. Reading does not keep the process alive.
   *
   * @throws ERR_ANONNET_RESOURCE_LIMIT for more than 64 readers; `next()` rejects with the signal's reason.
   */
  events(options: { signal?: AbortSignal } = {}): EventStream {
    return this.core.diagnostics.events(options)
  }

  /** Lets pending operations, open streams and listeners keep the process alive (the default). */
  ref(): this {
    this.core.engine.keepAlive.enable(true)
    return this
  }

  /** Lets the process end whatever this node does. */
  unref(): this {
    this.core.engine.keepAlive.enable(false)
    return this
  }

  /** Ends streams, circuits, listeners and links; resolves when nothing is left. May be called again. */
  close(options: CloseOptions = {}): Promise<void> {
    this.#closing ??= this.#close(options.drainMs)
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** What a subclass stops before the native node closes. @internal */
  protected abstract stop(): Promise<void>

  /** How long `close` drains when it is not told. @internal */
  protected get defaultDrainMs(): number {
    return 0
  }

  /** @internal */
  protected hold(): void {
    this.#holds.push(this.core.engine.keepAlive.hold())
  }

  /** Throws ERR_ANONNET_CLOSED. @internal */
  protected assertOpen(): void {
    if (this.closed) throw errorFromCode('ERR_ANONNET_CLOSED')
  }

  /** @internal */
  protected get bootstrapStatus(): BootstrapStatus {
    return this.#bootstrap
  }

  /** @internal */
  protected progress(percent: number, phase: BootstrapStatus['phase'], summary: string): void {
    if (percent <= this.#bootstrap.percent) return
    this.#bootstrap = { percent, phase, summary }
    this.core.diagnostics.emit('bootstrap', { percent, phase, summary })
    this.core.log.info(summary, { percent })
  }

  /** @internal */
  protected baseStatus(): Omit<NodeStatus, 'address' | 'list' | 'circuits' | 'proxies' | 'relay'> {
    const snapshot = this.core.engine.snapshot()
    const addon = version()
    return {
      role: this.core.role,
      nodeId: this.#nodeId,
      version: addon.version,
      protocol: addon.protocol,
      pid: process.pid,
      uptimeMs: Math.round(performance.now() - this.#startedMs),
      bootstrap: this.#bootstrap,
      proxy: snapshot.proxy,
      links: snapshot.links.length
    }
  }

  /** @internal */
  protected async openControl(path: string | undefined): Promise<void> {
    if (path === undefined) return
    const handlers: ControlHandlers = { status: () => this.status(), circuits: () => this.circuits() }
    this.#control = await serveControl(path, handlers)
  }

  /** Events that mean the same for every kind of node; returns false for the others. @internal */
  protected onCommonEvent(event: EngineEvent): boolean {
    const { diagnostics } = this.core
    if (event.type === 'linkUp' || event.type === 'linkDown') {
      diagnostics.emit('link', { state: event.type === 'linkUp' ? 'up' : 'down', authenticated: event.authenticated, code: event.code })
      return true
    }
    if (event.type === 'bug') {
      warn(this.core, errorFromCode(event.code), `a bug of AnonNet was caught at ${event.text}`)
      return true
    }
    return false
  }

  async #close(drainMs: number | undefined): Promise<void> {
    const { engine, diagnostics, state } = this.core
    try {
      await this.stop()
      await this.#control?.close()
      await engine.close(drainMs ?? this.defaultDrainMs)
    } finally {
      for (const hold of this.#holds) hold.release()
      await state?.release()
      diagnostics.emit('closed', {})
      diagnostics.close()
    }
  }
}

/** Makes a node of its parts and runs its start; a failed one leaves nothing behind. */
export async function launch<T extends BaseNode & { begin(): Promise<void> }>(core: Core, make: () => T | Promise<T>): Promise<T> {
  let node: T
  try {
    node = await make()
  } catch (error) {
    await core.engine.close(0)
    core.diagnostics.close()
    await core.state?.release()
    throw error
  }
  try {
    await node.begin()
    return node
  } catch (error) {
    await node.close({ drainMs: 0 }).catch(() => undefined)
    throw error
  }
}
