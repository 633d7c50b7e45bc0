/**
 * The addon's contract as ts/native sees it. The generated index.d.ts in the package root is the truth;
 * test/types/addon.test-d.ts holds both against each other.
 */

export interface NativeNodeOptions {
  /** Path of the key file, created with mode 0600 when absent; without it fresh keys in memory. */
  identity?: string
  passphrase?: Buffer
  /** 'ip:port' (UDP); without it a client with an ephemeral port and no server roles. */
  listen?: string
  roles?: { relay: boolean; exit: boolean; bootstrap: boolean }
  /** 'accept *:*', 'reject *:25' …; the first match wins; default: reject all. */
  exitPolicy?: string[]
  /** Test networks only: exits may reach loopback and private addresses, relays may extend to them. */
  allowPrivate?: boolean
  /** Bytes a second, 0 = no limit. */
  bandwidthRate?: number
  /** Bytes. */
  bandwidthBurst?: number
  /** New client connections a second per /24 (v6: /48). */
  clientLinksPerPrefix?: { rate: number; burst: number }
  /** Circuit handshakes a second per /24 (v6: /48). */
  handshakesPerPrefix?: { rate: number; burst: number }
}

/** One relay of a path. */
export interface Hop {
  nodeId: string
  onionKey: Uint8Array
  address: string
}

/** A node to talk to: who it must prove to be, and where it is. */
export interface PeerAddress {
  nodeId: string
  address: string
}

export interface OpOkEvent {
  type: 'opOk'
  op: number
  bytes?: Buffer
  text?: string
  number?: number
}

export interface OpFailedEvent {
  type: 'opFailed'
  op: number
  code: string
  hop?: number
}

export interface CircuitClosedEvent {
  type: 'circuitClosed'
  circuit: number
  code: string
}

export interface LinkEvent {
  type: 'linkUp' | 'linkDown'
  nodeId?: string
  authenticated: boolean
  code?: string
}

export interface RpcRequestEvent {
  type: 'rpcRequest'
  request: number
  /** Present on authenticated links only. */
  nodeId?: string
  address: string
  viaCircuit: boolean
  body: Buffer
}

export interface ProxyRequestEvent {
  type: 'proxyRequest'
  request: number
  listener: number
  protocol: 'socks5' | 'socks4' | 'http'
  kind: 'connect' | 'resolve'
  host: string
  port: number
  user?: string
  password?: string
  /** 'ip:port' of the client. */
  client: string
  /** The client gave an address instead of a name. */
  literal?: boolean
  /** The request that failed and is asked again under this number. */
  again?: number
  /** Where the request is under way already, because an answer stood: there is nothing to answer. */
  circuit?: number
}

/** CONNECTED or RESOLVED came for a proxy request. A request that nobody was asked about is new by this: its answer stood. */
export interface ProxyConnectedEvent {
  type: 'proxyConnected'
  request: number
  circuit: number
}

/** A proxy request failed on the circuit that it was attached to. It may be asked again. */
export interface ProxyFailedEvent {
  type: 'proxyFailed'
  request: number
  circuit: number
  code: string
}

/** A proxy stream that had been connected ended. */
export interface StreamEndedEvent {
  type: 'streamEnded'
  circuit: number
  code?: string
}

/** A client introduced itself through an introduction point of ours: `body` is what it says, opened and never seen before. */
export interface IntroducedEvent {
  type: 'introduced'
  request: number
  circuit: number
  body: Buffer
}

/** Somebody opened a direct link to a listener of ours. */
export interface DirectStreamEvent {
  type: 'directStream'
  listener: number
  stream: number
  nodeId: string
  /** 'ip:port' of the other end. */
  address: string
}

/** A client that met a service of ours opens a stream to a virtual port. */
export interface IncomingStreamEvent {
  type: 'incomingStream'
  circuit: number
  stream: number
  port: number
}

/** A panic of the native side was caught: a bug of ours. `text` is the line of the source. */
export interface BugEvent {
  type: 'bug'
  code: string
  text: string
}

/** What comes up unasked. */
export type EngineEvent =
  | BugEvent
  | IntroducedEvent
  | IncomingStreamEvent
  | DirectStreamEvent
  | CircuitClosedEvent
  | LinkEvent
  | RpcRequestEvent
  | ProxyRequestEvent
  | ProxyConnectedEvent
  | ProxyFailedEvent
  | StreamEndedEvent

export type NativeEvent = OpOkEvent | OpFailedEvent | EngineEvent

export interface NativeSnapshot {
  circuits: {
    id: number
    hops: string[]
    ageMs: number
    streams: number
    bytesRead: number
    bytesWritten: number
  }[]
  relay: {
    circuits: number
    cellsForwarded: number
    bytesForwarded: number
    handshakes: number
    handshakesRefused: number
    exitStreams: number
    destroyed: number
    memoryHeld: number
    memoryResets: number
  }
  links: { nodeId?: string; authenticated: boolean; inbound: boolean; rttMs: number; ageMs: number }[]
  proxy: { requests: number; open: number; refused: number }
}

/** The native class. Every method is synchronous and does not block; answers come as events of the operation's id. */
export interface NativeNode {
  drain(): NativeEvent[]
  nodeId(): string
  publicKey(): Buffer
  onionKey(): Buffer
  localAddress(): string | null | undefined
  sign(message: Buffer): Buffer
  rotateOnionKey(): Buffer
  setKnownRelays(relays: PeerAddress[]): void
  rpc(op: number, peer: PeerAddress, body: Buffer, timeoutMs: number, maxReplyBytes: number, fresh?: boolean): void
  /** False: nobody waits for it any more; so with the other answers. */
  rpcReply(request: number, body: Buffer): boolean
  rpcReject(request: number): boolean
  buildCircuit(op: number, path: Hop[], timeoutMs: number): void
  closeCircuit(circuit: number): boolean
  closeLinks(): void
  circuitRpc(op: number, circuit: number, body: Buffer, timeoutMs: number, maxReplyBytes: number): void
  resolve(op: number, circuit: number, host: string, timeoutMs: number): void
  connect(op: number, circuit: number, host: string, port: number, timeoutMs: number): void
  read(op: number, stream: number): void
  write(op: number, stream: number, data: Buffer): void
  end(stream: number): void
  destroy(stream: number): void
  listenProxy(op: number, address: string): void
  closeProxy(listener: number): boolean
  attach(request: number, circuit: number, standsMs?: number, streams?: number): boolean
  withdraw(circuit?: number): void
  refuse(request: number, code: string): boolean
  cancel(op: number): void
  circuits(): NativeSnapshot['circuits']
  links(): NativeSnapshot['links']
  /** Throws ERR_ANONNET_NOT_BUILT without the feature `metrics`. */
  snapshot(): NativeSnapshot
  powSolve(op: number, seed: Uint8Array, blinded: Uint8Array, effort: number): void
  establishRendezvous(op: number, circuit: number, cookie: Uint8Array, timeoutMs: number): void
  introduce(op: number, introCircuit: number, rendCircuit: number, to: NativeIntroduction, payload: Uint8Array, timeoutMs: number): void
  awaitRendezvous(op: number, rendCircuit: number, timeoutMs: number): void
  establishIntro(op: number, circuit: number, timeoutMs: number): void
  setIntroSubcredentials(circuit: number, subcredentials: Uint8Array[]): boolean
  acceptRendezvous(op: number, request: number, rendCircuit: number, cookie: Uint8Array, timeoutMs: number): void
  dropIntroduction(request: number): boolean
  acceptStream(stream: number): boolean
  forwardStream(op: number, stream: number, target: string): void
  refuseStream(stream: number, code: string): boolean
  listenDirect(op: number, at: string, key: Uint8Array, maxLinks: number): void
  connectDirect(op: number, node: string, at: string, key: Uint8Array, timeoutMs: number): void
  close(op: number, drainMs: number): void
}

/** What a client knows of an introduction point: from the service's descriptor. */
export interface NativeIntroduction {
  authKey: Uint8Array
  onionKey: Uint8Array
  kemKey: Uint8Array
  subcredential: Uint8Array
}

/** What the key file tells of itself. */
export interface KeyFileInfo {
  nodeId: string
  publicKey: Uint8Array
  onionKey: Uint8Array
  /** Unix seconds of the last rotation of the circuit key. */
  rotatedAt: number
}

/** An entry of the error registry. */
export interface RegistryEntry {
  code: string
  blame: string
  retry: string
  advice: string
}

/** What an addon is. */
export interface AddonVersion {
  version: string
  protocol: number
  /** The parts that it was built with, of `exit`, `metrics`, `proxy`. */
  features: string[]
}

/** Everything that the addon exports. */
export interface NativeAddon {
  NativeNode: new (options: NativeNodeOptions, wake: () => void) => NativeNode
  verify(publicKey: Buffer, message: Buffer, signature: Buffer): boolean
  nodeIdOf(publicKey: Buffer): string
  errorRegistry(): RegistryEntry[]
  keyFileInspect(path: string, passphrase?: Buffer): KeyFileInfo
  keyFileCreate(path: string, passphrase?: Buffer): KeyFileInfo
  keyFileRotate(path: string, passphrase?: Buffer): KeyFileInfo
  keyFileExport(path: string, passphrase: Buffer | undefined, exportPassphrase: Buffer): Buffer
  keyFileImport(path: string, sealed: Buffer, importPassphrase: Buffer, passphrase?: Buffer): KeyFileInfo
  version(): AddonVersion
  serviceBlind(publicKey: Uint8Array, period: number): Buffer
  serviceSubcredential(publicKey: Uint8Array, period: number): Buffer
  serviceSign(seed: Uint8Array, period: number, message: Uint8Array): Buffer
  servicePublicKey(seed: Uint8Array): Buffer
  x25519Public(secret: Uint8Array): Buffer
  x25519Agree(secret: Uint8Array, publicKey: Uint8Array): Buffer
  sealRecord(key: Uint8Array, purpose: string, plaintext: Uint8Array): Buffer
  openRecord(key: Uint8Array, purpose: string, record: Uint8Array): Buffer
  powVerify(seed: Uint8Array, blinded: Uint8Array, nonce: Uint8Array, effort: number): boolean
}
