// Protocol section 11's cryptography, written from the protocol and not from the Rust code.
import { createHash, timingSafeEqual } from 'node:crypto'
import { ed25519, x25519 } from '@noble/curves/ed25519.js'
import { argon2id } from '@noble/hashes/argon2.js'
import { ml_kem768 } from '@noble/post-quantum/ml-kem.js'
import type { Secrets } from './handshake.js'
import { ascii, concat, encap, h, open, seal, xof } from './hash.js'

const { Point } = ed25519
const order = Point.Fn.ORDER
const version = encap(ascii('anonnet:1:service'))
const empty = Buffer.alloc(0)

const littleEndian = (bytes: Uint8Array): bigint => BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`)
const scalarBytes = (scalar: bigint): Buffer => Buffer.from(scalar.toString(16).padStart(64, '0'), 'hex').reverse()
const sha512 = (...parts: readonly Uint8Array[]): Buffer =>
  createHash('sha512')
    .update(concat(...parts))
    .digest()

function u64(value: number): Buffer {
  const out = Buffer.alloc(8)
  out.writeBigUInt64BE(BigInt(value))
  return out
}

function u32(value: number): Buffer {
  const out = Buffer.alloc(4)
  out.writeUInt32BE(value)
  return out
}

function clamp(bytes: Uint8Array): Buffer {
  const out = Buffer.from(bytes)
  out[0] = (out[0] as number) & 248
  out[31] = ((out[31] as number) & 63) | 64
  return out
}

const factor = (publicKey: Buffer, period: number): Buffer => clamp(h('anonnet:1:service-blind', publicKey, u64(period)))

export function blind(publicKey: Buffer, period: number): Buffer {
  const point = Point.fromBytes(publicKey)
  if (!point.isTorsionFree() || point.is0()) throw new Error('not of the prime order')
  return Buffer.from(point.multiply(littleEndian(factor(publicKey, period)) % order).toBytes())
}

export const subcredential = (publicKey: Buffer, period: number): Buffer =>
  h('anonnet:1:service-subcredential', h('anonnet:1:service-credential', publicKey), blind(publicKey, period))

export function sign(seed: Buffer, period: number, message: Buffer): Buffer {
  const long = sha512(seed)
  const publicKey = Buffer.from(ed25519.getPublicKey(seed))
  const blinding = factor(publicKey, period)
  const secret = (littleEndian(clamp(long.subarray(0, 32))) * littleEndian(blinding)) % order
  const prefix = h('anonnet:1:service-blind-nonce', long.subarray(32), blinding)
  const r = littleEndian(sha512(prefix, message)) % order
  const commitment = Buffer.from(Point.BASE.multiply(r).toBytes())
  const challenge = littleEndian(sha512(commitment, blind(publicKey, period), message)) % order
  return concat(commitment, scalarBytes((r + challenge * secret) % order))
}

export interface Entry {
  authKey: Buffer
  onionKey: Buffer
  kemKey: Buffer
}

export const entryOf = (bytes: Buffer): Entry => ({
  authKey: bytes.subarray(0, 32),
  onionKey: bytes.subarray(32, 64),
  kemKey: bytes.subarray(64)
})

export interface Keys {
  entry: Entry
  seed: Buffer
  secretB: Buffer
  secretKem: Uint8Array
}

/** `random` is the seed[32] | b[32] | d[32] | z[32]. */
export function point(random: Buffer): Keys {
  const [seed, secretB] = [random.subarray(0, 32), random.subarray(32, 64)]
  const kem = ml_kem768.keygen(random.subarray(64))
  const entry = {
    authKey: Buffer.from(ed25519.getPublicKey(seed)),
    onionKey: Buffer.from(x25519.getPublicKey(secretB)),
    kemKey: Buffer.from(kem.publicKey)
  }
  return { entry, seed, secretB, secretKem: kem.secretKey }
}

export function establish({ entry, seed }: Keys, bind: Buffer): Buffer {
  const mac = h('anonnet:1:intro-mac', encap(bind), entry.authKey)
  const signature = ed25519.sign(concat(encap(ascii('anonnet:1:establish-intro')), entry.authKey, mac), seed)
  return concat(entry.authKey, mac, signature)
}

interface Sent {
  x: Buffer
  ek: Buffer
  ctS: Buffer
}

function requestKeys(entry: Entry, credential: Buffer, { x, ek, ctS }: Sent, bx: Uint8Array, kemS: Uint8Array) {
  const { authKey, onionKey, kemKey } = entry
  const keys = xof('anonnet:1:hs-kdf1', 64, bx, kemS, authKey, credential, onionKey, kemKey, x, ek, ctS, version)
  return { k1: keys.subarray(0, 32), macKey: keys.subarray(32) }
}

const requestMac = (macKey: Buffer, { authKey, onionKey }: Entry, credential: Buffer, { x, ek, ctS }: Sent, record: Buffer): Buffer =>
  h('anonnet:1:hs-mac', encap(macKey), authKey, credential, onionKey, x, ek, ctS, encap(record))

interface Agreed {
  xy: Uint8Array
  xb: Uint8Array
  kem: Uint8Array
  kemS: Uint8Array
  y: Buffer
  ct: Buffer
}

function schedule({ authKey, onionKey }: Entry, credential: Buffer, { x, ek }: Sent, agreed: Agreed, mac: Buffer) {
  const { xy, xb, kem, kemS, y, ct } = agreed
  const secret = concat(xy, xb, kem, kemS, authKey, credential, onionKey, x, y, ek, ct, version)
  const keys = xof('anonnet:1:hs-final', 256, h('anonnet:1:hs-seed', secret))
  const verify = h('anonnet:1:hs-verify', secret)
  const secrets: Secrets = {
    forward: keys.subarray(32, 112),
    backward: keys.subarray(112, 192),
    bind: keys.subarray(192, 224),
    resume: keys.subarray(224)
  }
  return { secrets, proof: h('anonnet:1:hs-auth', verify, authKey, onionKey, y, ct, x, ek, mac, ascii('service')) }
}

function pad(payload: Buffer): Buffer {
  const out = Buffer.alloc(802)
  out.writeUInt16BE(payload.length)
  payload.copy(out, 2)
  return out
}

export interface Client {
  entry: Entry
  credential: Buffer
  sent: Sent
  secretX: Buffer
  secretKem: Uint8Array
  kemS: Uint8Array
  mac: Buffer
}

/** `random` is x[32] | d[32] | z[32] | m[32]. */
export function start(random: Buffer, entry: Entry, credential: Buffer, payload: Buffer): { client: Client; message: Buffer } {
  const secretX = random.subarray(0, 32)
  const own = ml_kem768.keygen(random.subarray(32, 96))
  const theirs = ml_kem768.encapsulate(entry.kemKey, random.subarray(96))
  const sent = { x: Buffer.from(x25519.getPublicKey(secretX)), ek: Buffer.from(own.publicKey), ctS: Buffer.from(theirs.cipherText) }
  const bx = x25519.scalarMult(secretX, entry.onionKey)
  const { k1, macKey } = requestKeys(entry, credential, sent, bx, theirs.sharedSecret)
  const record = seal(k1, empty, pad(payload))
  const mac = requestMac(macKey, entry, credential, sent, record)
  return {
    client: { entry, credential, sent, secretX, secretKem: own.secretKey, kemS: theirs.sharedSecret, mac },
    message: concat(entry.authKey, sent.x, sent.ek, sent.ctS, record, mac)
  }
}

/** Throws when the service did not prove itself. */
export function finish({ entry, credential, sent, secretX, secretKem, kemS, mac }: Client, reply: Buffer): Secrets {
  const [y, ct, given] = [reply.subarray(0, 32), reply.subarray(32, 1120), reply.subarray(1120)]
  const agreed = {
    xy: x25519.scalarMult(secretX, y),
    xb: x25519.scalarMult(secretX, entry.onionKey),
    kem: ml_kem768.decapsulate(ct, secretKem),
    kemS,
    y,
    ct
  }
  const { secrets, proof } = schedule(entry, credential, sent, agreed, mac)
  if (!timingSafeEqual(proof, given)) throw new Error('AUTH does not fit')
  return secrets
}

/** `message` is an INTRODUCE2, `random` y[32] | m[32]. Throws when the message does not fit. */
export function respond(random: Buffer, keys: Keys, credential: Buffer, message: Buffer) {
  const sent = { x: message.subarray(0, 32), ek: message.subarray(32, 1216), ctS: message.subarray(1216, 2304) }
  const [record, mac] = [message.subarray(2304, -32), message.subarray(-32)]
  const xb = x25519.scalarMult(keys.secretB, sent.x)
  const kemS = ml_kem768.decapsulate(sent.ctS, keys.secretKem)
  const { k1, macKey } = requestKeys(keys.entry, credential, sent, xb, kemS)
  if (!timingSafeEqual(requestMac(macKey, keys.entry, credential, sent, record), mac)) throw new Error('MAC does not fit')
  const plain = open(k1, empty, record)
  const payload = plain.subarray(2, 2 + plain.readUInt16BE())
  const secretY = random.subarray(0, 32)
  const { cipherText, sharedSecret } = ml_kem768.encapsulate(sent.ek, random.subarray(32))
  const agreed = {
    xy: x25519.scalarMult(secretY, sent.x),
    xb,
    kem: sharedSecret,
    kemS,
    y: Buffer.from(x25519.getPublicKey(secretY)),
    ct: Buffer.from(cipherText)
  }
  const { secrets, proof } = schedule(keys.entry, credential, sent, agreed, mac)
  return { secrets, payload, reply: concat(agreed.y, agreed.ct, proof) }
}

/** Whether a nonce is a solution. */
export function pow(seed: Buffer, blinded: Buffer, effort: number, nonce: Buffer): boolean {
  const salt = h('anonnet:1:service-pow', seed, blinded, u32(effort))
  const out = Buffer.from(argon2id(nonce, salt, { t: 1, m: 2048, p: 1, dkLen: 32 }))
  return out.readUInt32BE() <= Math.floor(0xffffffff / effort)
}
