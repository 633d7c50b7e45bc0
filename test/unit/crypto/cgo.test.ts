import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Cell, clientOriginate, clientReceive, Layer, polyval } from './cgo.js'
import { type Answer, buildTimeoutMs, hex, Oracle } from './oracle.js'

let rust: Oracle
beforeAll(async () => {
  rust = await Oracle.start()
}, buildTimeoutMs)
afterAll(() => rust?.[Symbol.asyncDispose]())

const bodyLength = 1084
const unhex = (text: string): Buffer => Buffer.from(text, 'hex')
const fixture = (name: string) => JSON.parse(readFileSync(new URL(`../../fixtures/${name}`, import.meta.url), 'utf8'))

describe('the TypeScript layers', () => {
  test("know RFC 8452's POLYVAL", () => {
    const blocks = '4f4f95668c83dfb6401762bb2d01a262d1a24ddd2721d006bbe45f20d3c9f362'
    expect(hex(polyval(unhex('25629347589242761d31f826ba4b757b'), unhex(blocks)))).toBe('f7a3b47b846119fae5b7866cf5e5b77e')
  })

  test('give the published answers for bodies of 493 bytes', () => {
    for (const [inbound, [keys, nonce, lastTag], command, tag, body, [after, out]] of fixture('cgo.json').relay.vectors) {
      const layer = new Layer(unhex(keys + nonce))
      layer.lastTag = unhex(lastTag)
      const cell = { tag: unhex(tag), body: unhex(body) }
      const passed = inbound ? layer.passBack(unhex(command)[0]!, cell) : layer.forward(unhex(command)[0]!, cell)
      expect([hex(passed.tag), hex(passed.body)]).toEqual(out)
      expect([hex(layer.keys), hex(layer.nonce), hex(layer.lastTag)]).toEqual(after)
    }
  })

  test('give the answers for bodies of 1084 bytes', () => {
    const { forward, backward } = fixture('cgo-1084.json')
    for (const { seeds, cells } of forward) {
      const client = seeds.map((seed: string) => new Layer(unhex(seed)))
      for (const { command, message, wire } of cells) {
        const cell = clientOriginate(client, unhex(command)[0]!, unhex(message))
        expect(hex(cell.tag) + hex(cell.body)).toBe(wire)
      }
    }
    for (const { seeds, cells } of backward) {
      const client = seeds.map((seed: string) => new Layer(unhex(seed)))
      for (const { command, message, wire } of cells) {
        const cell = { tag: unhex(wire).subarray(0, 16), body: unhex(wire).subarray(16) }
        expect(clientReceive(client, unhex(command)[0]!, cell)).toEqual({ hop: 2, body: unhex(message) })
      }
    }
  })
})

const cellOf = (answer: Answer): Cell => ({ tag: answer.bytes('tag'), body: answer.bytes('body') })
const fields = (handle: number, command: number, cell: Cell) => ({ handle, command, tag: hex(cell.tag), body: hex(cell.body) })
const zeroTag = Buffer.alloc(16)

/** Which command, which hop, what message: a random sequence for a circuit. */
function* sequence(hops: number, length: number) {
  for (const byte of randomBytes(length)) {
    yield { command: 1 + (byte & 1), hop: (byte >> 1) % hops, body: randomBytes(bodyLength) }
  }
}

describe.each([1, 2, 3, 4])('a circuit of %i hops, one end in Rust and one in TypeScript', (hops) => {
  const fresh = () => Array.from({ length: hops }, () => randomBytes(80))
  const relaysOf = (seeds: Buffer[]) => Promise.all(seeds.map(async (seed) => (await rust.ask('relayLayer', { seed: hex(seed) })).handle))
  const clientOf = async (seeds: Buffer[]) => (await rust.ask('clientLayers', { seeds: seeds.map(hex) })).handle

  test('carries cells of a TypeScript client through Rust relays', async () => {
    const seeds = fresh()
    const [client, relays] = [seeds.map((seed) => new Layer(seed)), await relaysOf(seeds)]
    for (const { command, hop, body } of sequence(hops, 8)) {
      let cell = clientOriginate(client.slice(0, hop + 1), command, body)
      for (const [at, handle] of relays.slice(0, hop + 1).entries()) {
        const answer = await rust.ask('forward', fields(handle, command, cell))
        expect(answer.get('recognised')).toBe(at === hop)
        cell = cellOf(answer)
      }
      expect(cell.body).toEqual(body)
    }
  })

  test('carries cells of a Rust client through TypeScript relays', async () => {
    const seeds = fresh()
    const [client, relays] = [await clientOf(seeds), seeds.map((seed) => new Layer(seed))]
    for (const { command, hop, body } of sequence(hops, 8)) {
      let cell = cellOf(await rust.ask('clientOriginate', { ...fields(client, command, { tag: zeroTag, body }), hop }))
      for (const [at, relay] of relays.slice(0, hop + 1).entries()) {
        const out = relay.forward(command, cell)
        expect(out.recognised).toBe(at === hop)
        cell = out
      }
      expect(cell.body).toEqual(body)
    }
  })

  test('carries answers of Rust relays to a TypeScript client', async () => {
    const seeds = fresh()
    const [client, relays] = [seeds.map((seed) => new Layer(seed)), await relaysOf(seeds)]
    for (const { command, hop, body } of sequence(hops, 8)) {
      let cell = cellOf(await rust.ask('originate', fields(relays[hop]!, command, { tag: zeroTag, body })))
      for (const handle of relays.slice(0, hop).reverse()) cell = cellOf(await rust.ask('passBack', fields(handle, command, cell)))
      expect(clientReceive(client, command, cell)).toEqual({ hop, body })
    }
  })

  test('carries answers of TypeScript relays to a Rust client', async () => {
    const seeds = fresh()
    const [client, relays] = [await clientOf(seeds), seeds.map((seed) => new Layer(seed))]
    for (const { command, hop, body } of sequence(hops, 8)) {
      let cell = relays[hop]!.originate(command, body)
      for (const relay of relays.slice(0, hop).reverse()) cell = relay.passBack(command, cell)
      const answer = await rust.ask('clientReceive', fields(client, command, cell))
      expect(answer.get('hop')).toBe(hop)
      expect(answer.bytes('body')).toEqual(body)
    }
  })
})

test('a touched cell is the same noise on both sides', async () => {
  const seed = randomBytes(80)
  const { handle } = await rust.ask('relayLayer', { seed: hex(seed) })
  const [client, relay] = [new Layer(seed), new Layer(seed)]
  let cell = clientOriginate([client], 1, Buffer.alloc(bodyLength))
  cell.body[700] = (cell.body[700] ?? 0) ^ 4
  for (let round = 0; round < 3; round += 1) {
    const answer = await rust.ask('forward', fields(handle, 1, cell))
    const ours = relay.forward(1, cell)
    expect([answer.get('recognised'), ours.recognised]).toEqual([false, false])
    expect(cellOf(answer)).toEqual({ tag: ours.tag, body: ours.body })
    cell = clientOriginate([client], 1, Buffer.alloc(bodyLength))
  }
})
