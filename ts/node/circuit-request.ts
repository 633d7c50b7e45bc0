/**
 * What is asked of the circuit pool, and how it answers.
 */

import { nextListByMs } from '../directory/index.js'
import type { RelayList } from '../directory/types.js'
import type { AnonNetError } from '../errors/index.js'
import type { Stands } from '../native/index.js'
import { exitAccepts } from '../routing/index.js'

/** What the pool tells a request. Both may come more than once: `attach` again after `failed`. */
export interface RequestHandlers {
  /** `stands`: for how long the answer may stand, for one who lets it. */
  attach(circuit: number, stands: () => Stands | undefined): void
  refuse(error: AnonNetError): void
}

/** A request as `CircuitDriver.request` takes it. */
export interface CircuitRequest {
  isolation: string
  kind: 'connect' | 'resolve' | 'dir'
  target?: { host: string; port: number }
  waitMs?: number
  /** The circuit on which it is under way already. */
  on?: number
}

/** Of a list without any exit: when the next one should be here, by `performance.now`. */
export function exitsMs(list: RelayList | undefined): number | undefined {
  if (list === undefined || list.relays.some((relay) => exitAccepts(relay))) return undefined
  return performance.now() + nextListByMs(list) - Date.now()
}
