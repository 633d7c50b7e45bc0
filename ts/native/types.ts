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
  onionKey: Buffer
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
  detail?: string
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
  /** The client's IP address, without its port. */
  client: string
  /** Why it is asked again: how the circuit that it was attached to failed it. Absent the first time. */
  code?: string
}

/** CONNECTED or RESOLVED came for a proxy request. */
export interface ProxyConnectedEvent {
  type: 'proxyConnected'
  request: number
}

/** The client of a proxy request left before it was connected. */
export interface ProxyGoneEvent {
  type: 'proxyGone'
  request: number
}

/** A proxy stream that had been connected ended. */
export interface StreamEndedEvent {
  type: 'streamEnded'
  circuit: number
  code?: string
}

export interface LogEvent {
  type: 'log'
  level: 'error' | 'warn' | 'info' | 'debug'
  target: string
  message: string
}

/** What comes up unasked. */
export type EngineEvent =
  | CircuitClosedEvent
  | LinkEvent
  | RpcRequestEvent
  | ProxyRequestEvent
  | ProxyConnectedEvent
  | ProxyGoneEvent
  | StreamEndedEvent
  | LogEvent

export type NativeEvent = OpOkEvent | OpFailedEvent | EngineEvent

export interface NativeSnapshot {
  circuits: {
    id: number
    hops: string[]
    ageMs: number
    streams: number
    bytesRead: number
    bytesWritten: number
    ready: boolean
  }[]
  relay: {
    circuits: number
    cellsForwarded: number
    bytesForwarded: number
    handshakes: number
    handshakesRefused: number
    exitStreams: number
    destroyed: number
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
  localAddress(): string | null
  sign(message: Buffer): Buffer
  rotateOnionKey(): Buffer
  setKnownRelays(relays: PeerAddress[]): void
  rpc(op: number, peer: PeerAddress, body: Buffer, timeoutMs: number, maxReplyBytes: number): void
  rpcReply(request: number, body: Buffer): void
  rpcReject(request: number): void
  buildCircuit(op: number, path: Hop[], timeoutMs: number): void
  closeCircuit(circuit: number): void
  circuitRpc(op: number, circuit: number, body: Buffer, timeoutMs: number, maxReplyBytes: number): void
  resolve(op: number, circuit: number, host: string, timeoutMs: number): void
  connect(op: number, circuit: number, host: string, port: number, timeoutMs: number): void
  read(op: number, stream: number): void
  write(op: number, stream: number, data: Buffer): void
  end(stream: number): void
  destroy(stream: number): void
  listenProxy(op: number, address: string): void
  closeProxy(listener: number): void
  attach(request: number, circuit: number): void
  refuse(request: number, code: string): void
  cancel(op: number): void
  snapshot(): NativeSnapshot
  close(op: number, drainMs: number): void
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

/** Everything that the addon exports. */
export interface NativeAddon {
  NativeNode: new (options: NativeNodeOptions, wake: () => void) => NativeNode
  verify(publicKey: Buffer, message: Buffer, signature: Buffer): boolean
  nodeIdOf(publicKey: Buffer): string
  errorRegistry(): RegistryEntry[]
  keyFileInspect(path: string, passphrase?: Buffer): KeyFileInfo
  keyFileCreate(path: string, passphrase?: Buffer): string
  keyFileRotate(path: string, passphrase?: Buffer): Buffer
  keyFileExport(path: string, passphrase: Buffer | undefined, exportPassphrase: Buffer): Buffer
  keyFileImport(path: string, sealed: Buffer, importPassphrase: Buffer, passphrase?: Buffer): string
  version(): { version: string; protocol: number }
}
