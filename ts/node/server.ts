/**
 * What relays and bootstrap nodes have in common: a listener, an identity, requests to answer.
 */

import { errorFromCode } from '../errors/index.js'
import type { EngineEvent, NativeNodeOptions } from '../native/index.js'
import { formatBootstrap } from './address.js'
import { BaseNode, type Core, openCore, warn } from './base.js'
import { advertised, type ServerOptions } from './options.js'
import { RpcRouter } from './rpc.js'
import type { StateDir } from './state.js'

/** Name of the key file in the state directory. */
export const IDENTITY_FILE = 'identity.key'

type NativeServerOptions = Pick<ServerOptions, 'listen' | 'identity' | 'passphrase' | 'bandwidth'>

function nativeOptions(options: NativeServerOptions, state: StateDir | undefined): NativeNodeOptions {
  const native: NativeNodeOptions = { listen: options.listen }
  const identity = options.identity ?? state?.file(IDENTITY_FILE)
  if (identity !== undefined) native.identity = identity
  if (options.passphrase !== undefined) native.passphrase = Buffer.from(options.passphrase)
  if (options.bandwidth !== undefined && options.bandwidth.rate > 0) {
    native.bandwidthRate = options.bandwidth.rate
    // A second's worth, unless told otherwise.
    native.bandwidthBurst = options.bandwidth.burst ?? options.bandwidth.rate
  }
  return native
}

/** As `openCore`, with what a listener needs. */
export function openServerCore(
  role: 'relay' | 'bootstrap',
  options: NativeServerOptions & Pick<ServerOptions, 'stateDir' | 'logger' | 'signal' | 'testNetwork'>,
  more: Pick<NativeNodeOptions, 'roles' | 'exitPolicy'>
): Promise<Core> {
  return openCore(role, options, (state) => ({ ...nativeOptions(options, state), ...more }))
}

/** A node that others reach. */
export abstract class ServerNode extends BaseNode {
  /** @internal */
  protected readonly router: RpcRouter
  readonly #address: string
  readonly #publicKey: Uint8Array

  /** @internal */
  constructor(core: Core, options: Pick<ServerOptions, 'advertise'>) {
    super(core)
    const bound = core.engine.localAddress
    if (bound === undefined) throw errorFromCode('ERR_ANONNET_INTERNAL', { detail: 'a server without an address' })
    this.#address = advertised(options, bound)
    this.#publicKey = Uint8Array.from(core.engine.publicKey)
    this.router = new RpcRouter(core.engine)
    this.hold()
    core.engine.listen((event) => this.#onEvent(event))
  }

  /** The UDP address that others use, 'ip:port'. */
  get address(): string {
    return this.#address
  }

  /** Ed25519, 32 bytes. */
  get publicKey(): Uint8Array {
    return Uint8Array.from(this.#publicKey)
  }

  /** This node as an entry of a bootstrap list: 'hex@ip:port'. */
  get entry(): string {
    return formatBootstrap(this.#publicKey, this.#address)
  }

  /** @internal */
  protected warn(error: unknown, message: string): void {
    if (!this.closed) warn(this.core, error, message)
  }

  #onEvent(event: EngineEvent): void {
    if (event.type === 'rpcRequest') void this.router.handle(event)
    else this.onCommonEvent(event)
  }
}
