/**
 * A network on a fake clock: the pool, path selection and an engine that builds, loses and probes circuits over relays that can be
 * killed. Everything replays from a seed.
 */

import { newPool, type PoolAction, type PoolEvent, type PoolLimits, type PoolState, step } from '../../../ts/churn/index.js'
import type { RelayList } from '../../../ts/directory/types.js'
import {
  exitAccepts,
  type GuardState,
  guardFailed,
  guardSucceeded,
  newGuards,
  refreshGuards,
  selectPath
} from '../../../ts/routing/index.js'
import { network, seeded } from '../routing/relays.js'

export interface WorldOptions {
  readonly seed?: number
  readonly list?: RelayList
  readonly limits?: Partial<PoolLimits>
  /** One way, per hop. */
  readonly hopMs?: number
  /** Until the ends of a dead circuit are told; a kill -9 is silent for as long as an idle link's timeout. */
  readonly silenceMs?: number
  /** Until the engine stops waiting for a hop that does not answer, short of the build's own timeout. */
  readonly extendMs?: number
  /** Without this event, as with an engine that does not tell. */
  readonly tellsConnected?: boolean
}

export interface Outcome {
  readonly result: 'connected' | string
  readonly afterMs: number
  readonly circuit: number | undefined
  readonly attempts: number
}

interface Circuit {
  readonly path: readonly [string, string, string]
  readonly streams: Set<number>
}

interface Asked {
  readonly atMs: number
  readonly isolation: string
  circuit: number | undefined
  attempts: number
}

const WALL_MS = 1_800_000_000_000

export class World {
  nowMs = 0
  state: PoolState
  guards: GuardState
  list: RelayList
  readonly rng: () => number
  readonly dead = new Set<string>()
  readonly circuits = new Map<number, Circuit>()
  readonly outcomes = new Map<number, Outcome>()
  readonly counts = { build: 0, close: 0, attach: 0, refuse: 0, probe: 0, guard: 0 }
  readonly guardsUsed = new Set<string>()
  /** Isolation keys that were ever on each circuit. */
  readonly keysOf = new Map<number, Set<string>>()
  /** Targets that never answer: host names. */
  readonly blackHoles = new Set<string>()
  networkDown = false
  readonly #asked = new Map<number, Asked>()
  readonly #options: Required<Omit<WorldOptions, 'limits' | 'list'>>
  #events: { readonly atMs: number; readonly order: number; readonly run: () => void }[] = []
  #order = 0
  #wakeAtMs: number | undefined
  #nextCircuit = 1
  #nextRequest = 1

  constructor(options: WorldOptions = {}) {
    this.#options = { seed: 1, hopMs: 5, silenceMs: 30_000, extendMs: 5_000, tellsConnected: true, ...options }
    this.rng = seeded(this.#options.seed)
    this.list = options.list ?? network(12)
    this.state = newPool(options.limits)
    this.guards = refreshGuards(newGuards(), this.list, this.rng, WALL_MS)
  }

  /** Gives the pool an event at the present time and does what it says. */
  send(event: PoolEvent): readonly PoolAction[] {
    const result = step(this.state, event, {
      nowMs: this.nowMs,
      rng: this.rng,
      accepts: (exit, target) => {
        const relay = this.list.relays.find((one) => one.nodeId === exit)
        return relay !== undefined && exitAccepts(relay, target)
      }
    })
    this.state = result.state
    this.#wakeAtMs = result.wakeAtMs
    for (const action of result.actions) this.#do(action)
    return result.actions
  }

  /** Lets time pass, in order of what happens in it. */
  run(ms: number): void {
    const untilMs = this.nowMs + ms
    for (let turns = 0; ; turns++) {
      if (turns > 200_000) throw new Error('the world does not come to rest')
      this.#events.sort((a, b) => a.atMs - b.atMs || a.order - b.order)
      const next = this.#events[0]
      const wake = this.#wakeAtMs ?? Infinity
      if (Math.min(next?.atMs ?? Infinity, wake) > untilMs) break
      if (next !== undefined && next.atMs <= wake) {
        this.#events.shift()
        this.nowMs = Math.max(this.nowMs, next.atMs)
        next.run()
      } else {
        this.nowMs = Math.max(this.nowMs, wake)
        this.send({ type: 'tick' })
      }
    }
    this.nowMs = untilMs
  }

  /** Asks for a stream; the answer will be in `outcomes`. */
  request(
    isolation: string,
    options: { host?: string; port?: number; exit?: string; kind?: 'connect' | 'resolve' | 'dir'; waitMs?: number } = {}
  ): number {
    const { host = 'example.org', port = 443, exit, kind = 'connect', waitMs } = options
    const request = this.#nextRequest++
    this.#asked.set(request, { atMs: this.nowMs, isolation, circuit: undefined, attempts: 0 })
    this.send({ type: 'request', request, isolation, kind, target: kind === 'connect' ? { host, port } : undefined, exit, waitMs })
    return request
  }

  /** The streams that are open and connected on a circuit end. */
  endStreams(circuit: number): void {
    const streams = this.circuits.get(circuit)?.streams ?? new Set<number>()
    for (const request of [...streams]) {
      if (!this.outcomes.has(request)) continue
      streams.delete(request)
      this.send({ type: 'streamClosed', circuit })
    }
  }

  /** Kills relays: nobody is told, until `silenceMs` later the links notice. */
  kill(...nodeIds: readonly string[]): void {
    for (const nodeId of nodeIds) this.dead.add(nodeId)
    this.#later(this.#options.silenceMs, () => {
      for (const [id, circuit] of [...this.circuits]) {
        if (circuit.path.some((nodeId) => this.dead.has(nodeId))) this.#lost(id, 'ERR_ANONNET_CIRCUIT_CLOSED', true)
      }
    })
  }

  /** The killed relays are started again; they know of no circuit that was theirs. */
  revive(): void {
    for (const [id, circuit] of [...this.circuits]) {
      if (circuit.path.some((nodeId) => this.dead.has(nodeId))) this.#lost(id, 'ERR_ANONNET_CIRCUIT_CLOSED', true)
    }
    this.dead.clear()
  }

  /** A relay ends a circuit in the ordinary way. */
  teardown(id: number, code = 'ERR_ANONNET_CIRCUIT_CLOSED'): void {
    this.#lost(id, code, true)
  }

  #later(ms: number, run: () => void): void {
    this.#events.push({ atMs: this.nowMs + ms, order: this.#order++, run })
  }

  #alive(path: readonly string[]): boolean {
    return !this.networkDown && !path.some((nodeId) => this.dead.has(nodeId))
  }

  #lost(id: number, code: string, told: boolean): void {
    const circuit = this.circuits.get(id)
    if (circuit === undefined) return
    this.circuits.delete(id)
    if (told) this.send({ type: 'circuitClosed', circuit: id, code })
    for (const request of circuit.streams) {
      if (!this.outcomes.has(request)) this.send({ type: 'streamFailed', request, code: 'ERR_ANONNET_CIRCUIT_CLOSED' })
    }
  }

  #finish(request: number, result: string): void {
    const asked = this.#asked.get(request)
    if (asked === undefined) throw new Error(`an answer to request ${request}, which was not asked`)
    if (this.outcomes.has(request)) throw new Error(`a second answer to request ${request}`)
    this.outcomes.set(request, { result, afterMs: this.nowMs - asked.atMs, circuit: asked.circuit, attempts: asked.attempts })
  }

  #do(action: PoolAction): void {
    this.counts[action.type] += 1
    switch (action.type) {
      case 'build':
        return this.#build(action)
      case 'close':
        return this.#later(0, () => this.#lost(action.circuit, 'ERR_ANONNET_CLOSED', false))
      case 'attach':
        return this.#attach(action.request, action.circuit)
      case 'refuse':
        return this.#finish(action.request, action.code)
      case 'probe': {
        const circuit = this.circuits.get(action.circuit)
        const answers = circuit !== undefined && this.#alive(circuit.path)
        const { circuit: id } = action
        return this.#later(answers ? 6 * this.#options.hopMs : action.timeoutMs, () =>
          this.send({ type: 'probed', circuit: id, alive: answers })
        )
      }
      case 'guard': {
        const startedMs = WALL_MS + this.nowMs - action.startedAgoMs
        this.guards =
          action.outcome === 'succeeded'
            ? guardSucceeded(this.guards, action.nodeId, WALL_MS + this.nowMs)
            : guardFailed(this.guards, action.nodeId, startedMs, this.rng, WALL_MS + this.nowMs)
      }
    }
  }

  #build({ build, request, timeoutMs }: Extract<PoolAction, { type: 'build' }>): void {
    const selected = selectPath(this.list, this.guards, request, this.rng, WALL_MS + this.nowMs)
    this.guards = selected.guards
    if (!selected.ok) {
      const { code, rule } = selected
      return this.#later(0, () => this.send({ type: 'buildFailed', build, code, rule }))
    }
    const [guard, middle, exit] = selected.path.map((relay) => relay.nodeId) as [string, string, string]
    const path = [guard, middle, exit] as const
    this.guardsUsed.add(guard)
    this.#later(0, () => {
      this.send({ type: 'buildStarted', build, path })
      const { hopMs, extendMs } = this.#options
      const broken = this.networkDown ? 0 : path.findIndex((nodeId) => this.dead.has(nodeId))
      if (broken < 0) {
        this.#later(12 * hopMs, () => {
          const circuit = this.#nextCircuit++
          this.circuits.set(circuit, { path, streams: new Set() })
          this.send({ type: 'built', build, circuit })
        })
      } else {
        const waitMs = broken === 0 ? timeoutMs : Math.min(timeoutMs, extendMs)
        const code = waitMs < timeoutMs ? 'ERR_ANONNET_EXTEND_REFUSED' : 'ERR_ANONNET_TIMEOUT'
        this.#later(waitMs, () => this.send({ type: 'buildFailed', build, code, hop: broken }))
      }
    })
  }

  #attach(request: number, id: number): void {
    const asked = this.#asked.get(request)
    if (asked === undefined || this.outcomes.has(request)) throw new Error(`attached request ${request}, which does not wait`)
    asked.circuit = id
    asked.attempts += 1
    const circuit = this.circuits.get(id)
    const keys = this.keysOf.get(id) ?? new Set()
    this.keysOf.set(id, keys.add(asked.isolation))
    circuit?.streams.add(request)
    const arrives = (): void => {
      const still = this.circuits.get(id)
      if (circuit === undefined || still !== circuit) {
        if (circuit === undefined) this.send({ type: 'streamFailed', request, code: 'ERR_ANONNET_CIRCUIT_CLOSED' })
        return
      }
      // Links carry on where they were when the network is back.
      if (this.networkDown) return this.#later(100, arrives)
      if (!this.#alive(circuit.path) || asked.circuit !== id || this.outcomes.has(request)) return
      if (this.blackHoles.has(asked.isolation)) return
      this.#finish(request, 'connected')
      if (this.#options.tellsConnected) this.send({ type: 'connected', request })
    }
    this.#later(6 * this.#options.hopMs, arrives)
  }
}
