/**
 * Services among hostile others, end to end: real relays on loopback, the real addon. A service that never answers, clients that leave out
 * their proof of work or forge it, clients and last hops that forge authorization, and last hops that answer with an old valid record.
 */
import { randomBytes } from 'node:crypto'
import { x25519 } from '@noble/curves/ed25519.js'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { DhtNode, issueRecord, parseRecord } from '../../ts/dht/index.js'
import { type AnonNode, createTestnet, type Testnet } from '../../ts/index.js'
import { serviceCrypto } from '../../ts/native/index.js'
import { ServiceEngine } from '../../ts/native/service-engine.js'
import { ServiceHost } from '../../ts/node/service-host.js'
import type * as AuthorizationModule from '../../ts/services/authorization.js'
import { ENTRY_BYTES } from '../../ts/services/authorization.js'
import { parseServiceHost, sealDescriptor } from '../../ts/services/index.js'
import type * as IntroductionModule from '../../ts/services/introduction.js'
import { AUTH_STEP, POW_INTERVAL_MS } from '../../ts/services/limits.js'
import { LOAD_LIMITS, Load } from '../../ts/services/load.js'
import { periodOf, periodStartS, SERVICE_REPLICAS, SERVICE_TTL_S, serviceKey } from '../../ts/wire/index.js'
import { collect } from '../helpers/servers.js'
import { socksConnect } from '../helpers/socks.js'

/** A proxy gives up on a service after so long; a busy machine may be a little later. */
const PROXY_LIMIT_MS = 55_000
const SLACK_MS = 10_000
const RELAYS = 12
const LIARS = 2

/** How a client of this file introduces itself: as it should, without its proof, or with one that is none. */
const manner = vi.hoisted(() => ({ proof: 'real' as 'real' | 'none' | 'forged' }))
vi.mock('../../ts/services/introduction.js', async (original) => {
  const real = await original<typeof IntroductionModule>()
  const writeIntroduction: typeof real.writeIntroduction = (introduction) => {
    const { pow } = introduction
    if (pow === undefined || manner.proof === 'real') return real.writeIntroduction(introduction)
    return real.writeIntroduction({ ...introduction, pow: manner.proof === 'none' ? undefined : { ...pow, effort: 5_000 } })
  }
  return { ...real, writeIntroduction }
})

/** How a client of this file that is not authorised makes up the secret of a descriptor; undefined: as it should. */
const forgery = vi.hoisted(() => ({ secret: undefined as ((entries: Uint8Array) => Uint8Array) | undefined }))
vi.mock('../../ts/services/authorization.js', async (original) => {
  const real = await original<typeof AuthorizationModule>()
  const readEntry: typeof real.readEntry = (crypto, entries, ...rest) =>
    forgery.secret === undefined ? real.readEntry(crypto, entries, ...rest) : forgery.secret(entries.entries)
  return { ...real, readEntry }
})

let net: Testnet
let host: AnonNode
let client: AnonNode

beforeAll(async () => {
  net = await createTestnet(RELAYS)
  ;[host, client] = await Promise.all([net.createNode(), net.createNode({ proxy: '127.0.0.1:0' })])
}, 120_000)

afterAll(() => net?.close(), 60_000)

afterEach(() => {
  vi.restoreAllMocks()
  manner.proof = 'real'
  forgery.secret = undefined
})

describe('a service that takes introductions and never answers', () => {
  it('is a typed error within the time that was given, and code 0xF7 for SOCKS within its limit', { timeout: 150_000 }, async () => {
    const silent = await host.listen({ port: 80 }, (socket) => socket.end())
    const taken = vi.spyOn(ServiceHost.prototype, 'introduced').mockReturnValue(true)
    const [proxy] = client.proxies
    const timeoutMs = 20_000
    const begun = performance.now()
    const connecting = client.connect(`${silent.address}:80`, { isolate: 'silent', timeoutMs }).then(
      () => 'connected',
      (error: { code?: string }) => ({ code: error.code, tookMs: performance.now() - begun })
    )
    const proxied = socksConnect(proxy?.address ?? '', silent.address, 80).then(({ reply }) => ({
      reply,
      tookMs: performance.now() - begun
    }))
    const [failed, answer] = await Promise.all([connecting, proxied])
    expect(failed).toEqual({ code: 'ERR_ANONNET_INTRODUCTION_TIMEOUT', tookMs: expect.any(Number) })
    expect((failed as { tookMs: number }).tookMs).toBeLessThan(timeoutMs + SLACK_MS)
    expect(answer.reply).toBe(0xf7)
    expect(answer.tookMs).toBeLessThan(PROXY_LIMIT_MS + SLACK_MS)
    // It was reached: it is the service that said nothing.
    expect(taken.mock.calls.length).toBeGreaterThan(1)
    await silent.close()
  })
})

describe('a service that asks for proof of work', () => {
  it('serves who proves it, and neither who leaves it out nor who claims more than was done', { timeout: 150_000 }, async () => {
    // Its own queue says that it is overloaded: filled beyond its limit in two intervals in a row, before it publishes for the first time.
    const get = Object.getOwnPropertyDescriptor(Load.prototype, 'suggestion')?.get as (this: Load) => Load['suggestion']
    const loaded = new Set<Load>()
    vi.spyOn(Load.prototype, 'suggestion', 'get').mockImplementation(function (this: Load) {
      if (!loaded.has(this)) {
        loaded.add(this)
        const now = performance.now()
        for (const interval of [1, 2]) {
          for (let request = 0; request <= LOAD_LIMITS.waiting; request++) this.offer(4_000_000_000 + request, undefined, now)
          this.tick(now + interval * POW_INTERVAL_MS)
        }
      }
      return get.call(this)
    })
    const busy = await host.listen({ port: 80 }, (socket) => socket.pipe(socket))
    expect(busy.effort).toBeGreaterThan(0)

    const verdicts: string[] = []
    const offer = Load.prototype.offer
    vi.spyOn(Load.prototype, 'offer').mockImplementation(function (this: Load, request, proof, nowMs) {
      const result = offer.call(this, request, proof, nowMs)
      verdicts.push(`${proof?.effort ?? 'none'} ${result.verdict}`)
      return result
    })
    for (const [proof, verdict] of [
      ['none', 'none no-proof'],
      ['forged', '5000 bad-proof']
    ] as const) {
      manner.proof = proof
      verdicts.length = 0
      await expect(client.connect(`${busy.address}:80`, { isolate: proof, timeoutMs: 9_000 })).rejects.toMatchObject({
        code: 'ERR_ANONNET_INTRODUCTION_TIMEOUT'
      })
      expect(verdicts.length).toBeGreaterThan(0)
      expect(new Set(verdicts)).toEqual(new Set([verdict]))
    }
    manner.proof = 'real'
    verdicts.length = 0
    const socket = await client.connect(`${busy.address}:80`, { isolate: 'real' })
    socket.end('worked for it')
    expect(String(await collect(socket))).toBe('worked for it')
    expect(verdicts).toContain(`${busy.effort} taken`)
    await busy.close()
  })
})

describe('forged authorization', () => {
  it('opens no descriptor and reaches no service, whatever a client makes up', { timeout: 150_000 }, async () => {
    const key = randomBytes(32)
    const locked = await host.listen({ port: 80, auth: [x25519.getPublicKey(key)] }, (socket) => socket.end('welcome'))
    const other = await host.listen({ port: 80, auth: [x25519.getPublicKey(randomBytes(32))] }, (socket) => socket.end('not for you'))
    const introduced = vi.spyOn(ServiceHost.prototype, 'introduced')
    // Authorised elsewhere.
    client.authorize(other.address, key)
    await expect(client.connect(`${other.address}:80`)).rejects.toMatchObject({ code: 'ERR_ANONNET_CLIENT_AUTH_WRONG' })
    // A client of its own making: the secret of no authorization, any other, and what stands in the entries as it stands there.
    client.authorize(locked.address, randomBytes(32))
    let forged = 0
    const secrets: ((entries: Uint8Array) => Uint8Array)[] = [
      () => new Uint8Array(32),
      () => Uint8Array.from(randomBytes(32)),
      ...Array.from(
        { length: AUTH_STEP },
        (_, entry) => (entries: Uint8Array) => entries.slice(entry * ENTRY_BYTES + 8, (entry + 1) * ENTRY_BYTES)
      )
    ]
    forgery.secret = (entries) => {
      const secret = secrets[forged++]?.(entries)
      return secret ?? new Uint8Array(32)
    }
    while (forged < secrets.length) {
      const before = forged
      await expect(client.connect(`${locked.address}:80`)).rejects.toMatchObject({ code: 'ERR_ANONNET_CLIENT_AUTH_WRONG' })
      expect(forged).toBeGreaterThan(before)
    }
    expect(introduced).not.toHaveBeenCalled()
    forgery.secret = undefined
    client.authorize(locked.address, key)
    expect(String(await collect(await client.connect(`${locked.address}:80`)))).toBe('welcome')
    expect(introduced).toHaveBeenCalled()
    await Promise.all([locked.close(), other.close()])
  })

  it('of a whole descriptor, by last hops that know the address, leads nobody to the introduction points in it', {
    timeout: 150_000
  }, async () => {
    const key = randomBytes(32)
    const locked = await host.listen({ port: 80, auth: [x25519.getPublicKey(key)] }, (socket) => socket.end('welcome'))
    const { publicKey } = parseServiceHost(locked.address)
    const point = { nodeId: net.relays[0]?.nodeId ?? '', authKey: randomBytes(32), onionKey: randomBytes(32), kemKey: randomBytes(1184) }
    const thief = Uint8Array.from(randomBytes(32))
    const introduce = vi.spyOn(ServiceEngine.prototype, 'introduce')
    let lied = 0
    // Everybody who is asked: as the service would write it, for the same client and one more, but for who signs it.
    const forged = vi.spyOn(DhtNode.prototype, 'findService').mockImplementation(function (this: DhtNode, at) {
      lied += 1
      const nowMs = Date.now()
      const periods = [...new Set([-1, 0, 1].map((days) => periodOf(nowMs + days * 86_400_000)))]
      for (const period of periods) {
        const blinded = serviceCrypto.blind(publicKey, period)
        for (let replica = 0; replica < SERVICE_REPLICAS; replica++) {
          if (serviceKey(blinded, replica) !== at) continue
          const seq = 2 ** 40
          const clients = [x25519.getPublicKey(key), x25519.getPublicKey(randomBytes(32))]
          const payload = sealDescriptor(
            serviceCrypto,
            { publicKey, period, revision: seq },
            { introPoints: [point], pow: undefined },
            clients
          )
          const body = { type: 'service', key: at, seq, issued: periodStartS(period), ttl: SERVICE_TTL_S, payload } as const
          const signer = { publicKey: blinded, sign: (message: Uint8Array) => serviceCrypto.sign(thief, period, message) }
          return Promise.resolve(issueRecord(body, signer).raw)
        }
      }
      return Promise.reject(new Error('a key of no period'))
    })
    client.authorize(locked.address, key)
    await expect(client.connect(`${locked.address}:80`)).rejects.toMatchObject({ code: 'ERR_ANONNET_RECORD_INVALID' })
    expect(lied).toBeGreaterThan(1)
    expect(introduce).not.toHaveBeenCalled()
    forged.mockRestore()
    expect(String(await collect(await client.connect(`${locked.address}:80`)))).toBe('welcome')
    await locked.close()
  })
})

describe('last hops that answer with an old valid record', () => {
  it('do not lead a client to what was replaced: the highest revision of three answers counts', { timeout: 150_000 }, async () => {
    const find = DhtNode.prototype.findService
    const put = DhtNode.prototype.storeService
    const establish = ServiceEngine.prototype.establishIntro
    const introduce = ServiceEngine.prototype.introduce
    const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

    const old = new Map<string, Uint8Array>()
    const oldPoints = new Set<string>()
    const liars = new Set(net.relays.slice(0, LIARS).map(({ nodeId }) => nodeId))
    let recording = true
    let lied = 0
    vi.spyOn(DhtNode.prototype, 'storeService').mockImplementation(function (this: DhtNode, raw) {
      if (recording) old.set(parseRecord(raw, () => true).record.key, Uint8Array.from(raw))
      return put.call(this, raw)
    })
    vi.spyOn(ServiceEngine.prototype, 'establishIntro').mockImplementation(async function (this: ServiceEngine, circuit, options) {
      const keys = await establish.call(this, circuit, options)
      if (recording) oldPoints.add(hex(keys.authKey))
      return keys
    })
    const used: string[] = []
    vi.spyOn(ServiceEngine.prototype, 'introduce').mockImplementation(function (this: ServiceEngine, intro, rendezvous, to, ...rest) {
      used.push(hex(to.authKey))
      return introduce.call(this, intro, rendezvous, to, ...rest)
    })

    const key = randomBytes(32)
    const first = await host.listen({ port: 80, key }, (socket) => socket.end('old'))
    await first.close()
    recording = false
    expect(old.size).toBeGreaterThan(0)
    expect(oldPoints.size).toBeGreaterThan(0)
    const second = await host.listen({ port: 80, key }, (socket) => socket.end('new'))

    vi.spyOn(DhtNode.prototype, 'findService').mockImplementation(function (this: DhtNode, at) {
      const kept = old.get(at)
      if (kept === undefined || !liars.has(this.nodeId)) return find.call(this, at)
      lied += 1
      return Promise.resolve(kept)
    })
    // Until one of them was asked: which last hops a lookup takes is drawn. Two of them cannot be all three answers.
    for (let round = 0; round < 12 && (round < 3 || lied === 0); round++) {
      client.authorize(second.address, undefined)
      const socket = await client.connect(`${second.address}:80`, { isolate: `lookup ${round}` })
      expect(String(await collect(socket))).toBe('new')
    }
    expect(lied).toBeGreaterThan(0)
    expect(used.length).toBeGreaterThan(0)
    expect(used.filter((authKey) => oldPoints.has(authKey))).toEqual([])
    await second.close()
  })
})

describe('a service whose last run had a clock that was ahead', () => {
  it('is published above what is left of that run, before it counts as reachable', { timeout: 120_000 }, async () => {
    const key = randomBytes(32)
    const now = Date.now.bind(Date)
    vi.spyOn(Date, 'now').mockImplementation(() => now() + 60_000)
    const first = await host.listen({ port: 80, key }, (socket) => socket.end('old'))
    await first.close()
    vi.restoreAllMocks()
    const second = await host.listen({ port: 80, key }, (socket) => socket.end('new'))
    for (const isolate of ['after', 'and again']) {
      client.authorize(second.address, undefined)
      expect(String(await collect(await client.connect(`${second.address}:80`, { isolate })))).toBe('new')
    }
    await second.close()
  })
})
