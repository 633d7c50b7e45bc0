/**
 * What a node tells of itself while it runs. Each type is a channel `anonnet:<type>` of node:diagnostics_channel and an event of
 * `node.events()`. None of them holds an address, a node id, a name or a key: subscribers are other people's code.
 */

/** The fields of each event, by its type. Times are milliseconds. */
export interface DiagnosticEvents {
  /** Progress of the start: `percent` reaches 100 when a circuit is ready. */
  readonly bootstrap: { readonly percent: number; readonly phase: string; readonly summary: string }
  /** A client circuit can take streams. */
  readonly 'circuit:built': { readonly circuit: number; readonly kind: 'exit' | 'dir'; readonly buildMs: number }
  /** A client circuit could not be built. `hop` is where it failed, 0 the guard. */
  readonly 'circuit:failed': { readonly code: string; readonly hop?: number | undefined }
  /** A client circuit ended. */
  readonly 'circuit:closed': { readonly circuit: number; readonly code: string; readonly ageMs?: number | undefined }
  /** How many guards there are to use. */
  readonly guard: { readonly sampled: number; readonly primary: number; readonly reachable: number }
  /** All guards failed at once, or one answers again. */
  readonly network: { readonly state: 'down' | 'up' }
  /** The node was made dormant, or woke. */
  readonly dormant: { readonly state: 'dormant' | 'awake' }
  /** A relay list was accepted. Unix seconds. */
  readonly 'list:updated': {
    readonly relays: number
    readonly validAfter: number
    readonly freshUntil: number
    readonly validUntil: number
  }
  /** A link to another node came up or went down. */
  readonly link: { readonly state: 'up' | 'down'; readonly authenticated: boolean; readonly code?: string | undefined }
  /** A stream was connected, refused or closed. `waitedMs` is from the request to the answer. */
  readonly stream: {
    readonly state: 'connected' | 'refused' | 'closed'
    readonly circuit?: number | undefined
    readonly code?: string | undefined
    readonly waitedMs?: number | undefined
  }
  /** A proxy listener of this node opened or closed. */
  readonly proxy: { readonly state: 'listening' | 'closed'; readonly port: number }
  /** A DHT operation of this node ended. */
  readonly dht: { readonly operation: string; readonly ok: boolean; readonly tookMs: number }
  /** Something that an operator should know; `code` is one of the error registry. */
  readonly warning: { readonly code: string; readonly message: string }
  /** The node is closed; the last event. */
  readonly closed: { readonly reason?: string | undefined }
}

/** The type of an event. */
export type DiagnosticType = keyof DiagnosticEvents

/** What every event has: `instance` tells nodes of one process apart, `atMs` is the wall clock. */
export interface EventHead<Type extends DiagnosticType> {
  readonly type: Type
  readonly instance: number
  readonly atMs: number
}

/** An event as subscribers get it. */
export type DiagnosticEvent = { [Type in DiagnosticType]: EventHead<Type> & DiagnosticEvents[Type] }[DiagnosticType]

/** Levels of a log, the most important first. */
export type LogLevel = 'error' | 'warn' | 'info' | 'debug'
