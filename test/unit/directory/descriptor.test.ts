import { describe, expect, it } from 'vitest'
import { checkCurrent, DESCRIPTOR_DOMAIN, parseDescriptor, readDescriptor } from '../../../ts/directory/descriptor.js'
import {
  CLOCK_TOLERANCE_S,
  MAX_DESCRIPTOR_BYTES,
  MAX_DESCRIPTORS_PER_PREFIX,
  MAX_STORED_DESCRIPTORS,
  PUBLISH_BURST
} from '../../../ts/directory/limits.js'
import { DescriptorStore } from '../../../ts/directory/store.js'
import { DescriptorCache } from '../../../ts/directory/vote.js'
import { decodeCbor, encodeCbor, nodeIdOf, sha256, signedMessage, toHex } from '../../../ts/wire/index.js'
import { codeOf, INTERVAL_MS, makeDescriptor, makeFacts, makeSigner, START_S, verify } from './helpers.js'

const LOOSE = { maxBytes: 1e6, maxDepth: 16, maxItems: 1e5 }
const signer = makeSigner(1)
const INVALID = 'ERR_ANONNET_DESCRIPTOR_INVALID'

function fields(): Record<string, unknown> {
  const [body] = decodeCbor(makeDescriptor(signer), LOOSE) as [Uint8Array]
  return decodeCbor(body, LOOSE) as Record<string, unknown>
}

const sealed = (body: Uint8Array, by = signer, domain = DESCRIPTOR_DOMAIN) => encodeCbor([body, by.sign(signedMessage(domain, body))])

describe('node ids', () => {
  it('are SHA-256 of the domain and the key', () => {
    const key = new Uint8Array(32).fill(9)
    expect(nodeIdOf(key)).toBe(toHex(sha256(Buffer.from('anonnet:1:node-id'), key)))
  })
})

describe('relay descriptors', () => {
  it('come back as they were issued', () => {
    const facts = makeFacts({
      address: '[2001:db8::1]:4000',
      roles: { relay: true, exit: true, guard: false, dht: true },
      exitPolicy: ['accept *:443', 'accept 10.0.0.0/8:80-90', 'reject [fc00::]/7:*', 'accept 192.0.2.1:1', 'reject *:*'],
      family: [nodeIdOf(makeSigner(2).publicKey)],
      versions: [1, 3],
      seq: 2 ** 50
    })
    const { descriptor, raw, digest } = parseDescriptor(makeDescriptor(signer, facts), verify)
    expect(descriptor).toEqual({ ...facts, nodeId: nodeIdOf(signer.publicKey), identity: signer.publicKey })
    expect(digest).toBe(toHex(sha256(raw)))
    expect(readDescriptor(raw)).toEqual(descriptor)
  })

  it('signs over the exact bytes, for this purpose only', () => {
    const body = encodeCbor(fields())
    expect(parseDescriptor(sealed(body), verify).descriptor.seq).toBe(1)
    expect(codeOf(() => parseDescriptor(sealed(body, makeSigner(2)), verify))).toBe(INVALID)
    expect(codeOf(() => parseDescriptor(sealed(body, signer, 'anonnet:1:record'), verify))).toBe(INVALID)
    const raw = makeDescriptor(signer)
    expect(signedMessage('ab', Uint8Array.of(9))).toEqual(Buffer.from('000000000000000261620 9'.replace(' ', ''), 'hex'))
    for (const at of [3, 40, 90, raw.length - 1]) {
      expect(codeOf(() => parseDescriptor(raw.with(at, (raw[at] ?? 0) ^ 1), verify))).toBe(INVALID)
    }
  })

  it('refuses every field that does not fit, also with a right signature', () => {
    const wrong: Record<string, unknown>[] = [
      { v: 2 },
      { identity: new Uint8Array(31) },
      { onion: 'text' },
      { address: 'example.org:80' },
      { address: '10.0.0.1:0' },
      { address: '10.0.0.1:65536' },
      { address: '10.0.0.256:80' },
      { address: '2001:db8::1:80' },
      { address: '[fe80::1%eth0]:80' },
      { roles: 16 },
      { exit: ['allow *:*'] },
      { exit: ['accept *:70000'] },
      { exit: ['accept *:90-80'] },
      { exit: ['accept 10.0.0.0/33:*'] },
      { exit: ['accept [::1]/129:*'] },
      { exit: new Array(33).fill('reject *:*') },
      { exit: ['é'] },
      { family: [new Uint8Array(5)] },
      { family: new Array(33).fill(new Uint8Array(32)) },
      { versions: [] },
      { versions: [2, 1] },
      { versions: [1, 1] },
      { bandwidth: 0 },
      { bandwidth: -1 },
      { issued: 1.5 },
      { lifetime: 3 * 3600 + 1 },
      { lifetime: 9 },
      { seq: 'x' },
      { more: 1 }
    ]
    for (const change of wrong) expect(codeOf(() => parseDescriptor(sealed(encodeCbor({ ...fields(), ...change })), verify))).toBe(INVALID)
    for (const name of Object.keys(fields())) {
      const { [name]: _gone, ...rest } = fields()
      expect(codeOf(() => parseDescriptor(sealed(encodeCbor(rest)), verify))).toBe(INVALID)
    }
    expect(codeOf(() => makeDescriptor(signer, { bandwidth: 0 }))).toBe(INVALID)
  })

  it('attack 26: refuses inflated and nested ones before decoding them', () => {
    const large = {
      exitPolicy: new Array(32).fill(`accept [${'1111:'.repeat(7)}1111]/128:10000-20000`),
      family: new Array(32).fill('00'.repeat(32))
    }
    expect(makeDescriptor(signer, large).length).toBeLessThanOrEqual(MAX_DESCRIPTOR_BYTES)
    for (const bomb of [
      new Uint8Array(MAX_DESCRIPTOR_BYTES + 1),
      new Uint8Array(4000).fill(0x81),
      new Uint8Array(4000).fill(0x80),
      Uint8Array.of(0x9f)
    ]) {
      expect(codeOf(() => parseDescriptor(bomb, verify))).toBe(INVALID)
      expect(codeOf(() => parseDescriptor(sealed(bomb), verify))).toBe(INVALID)
    }
  })

  it('is current from its issue, give or take the tolerance, to the end of its life', () => {
    const { descriptor } = parseDescriptor(makeDescriptor(signer), verify)
    const end = START_S + descriptor.lifetime
    for (const nowS of [START_S - CLOCK_TOLERANCE_S, START_S, end - 1]) checkCurrent(descriptor, nowS)
    for (const nowS of [START_S - CLOCK_TOLERANCE_S - 1, end]) expect(codeOf(() => checkCurrent(descriptor, nowS))).toBe(INVALID)
  })
})

describe('the descriptor store of a bootstrap node', () => {
  const NOW_MS = START_S * 1000
  const make = () => new DescriptorStore(new DescriptorCache(verify), INTERVAL_MS)
  const idOf = (seed: number) => nodeIdOf(makeSigner(seed).publicKey)

  it('attack 24: takes the newest of its own relay, refuses older, foreign and expired ones', () => {
    const store = make()
    const first = store.publish(makeDescriptor(signer, { seq: 5 }), idOf(1), NOW_MS)
    expect(store.publish(makeDescriptor(signer, { seq: 5 }), idOf(1), NOW_MS)).toBe(first)
    expect(codeOf(() => store.publish(makeDescriptor(signer, { seq: 4 }), idOf(1), NOW_MS))).toBe(INVALID)
    expect(codeOf(() => store.publish(makeDescriptor(signer, { seq: 5, bandwidth: 7 }), idOf(1), NOW_MS))).toBe(INVALID)
    expect(codeOf(() => store.publish(makeDescriptor(signer, { seq: 6 }), idOf(2), NOW_MS))).toBe(INVALID)
    expect(codeOf(() => store.publish(makeDescriptor(signer, { seq: 6, lifetime: 60 }), idOf(1), NOW_MS + 60_000))).toBe(INVALID)
    const second = store.publish(makeDescriptor(signer, { seq: 6, address: '127.2.0.1:1' }), idOf(1), NOW_MS + 90_000)
    expect(second.firstSeen).toBe(first.firstSeen)
    expect(store.size).toBe(1)
    expect(store.expire(NOW_MS + 3 * 3600 * 1000)).toBe(1)
  })

  it('limits how often one node publishes', () => {
    const store = make()
    for (let seq = 1; seq <= PUBLISH_BURST; seq++) store.publish(makeDescriptor(signer, { seq }), idOf(1), NOW_MS)
    expect(codeOf(() => store.publish(makeDescriptor(signer, { seq: 100 }), idOf(1), NOW_MS))).toBe('ERR_ANONNET_RATE_LIMITED')
    store.publish(makeDescriptor(signer, { seq: 100 }), idOf(1), NOW_MS + INTERVAL_MS / 6 + 1)
    store.expire(NOW_MS + 3600_000)
    for (let seq = 101; seq < 101 + PUBLISH_BURST; seq++) store.publish(makeDescriptor(signer, { seq }), idOf(1), NOW_MS + 3600_000)
  })

  it('takes at most 64 relays of one /24', () => {
    const store = make()
    for (let i = 0; i < MAX_DESCRIPTORS_PER_PREFIX; i++)
      store.publish(makeDescriptor(makeSigner(i), { address: `10.0.0.${i + 1}:1` }), idOf(i), NOW_MS)
    expect(codeOf(() => store.publish(makeDescriptor(makeSigner(900), { address: '10.0.0.99:1' }), idOf(900), NOW_MS))).toBe(
      'ERR_ANONNET_RESOURCE_LIMIT'
    )
    // One that is there may change in place, and one that goes leaves room.
    store.publish(makeDescriptor(makeSigner(3), { address: '10.0.0.200:1', seq: 2 }), idOf(3), NOW_MS)
    store.publish(makeDescriptor(makeSigner(3), { address: '10.0.1.200:1', seq: 3 }), idOf(3), NOW_MS)
    store.publish(makeDescriptor(makeSigner(900), { address: '10.0.0.99:1' }), idOf(900), NOW_MS)
  })

  it('takes at most 10,000 relays, and makes room by what has expired', () => {
    // Signatures are not the point here, and would take long.
    const store = new DescriptorStore(new DescriptorCache(() => true), INTERVAL_MS)
    const plain = (index: number, lifetime: number) => {
      const publicKey = new Uint8Array(32)
      new DataView(publicKey.buffer).setUint32(0, index)
      const raw = makeDescriptor(
        { publicKey, sign: () => new Uint8Array(64) },
        { address: `10.${index >> 8}.${index & 255}.1:1`, lifetime }
      )
      return [raw, nodeIdOf(publicKey)] as const
    }
    for (let i = 0; i < MAX_STORED_DESCRIPTORS; i++) store.publish(...plain(i, i === 0 ? 60 : 3600), NOW_MS)
    expect(codeOf(() => store.publish(...plain(20_000, 3600), NOW_MS))).toBe('ERR_ANONNET_RESOURCE_LIMIT')
    store.publish(...plain(20_000, 3600), NOW_MS + 61_000)
    expect(store.size).toBe(MAX_STORED_DESCRIPTORS)
  })

  it('adopts what a majority listed, silently leaving out what does not fit', () => {
    const store = make()
    store.adopt(makeDescriptor(signer, { seq: 2 }), START_S - 500, NOW_MS)
    expect(store.entries()[0]!.firstSeen).toBe(START_S - 500)
    store.adopt(makeDescriptor(signer, { seq: 1 }), START_S, NOW_MS)
    store.adopt(makeDescriptor(makeSigner(2), { lifetime: 60 }), START_S, NOW_MS + 61_000)
    store.adopt(new Uint8Array(3), START_S, NOW_MS)
    expect(store.entries().map((entry) => entry.signed.descriptor.seq)).toEqual([2])
  })
})
