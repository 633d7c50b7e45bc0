/** The typed channels of node:diagnostics_channel: `subscribe` of that module with the names and types of ours. */
import { type Channel, channel, subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { DiagnosticEvent, DiagnosticType } from './types.js'

/** Every event type; a channel's name is `anonnet:` and the type. */
export const DIAGNOSTIC_TYPES = [
  'bootstrap',
  'circuit:built',
  'circuit:failed',
  'circuit:closed',
  'guard',
  'network',
  'dormant',
  'list:updated',
  'link',
  'stream',
  'proxy',
  'dht',
  'warning',
  'closed'
] as const satisfies readonly DiagnosticType[]

/** The event of one type. */
export type EventOf<Type extends DiagnosticType> = Extract<DiagnosticEvent, { readonly type: Type }>

/** The name of a type's channel. */
export function channelName<Type extends DiagnosticType>(type: Type): `anonnet:${Type}` {
  return `anonnet:${type}`
}

// Held for good: a channel that nobody holds is collected, and looking it up by name each time costs more than the publishing.
const channels: ReadonlyMap<DiagnosticType, Channel> = new Map(DIAGNOSTIC_TYPES.map((type) => [type, channel(channelName(type))]))

/** Gives an event to the subscribers of its channel. An error of a subscriber is its own: it surfaces as an uncaught exception. */
export function publish(event: DiagnosticEvent): void {
  const target = channels.get(event.type)
  if (target?.hasSubscribers === true) target.publish(event)
}

/** Subscribes to one type of events of every node of this process; returns what ends it. */
export function onDiagnostic<Type extends DiagnosticType>(type: Type, listener: (event: EventOf<Type>) => void): () => void {
  const name = channelName(type)
  const handler = (message: unknown): void => listener(message as EventOf<Type>)
  subscribe(name, handler)
  return () => {
    unsubscribe(name, handler)
  }
}
