// Protocol section 5's handshake, written from the protocol and not from the Rust code.
import { timingSafeEqual } from 'node:crypto'
import { x25519 } from '@noble/curves/ed25519.js'
import { ml_kem768 } from '@noble/post-quantum/ml-kem.js'
import { ascii, concat, encap, h, open, seal, xof } from './hash.js'

const version = encap(ascii('anonnet:1:circuit'))
const empty = Buffer.alloc(0)

export interface Secrets {
  forward: Buffer
  backward: Buffer
  bind: Buffer
  resume: Buffer
}

/** Everything that both sides hash. */
interface Shared {
  id: Buffer
  b: Buffer
  x: Buffer
  ek: Buffer
}

function requestKeys(bx: Uint8Array, { id, b, x, ek }: Shared): { k1: Buffer; macKey: Buffer } {
  const keys = xof('anonnet:1:hs-kdf1', 64, bx, id, x, b, ek, version)
  return { k1: keys.subarray(0, 32), macKey: keys.subarray(32) }
}

const requestMac = (macKey: Buffer, { id, b, x, ek }: Shared, record: Buffer): Buffer =>
  h('anonnet:1:hs-mac', encap(macKey), id, b, x, ek, encap(record))

interface Agreed {
  xy: Uint8Array
  xb: Uint8Array
  kem: Uint8Array
  y: Buffer
  ct: Buffer
}

function schedule({ id, b, x, ek }: Shared, { xy, xb, kem, y, ct }: Agreed): { verify: Buffer; k2: Buffer; secrets: Secrets } {
  const secret = concat(xy, xb, kem, id, b, x, y, ek, ct, version)
  const keys = xof('anonnet:1:hs-final', 256, h('anonnet:1:hs-seed', secret))
  const secrets = {
    forward: keys.subarray(32, 112),
    backward: keys.subarray(112, 192),
    bind: keys.subarray(192, 224),
    resume: keys.subarray(224)
  }
  return { verify: h('anonnet:1:hs-verify', secret), k2: keys.subarray(0, 32), secrets }
}

const auth = (verify: Buffer, { id, b, x, ek }: Shared, { y, ct }: Agreed, mac: Buffer, record: Buffer): Buffer =>
  h('anonnet:1:hs-auth', verify, id, b, y, ct, x, ek, mac, encap(record), ascii('server'))

export interface Client {
  shared: Shared
  secretX: Buffer
  secretKem: Uint8Array
  mac: Buffer
}

/** `random` is x[32] | d[32] | z[32]. */
export function start(random: Buffer, id: Buffer, b: Buffer, extensions: Buffer): { client: Client; request: Buffer } {
  const secretX = random.subarray(0, 32)
  const kem = ml_kem768.keygen(random.subarray(32))
  const shared = { id, b, x: Buffer.from(x25519.getPublicKey(secretX)), ek: Buffer.from(kem.publicKey) }
  const { k1, macKey } = requestKeys(x25519.scalarMult(secretX, b), shared)
  const record = seal(k1, empty, extensions)
  const mac = requestMac(macKey, shared, record)
  const request = concat(id, b, shared.x, shared.ek, record, mac)
  return { client: { shared, secretX, secretKem: kem.secretKey, mac }, request }
}

/** Throws when the relay did not prove itself. */
export function finish({ shared, secretX, secretKem, mac }: Client, reply: Buffer): { secrets: Secrets; extensions: Buffer } {
  const [y, ct, proof, record] = [reply.subarray(0, 32), reply.subarray(32, 1120), reply.subarray(1120, 1152), reply.subarray(1152)]
  const agreed = {
    xy: x25519.scalarMult(secretX, y),
    xb: x25519.scalarMult(secretX, shared.b),
    kem: ml_kem768.decapsulate(ct, secretKem),
    y,
    ct
  }
  const { verify, k2, secrets } = schedule(shared, agreed)
  if (!timingSafeEqual(auth(verify, shared, agreed, mac, record), proof)) throw new Error('AUTH does not fit')
  return { secrets, extensions: open(k2, empty, record) }
}

/** `random` is y[32] | m[32]. Throws when the request does not fit. */
export function respond(
  random: Buffer,
  id: Buffer,
  secretB: Buffer,
  request: Buffer,
  answer: Buffer
): { secrets: Secrets; extensions: Buffer; reply: Buffer } {
  const shared = { id: request.subarray(0, 32), b: request.subarray(32, 64), x: request.subarray(64, 96), ek: request.subarray(96, 1280) }
  const [record, mac] = [request.subarray(1280, -32), request.subarray(-32)]
  if (!shared.id.equals(id) || !shared.b.equals(x25519.getPublicKey(secretB))) throw new Error('not for this relay')
  const xb = x25519.scalarMult(secretB, shared.x)
  const { k1, macKey } = requestKeys(xb, shared)
  if (!timingSafeEqual(requestMac(macKey, shared, record), mac)) throw new Error('MAC does not fit')
  const extensions = open(k1, empty, record)

  const secretY = random.subarray(0, 32)
  const { cipherText, sharedSecret } = ml_kem768.encapsulate(shared.ek, random.subarray(32))
  const agreed = {
    xy: x25519.scalarMult(secretY, shared.x),
    xb,
    kem: sharedSecret,
    y: Buffer.from(x25519.getPublicKey(secretY)),
    ct: Buffer.from(cipherText)
  }
  const { verify, k2, secrets } = schedule(shared, agreed)
  const replyRecord = seal(k2, empty, answer)
  const proof = auth(verify, shared, agreed, mac, replyRecord)
  return { secrets, extensions, reply: concat(agreed.y, agreed.ct, proof, replyRecord) }
}
