// Protocol section 6's onion layers, written from the protocol and not from the Rust code: slow, plain, with numbers for polynomials.
import { createCipheriv, createDecipheriv } from 'node:crypto'
import { concat } from './hash.js'

const none = null

/** x^128 + x^127 + x^126 + x^121 + 1, the bit of x^i at place i. */
const polynomial = (1n << 128n) | (1n << 127n) | (1n << 126n) | (1n << 121n) | 1n

const toNumber = (block: Uint8Array): bigint => BigInt(`0x${Buffer.from(block).reverse().toString('hex')}`)

const toBlock = (value: bigint): Buffer => Buffer.from(value.toString(16).padStart(32, '0'), 'hex').reverse()

/** a·b·x^-128, as RFC 8452 defines it: one bit of b at a time, divided by x after each. */
function dot(a: bigint, b: bigint): bigint {
  let product = 0n
  for (let rest = b, bit = 0; bit < 128; bit += 1, rest >>= 1n) {
    if (rest & 1n) product ^= a
    if (product & 1n) product ^= polynomial
    product >>= 1n
  }
  return product
}

/** POLYVAL over the message, padded with zeros to whole blocks. */
export function polyval(key: Uint8Array, message: Uint8Array): Buffer {
  const factor = toNumber(key)
  let sum = 0n
  for (let at = 0; at < message.length; at += 16) {
    const block = Buffer.alloc(16)
    block.set(message.subarray(at, at + 16))
    sum = dot(sum ^ toNumber(block), factor)
  }
  return toBlock(sum)
}

export const xor = (a: Uint8Array, b: Uint8Array): Buffer => Buffer.from(a.map((byte, at) => byte ^ (b[at] ?? 0)))

const aes = (key: Uint8Array, block: Uint8Array): Buffer => createCipheriv('aes-128-ecb', key, none).setAutoPadding(false).update(block)

const aesInverse = (key: Uint8Array, block: Uint8Array): Buffer =>
  createDecipheriv('aes-128-ecb', key, none).setAutoPadding(false).update(block)

/** One hop's layer in one direction, at either end. */
export class Layer {
  /** KB | KU | K | U */
  keys: Buffer
  nonce: Buffer
  lastTag: Buffer = Buffer.alloc(16)

  constructor(seed: Buffer) {
    this.keys = Buffer.from(seed.subarray(0, 64))
    this.nonce = Buffer.from(seed.subarray(64, 80))
  }

  #key(index: number): Buffer {
    return this.keys.subarray(16 * index, 16 * index + 16)
  }

  #tweak(command: number, body: Buffer): Buffer {
    return polyval(this.#key(1), concat(this.lastTag, Buffer.of(command), body))
  }

  /** `length` bytes of PRF(tag, part) for bodies of `bodyLength`: AES-CTR from block part·C of a counter with its low bits cleared. */
  #prf(tag: Buffer, part: number, length: number, bodyLength: number): Buffer {
    const blocks = Math.ceil(bodyLength / 16)
    const bits = BigInt(Math.ceil(Math.log2(blocks + 5)))
    const hashed = BigInt(`0x${polyval(this.#key(3), tag).toString('hex')}`)
    const counter = ((hashed >> bits) << bits) + BigInt(part * blocks)
    const iv = Buffer.from(counter.toString(16).padStart(32, '0'), 'hex')
    return createCipheriv('aes-128-ctr', this.#key(2), iv).update(Buffer.alloc(length))
  }

  #update(nonce: Buffer, bodyLength: number): void {
    const seed = this.#prf(nonce, 1, 80, bodyLength)
    this.keys = seed.subarray(0, 64)
    this.nonce = seed.subarray(64)
  }

  #encrypt(command: number, tag: Buffer, body: Buffer): Cell {
    const hashed = this.#tweak(command, body)
    const out = xor(aes(this.#key(0), xor(tag, hashed)), hashed)
    return { tag: out, body: xor(body, this.#prf(out, 0, body.length, body.length)) }
  }

  #decrypt(command: number, tag: Buffer, body: Buffer): Cell {
    const plain = xor(body, this.#prf(tag, 0, body.length, body.length))
    const hashed = this.#tweak(command, plain)
    return { tag: xor(aesInverse(this.#key(0), xor(tag, hashed)), hashed), body: plain }
  }

  /** Relay, away from the client. */
  forward(command: number, cell: Cell): Cell & { recognised: boolean } {
    const out = this.#encrypt(command, cell.tag, cell.body)
    this.lastTag = out.tag
    const recognised = out.tag.equals(this.nonce)
    if (recognised) this.#update(this.nonce, cell.body.length)
    return { ...out, recognised }
  }

  /** Relay, from a hop further out. */
  passBack(command: number, cell: Cell): Cell {
    const out = this.#encrypt(command, cell.tag, cell.body)
    this.lastTag = out.tag
    return out
  }

  /** Relay, a cell of its own towards the client. */
  originate(command: number, body: Buffer): Cell {
    const out = this.#encrypt(command, this.nonce, body)
    this.lastTag = out.tag
    this.#update(out.tag, body.length)
    return out
  }

  /** Client, one layer of a cell that leaves. */
  wrap(command: number, cell: Cell): Cell {
    const out = this.#decrypt(command, cell.tag, cell.body)
    this.lastTag = cell.tag
    return out
  }

  /** Client, one layer of a cell that came. */
  peel(command: number, cell: Cell): Cell & { recognised: boolean } {
    const out = this.wrap(command, cell)
    const recognised = out.tag.equals(this.nonce)
    if (recognised) this.#update(cell.tag, cell.body.length)
    return { ...out, recognised }
  }

  /** Client, after a cell for this hop was made. */
  sent(bodyLength: number): void {
    this.#update(this.nonce, bodyLength)
  }
}

export interface Cell {
  tag: Buffer
  body: Buffer
}

/** Client: a cell for the last of `layers`. */
export function clientOriginate(layers: readonly Layer[], command: number, body: Buffer): Cell {
  const destination = layers.at(-1)!
  const cell = layers.reduceRight((cell, layer) => layer.wrap(command, cell), { tag: destination.nonce, body })
  destination.sent(body.length)
  return cell
}

/** Client: the hop that a cell started at, and what it said; `undefined` when it is of none. */
export function clientReceive(layers: readonly Layer[], command: number, cell: Cell): { hop: number; body: Buffer } | undefined {
  let at = cell
  for (const [hop, layer] of layers.entries()) {
    const out = layer.peel(command, at)
    if (out.recognised) return { hop, body: out.body }
    at = out
  }
  return undefined
}
