/** How long a DHT node waits for an answer: as long as answers took, within limits. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MIN_RPC_TIME_SAMPLES, MIN_RPC_TIMEOUT_MS, RPC_TIME_SAMPLES, RPC_TIMEOUT_MS, RPC_TIMEOUT_TIMES } from '../../../ts/dht/limits.js'
import { Patience } from '../../../ts/dht/patience.js'
import { DhtNetwork } from './helpers.js'

function waitAfter(...timesMs: number[]): number {
  const patience = new Patience()
  for (const took of timesMs) patience.answered(took)
  return patience.timeoutMs
}

const times = (count: number, ms: number): number[] => Array.from({ length: count }, () => ms)

describe('the patience of a DHT node', () => {
  it('is the whole limit until a few have answered', () => {
    expect(waitAfter()).toBe(RPC_TIMEOUT_MS)
    expect(waitAfter(...times(MIN_RPC_TIME_SAMPLES - 1, 1))).toBe(RPC_TIMEOUT_MS)
    expect(waitAfter(...times(MIN_RPC_TIME_SAMPLES, 1))).toBe(MIN_RPC_TIMEOUT_MS)
  })

  it('follows what nine of ten took, and forgets old answers', () => {
    const slow = Math.round((MIN_RPC_TIMEOUT_MS * 1.5) / RPC_TIMEOUT_TIMES)
    expect(waitAfter(...times(RPC_TIME_SAMPLES, slow))).toBe(slow * RPC_TIMEOUT_TIMES)
    // One of ten that was slower does not count.
    expect(waitAfter(...times(18, slow), ...times(2, RPC_TIMEOUT_MS))).toBe(slow * RPC_TIMEOUT_TIMES)
    expect(waitAfter(...times(RPC_TIME_SAMPLES, RPC_TIMEOUT_MS), ...times(RPC_TIME_SAMPLES, slow))).toBe(slow * RPC_TIMEOUT_TIMES)
    expect(waitAfter(...times(RPC_TIME_SAMPLES, slow), ...times(RPC_TIME_SAMPLES, RPC_TIMEOUT_MS))).toBe(RPC_TIMEOUT_MS)
  })

  it('stays within its limits, whatever the clock says', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: -1e9, max: 1e9, noNaN: true }), { maxLength: 100 }), (took) => {
        const ms = waitAfter(...took)
        expect(ms).toBeGreaterThanOrEqual(MIN_RPC_TIMEOUT_MS)
        expect(ms).toBeLessThanOrEqual(RPC_TIMEOUT_MS)
      })
    )
  })

  it('is what a node gives its questions', async () => {
    const net = new DhtNetwork()
    await net.grow(20)
    const waits: number[] = []
    const asker = net.add(9_000, {
      rpc: async (to, method, params, options) => {
        waits.push(options?.timeoutMs ?? Number.POSITIVE_INFINITY)
        return net.network.handlers.get(to.nodeId)?.(method, params, asker.peer)
      }
    })
    await asker.node.join([net.nodes[3]!.peer, net.nodes[8]!.peer])
    await asker.node.findNode('ab'.repeat(32))
    expect(waits[0]).toBe(RPC_TIMEOUT_MS)
    // Answers take no time here.
    expect(waits.at(-1)).toBe(MIN_RPC_TIMEOUT_MS)
  })
})
