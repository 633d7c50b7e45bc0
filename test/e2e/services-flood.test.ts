/**
 * A flooded service, end to end: real relays on loopback, the real addon, limits made small so that a few clients are a flood. Nobody calls
 * its queue but what comes in.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { type AnonNode, createTestnet, type Testnet } from '../../ts/index.js'
import type * as IntroductionModule from '../../ts/services/introduction.js'
import type * as LimitsModule from '../../ts/services/limits.js'
import { POW_INTERVAL_MS } from '../../ts/services/limits.js'
import { Load } from '../../ts/services/load.js'
import { eventually } from '../helpers/processes.js'
import { collect } from '../helpers/servers.js'

vi.mock('../../ts/services/limits.js', async (original) => ({
  ...(await original<typeof LimitsModule>()),
  INTRODUCTION_RATE: 1,
  INTRODUCTION_BURST: 2,
  MAX_WAITING_INTRODUCTIONS: 4,
  POW_INTERVAL_MS: 4_000
}))

/** Who floods: what is introduced within it leaves out its proof. */
const flood = vi.hoisted(async () => new (await import('node:async_hooks')).AsyncLocalStorage<true>())
vi.mock('../../ts/services/introduction.js', async (original) => {
  const real = await original<typeof IntroductionModule>()
  const flooding = await flood
  const writeIntroduction: typeof real.writeIntroduction = (introduction) =>
    real.writeIntroduction(flooding.getStore() ? { ...introduction, pow: undefined } : introduction)
  return { ...real, writeIntroduction }
})

let net: Testnet
let host: AnonNode
let hostile: AnonNode
let honest: AnonNode

beforeAll(async () => {
  net = await createTestnet(12)
  ;[host, hostile, honest] = await Promise.all([net.createNode(), net.createNode(), net.createNode()])
}, 120_000)

afterAll(() => net?.close(), 60_000)
afterEach(() => vi.restoreAllMocks())

describe('a service that is flooded with introductions without a proof', () => {
  it('asks for one by itself, serves who has it while the flood goes on, and asks for nothing once it is over', {
    timeout: 240_000
  }, async () => {
    const verdicts = { flood: [] as string[], proven: [] as string[] }
    const offer = Load.prototype.offer
    vi.spyOn(Load.prototype, 'offer').mockImplementation(function (this: Load, request, proof, nowMs) {
      const result = offer.call(this, request, proof, nowMs)
      verdicts[proof === undefined ? 'flood' : 'proven'].push(result.verdict)
      return result
    })
    const service = await host.listen({ port: 80 }, (socket) => socket.pipe(socket))
    expect(service.effort).toBe(0)

    const flooding = await flood
    const over = new AbortController()
    const worker = async (number: number): Promise<void> => {
      for (let round = 0; !over.signal.aborted; round++) {
        const options = { isolate: `${number} ${round}`, timeoutMs: 8_000, signal: over.signal }
        await hostile.connect(`${service.address}:80`, options).then(
          (socket) => socket.destroy(),
          () => undefined
        )
      }
    }
    const workers = flooding.run(true, () => Promise.all(Array.from({ length: 8 }, (_, number) => worker(number))))
    try {
      await eventually('the effort to rise', 60_000, () => (service.effort > 0 ? true : undefined))
      await eventually('the flood to be refused', 60_000, () => (verdicts.flood.includes('no-proof') ? true : undefined))
      const socket = await honest.connect(`${service.address}:80`, { timeoutMs: 60_000 })
      socket.end('worked for it')
      expect(String(await collect(socket))).toBe('worked for it')
      // By its proof: what it found asked for one, and nobody else made any.
      expect(verdicts.proven).toContain('taken')
      expect(over.signal.aborted).toBe(false)
    } finally {
      over.abort()
      await workers
    }
    await eventually('the effort to fall', 15 * POW_INTERVAL_MS, () => (service.effort === 0 ? true : undefined))
    await service.close()
  })
})
