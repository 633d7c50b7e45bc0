/** What a client takes from last hops that answer with records: only the service's own of the period, whoever signed the others. */
import { createHash } from 'node:crypto'
import { encode } from 'cborg'
import { describe, expect, it } from 'vitest'
import { issueRecord } from '../../../ts/dht/index.js'
import { errorFromCode } from '../../../ts/errors/index.js'
import { type Engine, serviceCrypto } from '../../../ts/native/index.js'
import type { ServiceCircuits } from '../../../ts/node/service-circuits.js'
import { type FoundDescriptor, lookUp } from '../../../ts/node/service-lookup.js'
import { MAX_DESCRIPTOR_BYTES } from '../../../ts/services/limits.js'
import { fromHex, periodOf, periodStartS, SERVICE_REPLICAS, SERVICE_TTL_S, serviceKey } from '../../../ts/wire/index.js'
import { makeSigner } from '../directory/helpers.js'

const NOW_MS = Date.UTC(2026, 5, 1, 12)
const PERIOD = periodOf(NOW_MS)
const seedOf = (name: string) => new Uint8Array(createHash('sha256').update(name).digest())
const SEED = seedOf('ours')

/** A service's record, signed as it should be. */
function record({ seed = SEED, period = PERIOD, replica = 0, seq = 5, payload = Buffer.from('sealed') as Uint8Array } = {}): Uint8Array {
  const blinded = serviceCrypto.blind(serviceCrypto.publicKey(seed), period)
  const body = {
    type: 'service',
    key: serviceKey(blinded, replica),
    seq,
    issued: periodStartS(period),
    ttl: SERVICE_TTL_S,
    payload
  } as const
  return issueRecord(body, { publicKey: blinded, sign: (message) => serviceCrypto.sign(seed, period, message) }).raw
}

const blinded = serviceCrypto.blind(serviceCrypto.publicKey(SEED), PERIOD)
const keys = Array.from({ length: SERVICE_REPLICAS }, (_, replica) => serviceKey(blinded, replica))
const replicaOf = (body: Uint8Array): number => keys.findIndex((key) => Buffer.from(body).includes(Buffer.from(fromHex(key, 32))))

/** A lookup whose last hops answer in turn as told, then that they have nothing; `limits`: what each answer may have at most. */
async function lookedUp(
  answers: readonly ((replica: number) => unknown)[]
): Promise<{ found: FoundDescriptor | string; limits: number[] }> {
  let circuits = 0
  let asked = 0
  const limits: number[] = []
  const parts = {
    engine: {
      circuitRpc: async (_circuit: number, body: Uint8Array, options: { maxReplyBytes: number }) => {
        limits.push(options.maxReplyBytes)
        const answer = answers[asked++]
        if (answer === undefined) throw errorFromCode('ERR_ANONNET_NOT_FOUND')
        const reply = encode({ r: answer(replicaOf(body)) })
        // As the engine does.
        if (reply.length > options.maxReplyBytes) throw errorFromCode('ERR_ANONNET_RESOURCE_LIMIT')
        return reply
      }
    } as unknown as Engine,
    circuits: {
      build: async (_kind: string, { onPath }: { onPath: (name: string) => void }) => {
        circuits += 1
        const last = String(circuits).padStart(64, '0')
        onPath(last)
        return { circuit: circuits, last }
      },
      close: () => undefined
    } as unknown as ServiceCircuits
  }
  const found = await lookUp(parts, { blinded, period: PERIOD }, NOW_MS, { timeoutMs: 10_000 }).catch(
    (error: { code: string }) => error.code
  )
  return { found, limits }
}

const good = (replica: number): Uint8Array => record({ replica })
/** What is signed by somebody, and is not what was asked for. */
const wrong: Readonly<Record<string, (replica: number) => unknown>> = {
  'of another service, of a higher number': (replica) => record({ replica, seed: seedOf('theirs'), seq: 99 }),
  'of the period before': (replica) => record({ replica, period: PERIOD - 1, seq: 99 }),
  'of the next period': (replica) => record({ replica, period: PERIOD + 1, seq: 99 }),
  'of the other replica': (replica) => record({ replica: (replica + 1) % SERVICE_REPLICAS, seq: 99 }),
  'of another class under the same key': (replica) =>
    issueRecord(
      { type: 'data', key: keys[replica] ?? '', seq: 99, issued: Math.floor(NOW_MS / 1000), ttl: 600, payload: Buffer.from('x') },
      makeSigner(7)
    ).raw,
  'with a signature that is wrong by a bit': (replica) => {
    const raw = Uint8Array.from(record({ replica, seq: 99 }))
    raw[raw.length - 1] = (raw[raw.length - 1] ?? 0) ^ 1
    return raw
  },
  'larger than any record': () => new Uint8Array(20 * 1024),
  'larger than any answer': () => new Uint8Array(30 * 1024),
  'that is no bytes': () => ({ record: 'x' })
}

describe('an answer', () => {
  it('that is right is taken, of 16 KiB too', async () => {
    const payload = new Uint8Array(MAX_DESCRIPTOR_BYTES).fill(7)
    const { found } = await lookedUp([good, good, (replica) => record({ replica, seq: 6, payload })])
    expect(found).toEqual({ revision: 6, payload })
  })

  it.each(Object.entries(wrong))('%s is none, and does not keep those of others from counting', async (_name, answer) => {
    expect((await lookedUp([answer, good, answer, good, good])).found).toMatchObject({ revision: 5 })
    expect((await lookedUp(Array(20).fill(answer))).found).toMatch(/^ERR_ANONNET_/)
  })

  it('is bounded before it is read', async () => {
    const { limits } = await lookedUp([good, good, good])
    expect(limits.length).toBeGreaterThanOrEqual(3)
    for (const limit of limits) expect(limit).toBe(24 * 1024)
  })
})
