/** Value types that the directory shares with routing, churn, dht and node. */

/** What a relay says that it does. A node may have several roles at once. */
export interface Roles {
  readonly relay: boolean
  readonly exit: boolean
  readonly guard: boolean
  readonly dht: boolean
}

/** A relay as it described itself, after its signature, its node id and every field's form were checked. */
export interface RelayDescriptor {
  /** SHA-256('anonnet:1:node-id' || identity), 64 lower-case hex characters. */
  readonly nodeId: string
  /** Ed25519 public key, 32 bytes. */
  readonly identity: Uint8Array
  /** X25519 circuit key, 32 bytes. */
  readonly onionKey: Uint8Array
  /** 'ip:port', IPv6 in brackets. Never a name. */
  readonly address: string
  readonly roles: Roles
  /** Lines such as 'accept *:443' or 'reject *:*', first match wins. */
  readonly exitPolicy: readonly string[]
  /** Node ids (hex) that the relay says are run by the same hands. */
  readonly family: readonly string[]
  /** Protocol versions, ascending. */
  readonly versions: readonly number[]
  /** Declared rate in bytes per second. */
  readonly bandwidth: number
  /** Unix seconds. */
  readonly issued: number
  /** Seconds from `issued` on. */
  readonly lifetime: number
  /** Of two descriptors of one relay the one with the higher number counts. */
  readonly seq: number
}

/** A relay as the signed list has it. */
export interface ListedRelay extends RelayDescriptor {
  /** Selection weight: the declared rate in bytes per second, capped. */
  readonly weight: number
  /** Unix seconds at which the bootstrap nodes first listed it. */
  readonly firstSeen: number
}

/** A verified relay list: a majority of the configured bootstrap keys signed it. */
export interface RelayList {
  /** Number of the interval: floor(validAfter / interval length). Newer lists have higher numbers. */
  readonly interval: number
  /** Unix seconds, with fractions where a test network's interval is not whole seconds. */
  readonly validAfter: number
  readonly freshUntil: number
  readonly validUntil: number
  readonly relays: readonly ListedRelay[]
  /** SHA-256 of the list's signed bytes, hex: the same whichever signatures came along. */
  readonly digest: string
  /** The exact bytes that were verified, signatures included. */
  readonly raw: Uint8Array
}

/** An Ed25519 key that can sign, wherever it lives. */
export interface Signer {
  readonly publicKey: Uint8Array
  sign(message: Uint8Array): Uint8Array
}

/** Strict Ed25519 verification. Must return false, not throw, on garbage. */
export type Verify = (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array) => boolean

/** Whom to call, and where. */
export interface Peer {
  readonly nodeId: string
  readonly address: string
}

/** Who called. Without `nodeId` the link was not authenticated (a client). */
export interface RpcOrigin {
  readonly nodeId?: string
  readonly address: string
}

export interface RpcOptions {
  readonly signal?: AbortSignal
  readonly timeoutMs?: number
  readonly maxReplyBytes?: number
  /** Over a link that is dialled for it alone, at the peer's address, whatever links to it there are. */
  readonly fresh?: boolean
}

/** One request and one answer over an RPC stream; rejects with an AnonNetError. */
export type RpcCall = (peer: Peer, method: string, params: unknown, options?: RpcOptions) => Promise<unknown>

/** Uniform in [0, 1). */
export type Rng = () => number
