import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createDiagnostics } from '../../../ts/diagnostics/index.js'
import { errorFromCode } from '../../../ts/errors/index.js'
import type { Engine } from '../../../ts/native/index.js'
import { CircuitDriver } from '../../../ts/node/circuits.js'
import { newGuards } from '../../../ts/routing/index.js'
import { network, seeded } from '../routing/relays.js'

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'] }))
afterEach(() => void vi.useRealTimers())

/** A driver over an engine whose circuits are built at once, connect nothing, and answer a probe with an error of this code. */
function driven(code: string, readsMore: boolean): { driver: CircuitDriver; closed: number[]; probes: () => number } {
  const closed: number[] = []
  const built: number[] = []
  let bytesRead = 0
  const rpc = vi.fn((_circuit: number, _body: Uint8Array, { timeoutMs }: { timeoutMs: number }) => {
    return new Promise((_resolve, reject) =>
      setTimeout(() => {
        if (readsMore) bytesRead += 1104
        reject(errorFromCode(code as 'ERR_ANONNET_TIMEOUT'))
      }, timeoutMs)
    )
  })
  const engine = {
    closing: false,
    buildCircuit: (_hops: unknown, _timeoutMs: number, done: (error: Error | undefined, circuit: number) => void) => {
      built.push(built.length + 1)
      done(undefined, built.length)
    },
    closeCircuit: (circuit: number) => void closed.push(circuit),
    circuitRpc: rpc,
    // What a probe itself writes is written, whether or not anybody is there to read it.
    circuits: () => built.map((id) => ({ id, streams: 1, bytesRead, bytesWritten: rpc.mock.calls.length * 100 }))
  }
  const driver = new CircuitDriver({
    engine: engine as unknown as Engine,
    diagnostics: createDiagnostics(),
    rules: { allowSamePrefix: true },
    guards: newGuards(),
    rng: seeded(1),
    onGuards: () => {},
    onReady: () => {},
    onDemand: () => {}
  })
  driver.setList(network(12))
  return { driver, closed, probes: () => rpc.mock.calls.length }
}

describe('a probe of a circuit on which nothing gets connected', () => {
  it.each([
    ['ERR_ANONNET_TIMEOUT', false, true],
    ['ERR_ANONNET_CIRCUIT_CLOSED', false, true],
    // A download that goes on: the probe waits behind it.
    ['ERR_ANONNET_TIMEOUT', true, false],
    // An answer, whatever it says.
    ['ERR_ANONNET_RPC_REFUSED', false, false],
    ['ERR_ANONNET_UNSUPPORTED', false, false]
  ])('fails with %s; bytes come: %s; the circuit is ended: %s', async (code, readsMore, ends) => {
    const { driver, closed, probes } = driven(code, readsMore)
    const target = { host: 'example.org', port: 443 }
    // It carries a stream, so that none that is built meanwhile takes its place while the probe is under way.
    const first = driver.request({ isolation: 'a', kind: 'connect', target }, { attach: () => {}, refuse: () => {} })
    driver.connected(first)
    driver.request({ isolation: 'a', kind: 'connect', target }, { attach: () => {}, refuse: () => {} })
    await vi.advanceTimersByTimeAsync(4_000)
    expect(probes()).toBeGreaterThan(0)
    expect(closed.length > 0).toBe(ends)
    driver.close()
  })
})
