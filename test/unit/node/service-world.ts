/** Services over an engine whose circuits are there at once, or are not, as a test says: real paths, guards and policy, no network. */
import { randomBytes } from 'node:crypto'
import { vi } from 'vitest'
import { createDiagnostics } from '../../../ts/diagnostics/index.js'
import { errorFromCode } from '../../../ts/errors/index.js'
import { type Engine, serviceCrypto } from '../../../ts/native/index.js'
import { CircuitDriver } from '../../../ts/node/circuits.js'
import type { Saver } from '../../../ts/node/saver.js'
import { ServiceCircuits } from '../../../ts/node/service-circuits.js'
import { ServiceHost } from '../../../ts/node/service-host.js'
import { ServiceMeetings } from '../../../ts/node/service-meetings.js'
import { newGuards, newSecondLayer } from '../../../ts/routing/index.js'
import { serviceName, writeIntroduction } from '../../../ts/services/index.js'
import { network, seeded } from '../routing/relays.js'

/** Circuits that a client's link carries. */
export const LINK_CIRCUITS = 1_024

/** What becomes of a build. */
export type Outcome = 'built' | 'silent'

export class World {
  /** Circuits that are open, with their streams. */
  readonly open = new Map<number, number>()
  /** The most that were open at the same time. */
  most = 0
  /** Node ids of each path that was built over, the guard first. */
  readonly paths: string[][] = []
  /** How many builds the link did not take. */
  refused = 0
  readonly dropped: number[] = []
  readonly accepted: number[] = []
  outcome: (path: readonly string[]) => Outcome = () => 'built'
  readonly driver: CircuitDriver
  readonly circuits: ServiceCircuits
  readonly meetings: ServiceMeetings
  #circuit = 0
  #request = 0

  constructor(relays = 40) {
    const engine = this.engine
    this.driver = new CircuitDriver({
      // Its own circuits are not looked at here.
      engine: { ...engine, buildCircuit: () => {} } as unknown as Engine,
      diagnostics: createDiagnostics(),
      rules: { allowSamePrefix: true },
      guards: newGuards(),
      rng: seeded(1),
      onGuards: () => {},
      onReady: () => {},
      onDemand: () => {}
    })
    const saver = { save: () => {} } as unknown as Saver
    this.driver.setList(network(relays))
    this.circuits = new ServiceCircuits({ engine, driver: this.driver, rules: { allowSamePrefix: true }, layer: newSecondLayer(), saver })
    this.meetings = new ServiceMeetings({ engine, circuits: this.circuits })
  }

  readonly engine = {
    closing: false,
    links: () => [],
    buildCircuit: (hops: { nodeId: string }[], timeoutMs: number, done: (error: Error | undefined, circuit: number) => void) => {
      const path = hops.map(({ nodeId }) => nodeId)
      this.paths.push(path)
      if (this.open.size >= LINK_CIRCUITS) {
        this.refused += 1
        done(errorFromCode('ERR_ANONNET_RESOURCE_LIMIT'), 0)
      } else if (this.outcome(path) === 'silent') {
        setTimeout(() => done(Object.assign(errorFromCode('ERR_ANONNET_TIMEOUT'), { hop: path.length - 1 }), 0), timeoutMs)
      } else {
        this.#circuit += 1
        this.open.set(this.#circuit, 0)
        this.most = Math.max(this.most, this.open.size)
        done(undefined, this.#circuit)
      }
    },
    closeCircuit: (circuit: number) => void this.open.delete(circuit),
    circuits: () => [...this.open].map(([id, streams]) => ({ id, streams, bytesRead: 0, bytesWritten: 0 })),
    circuitRpc: () => Promise.reject(errorFromCode('ERR_ANONNET_RPC_REFUSED')),
    services: {
      establishIntro: async () => ({ authKey: randomBytes(32), onionKey: randomBytes(32), kemKey: randomBytes(1184) }),
      setIntroSubcredentials: () => true,
      acceptRendezvous: async (request: number, circuit: number) => {
        this.accepted.push(circuit)
        return void request
      },
      dropIntroduction: (request: number) => void this.dropped.push(request)
    }
  } as unknown as Engine

  /** A service, and the circuits of its introduction points once they are there. */
  async host(): Promise<{ host: ServiceHost; introduce: (rendezvous: string) => void }> {
    const seed = Uint8Array.from(randomBytes(32))
    const publicKey = serviceCrypto.publicKey(seed)
    const points: number[] = []
    const spy = vi.spyOn(this.engine.services, 'establishIntro').mockImplementation(async (circuit) => {
      points.push(circuit)
      return { authKey: randomBytes(32), onionKey: randomBytes(32), kemKey: randomBytes(1184) }
    })
    const host = new ServiceHost({
      engine: this.engine,
      driver: this.driver,
      circuits: this.circuits,
      meetings: this.meetings,
      seed,
      address: { publicKey, name: serviceName(publicKey) },
      clients: [],
      onStream: () => undefined,
      onError: () => undefined,
      onPublished: () => undefined
    })
    await vi.advanceTimersByTimeAsync(1_000)
    spy.mockRestore()
    const introduce = (rendezvous: string): void => {
      this.#request += 1
      const body = Buffer.from(writeIntroduction({ cookie: randomBytes(20), rendezvous, pow: undefined }))
      host.introduced({ type: 'introduced', circuit: points[0] ?? 0, request: this.#request, body })
    }
    return { host, introduce }
  }
}

export const useFakeTime = (): void =>
  void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance', 'Date'] })
