/** Keys, descriptors and an in-memory network of bootstrap nodes on a clock that the test moves. */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign, verify as verifySignature } from 'node:crypto'
import type { BootstrapNode } from '../../../ts/directory/agreement.js'
import { BootstrapDirectory } from '../../../ts/directory/bootstrap.js'
import { issueDescriptor } from '../../../ts/directory/descriptor.js'
import type { Peer, RelayDescriptor, RpcCall, RpcOrigin, Signer, Verify } from '../../../ts/directory/types.js'
import { errorFromCode, isAnonNetError } from '../../../ts/errors/index.js'
import { decodeCbor, encodeCbor, nodeIdOf } from '../../../ts/wire/index.js'

const PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex')
const SPKI = Buffer.from('302a300506032b6570032100', 'hex')

/** An Ed25519 key; with `seed` always the same one. */
export function makeSigner(seed?: number): Signer {
  let key: KeyObject
  if (seed === undefined) {
    key = generateKeyPairSync('ed25519').privateKey
  } else {
    const bytes = Buffer.alloc(32)
    bytes.writeUInt32BE(seed, 0)
    key = createPrivateKey({ key: Buffer.concat([PKCS8, bytes]), format: 'der', type: 'pkcs8' })
  }
  const publicKey = new Uint8Array(createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(12))
  return { publicKey, sign: (message) => new Uint8Array(sign(null, message, key)) }
}

const publicKeys = new Map<string, KeyObject>()

export const verify: Verify = (publicKey, message, signature) => {
  try {
    const name = Buffer.from(publicKey).toString('hex')
    const key = publicKeys.get(name) ?? createPublicKey({ key: Buffer.concat([SPKI, publicKey]), format: 'der', type: 'spki' })
    publicKeys.set(name, key)
    return verifySignature(null, message, key, signature)
  } catch {
    return false
  }
}

export const START_S = 1_800_000_000

export function makeFacts(overrides: Partial<RelayDescriptor> = {}) {
  return {
    onionKey: new Uint8Array(32).fill(7),
    address: '127.1.0.1:4000',
    roles: { relay: true, exit: false, guard: true, dht: true },
    exitPolicy: ['reject *:*'],
    family: [],
    versions: [1],
    bandwidth: 1_000_000,
    issued: START_S,
    lifetime: 3 * 3600,
    seq: 1,
    ...overrides
  }
}

export function makeDescriptor(signer: Signer, overrides: Partial<RelayDescriptor> = {}): Uint8Array {
  return issueDescriptor(makeFacts(overrides), signer)
}

/** The code of what `run` throws. Fails when it throws nothing, or something that is not an AnonNetError. */
export function codeOf(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    if (isAnonNetError(error)) return error.code
    throw new Error('not a typed error', { cause: error })
  }
  throw new Error('nothing was thrown')
}

export async function codeOfAsync(run: () => Promise<unknown>): Promise<string> {
  try {
    await run()
  } catch (error) {
    if (isAnonNetError(error)) return error.code
    throw new Error('not a typed error', { cause: error })
  }
  throw new Error('nothing was thrown')
}

/** What another node makes of a value after it crossed the wire. */
export function overWire(value: unknown): unknown {
  return decodeCbor(encodeCbor(value), { maxBytes: 10 * 1024 * 1024, maxDepth: 16, maxItems: 1_000_000 })
}

export type Handler = (method: string, params: unknown, from: RpcOrigin) => unknown

/** Calls between nodes in one process. `delay` decides when each call arrives; without it, at once. */
export class FakeNetwork {
  readonly handlers = new Map<string, Handler>()
  /** Where relays answer; who is not in it answers at any address. */
  readonly addresses = new Map<string, string>()
  readonly calls: { from: string; to: string; method: string }[] = []
  delay: (() => Promise<void>) | undefined

  rpcOf(caller: Peer): RpcCall {
    return async (peer, method, params) => {
      this.calls.push({ from: caller.nodeId, to: peer.nodeId, method })
      const sent = overWire(params)
      await this.delay?.()
      const handler = this.handlers.get(peer.nodeId)
      const at = this.addresses.get(peer.nodeId)
      if (!handler || (at !== undefined && at !== peer.address)) throw errorFromCode('ERR_ANONNET_LINK_UNREACHABLE')
      const answer = overWire(handler(method, sent, { nodeId: caller.nodeId, address: caller.address }))
      await this.delay?.()
      return answer
    }
  }
}

export const INTERVAL_MS = 2000

/** N configured bootstrap nodes; those that were started answer. */
export class BootstrapNetwork {
  readonly network = new FakeNetwork()
  readonly signers: Signer[]
  readonly nodes: BootstrapNode[]
  readonly directories: (BootstrapDirectory | undefined)[]
  nowMs = START_S * 1000
  /** How often a node said that a call was settled. */
  settled = 0

  constructor(
    count: number,
    readonly intervalMs = INTERVAL_MS
  ) {
    this.signers = Array.from({ length: count }, (_, index) => makeSigner(index + 1))
    this.nodes = this.signers.map((signer, index) => ({ publicKey: signer.publicKey, address: `127.0.${index}.1:9000` }))
    this.directories = new Array(count).fill(undefined)
  }

  get keys(): Uint8Array[] {
    return this.nodes.map((node) => node.publicKey)
  }

  peer(index: number): Peer {
    const node = this.nodes[index]!
    return { nodeId: nodeIdOf(node.publicKey), address: node.address }
  }

  /** `rpc` stands between the node and the network: for nodes that lie, or see another network. */
  start(index: number, state?: unknown, rpc: (honest: RpcCall) => RpcCall = (honest) => honest, held = false): BootstrapDirectory {
    let seed = index + 1
    const directory = new BootstrapDirectory({
      bootstraps: this.nodes,
      self: this.signers[index]!,
      verify,
      intervalMs: this.intervalMs,
      rpc: rpc(this.network.rpcOf(this.peer(index))),
      now: () => this.nowMs,
      held,
      onSettled: () => {
        this.settled++
      },
      rng: () => {
        seed = (seed * 16_807) % 2_147_483_647
        return seed / 2_147_483_647
      },
      ...(state === undefined ? {} : { state })
    })
    this.directories[index] = directory
    this.network.handlers.set(this.peer(index).nodeId, (method, params, from) => directory.handle(method, params, from))
    return directory
  }

  stop(index: number): void {
    this.directories[index]?.close()
    this.directories[index] = undefined
    this.network.handlers.delete(this.peer(index).nodeId)
  }

  /** From now on the relay answers, at that address alone if one is given. */
  up(signer: Signer, address?: string): void {
    const nodeId = nodeIdOf(signer.publicKey)
    this.network.handlers.set(nodeId, () => null)
    if (address !== undefined) this.network.addresses.set(nodeId, address)
  }

  down(signer: Signer): void {
    this.network.handlers.delete(nodeIdOf(signer.publicKey))
  }

  /** Publishes at each running node directly, and answers them from now on. */
  publish(signer: Signer, raw: Uint8Array, at?: readonly number[]): void {
    this.up(signer)
    this.publishOnly(signer, raw, at)
  }

  /** Publishes, whether the relay answers or not. */
  publishOnly(signer: Signer, raw: Uint8Array, at: readonly number[] = this.directories.map((_, index) => index)): void {
    for (const index of at) {
      this.directories[index]?.handle('desc.publish', { descriptor: raw }, { nodeId: nodeIdOf(signer.publicKey), address: '127.9.0.1:1' })
    }
  }

  /** Moves the clock in steps, running what is due. */
  async advance(ms: number, stepMs = 50): Promise<void> {
    const end = this.nowMs + ms
    await this.settle()
    while (this.nowMs < end) {
      this.nowMs += stepMs
      await this.settle()
    }
  }

  async settle(): Promise<void> {
    await Promise.all(this.directories.map((directory) => (directory && directory.nextRunMs() <= this.nowMs ? directory.run() : undefined)))
    await new Promise((resolve) => setImmediate(resolve))
  }
}
