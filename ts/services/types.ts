/** Value types of services. */
import type { Verify } from '../directory/types.js'

/** The operations on keys that services need, wherever they are done. All keys are 32 bytes. */
export interface ServiceCrypto {
  /** The public key of an Ed25519 seed. */
  publicKey(seed: Uint8Array): Uint8Array
  /** The blinded public key of a period. Throws when `publicKey` is none. */
  blind(publicKey: Uint8Array, period: number): Uint8Array
  subcredential(publicKey: Uint8Array, period: number): Uint8Array
  /** Signs by the blinded key of a period: 64 bytes that verify with `blind`'s. */
  sign(seed: Uint8Array, period: number, message: Uint8Array): Uint8Array
  readonly verify: Verify
  x25519Public(secret: Uint8Array): Uint8Array
  /** Throws on a point of low order. */
  x25519Agree(secret: Uint8Array, publicKey: Uint8Array): Uint8Array
  /** AES-256-GCM by a key made of `key`, `purpose` and a random salt that goes along. */
  seal(key: Uint8Array, purpose: string, plaintext: Uint8Array): Uint8Array
  /** Throws when it does not open. */
  open(key: Uint8Array, purpose: string, record: Uint8Array): Uint8Array
  randomBytes(count: number): Uint8Array
}

/** A service, as its address names it. */
export interface ServiceAddress {
  /** Ed25519, 32 bytes. */
  readonly publicKey: Uint8Array
  /** The 56 characters, lower case, without a suffix. */
  readonly name: string
}

/** Where a service can be introduced to. */
export interface IntroPoint {
  /** The relay; its address and circuit key come from the relay list. */
  readonly nodeId: string
  /** Ed25519 key of this introduction point, 32 bytes. */
  readonly authKey: Uint8Array
  /** X25519 key B of the end-to-end handshake, 32 bytes. */
  readonly onionKey: Uint8Array
  /** ML-KEM-768 encapsulation key, 1184 bytes. */
  readonly kemKey: Uint8Array
}

/** The proof of work that a service asks for; with an effort of 0 none is needed. */
export interface PowSuggestion {
  /** 32 bytes. */
  readonly seed: Uint8Array
  readonly effort: number
}

/** What a descriptor says. */
export interface ServiceDescriptor {
  readonly introPoints: readonly IntroPoint[]
  readonly pow: PowSuggestion | undefined
}

/** A proof of work as it goes along with an introduction. */
export interface PowProof {
  /** The first 4 bytes of the seed. */
  readonly seedHead: Uint8Array
  /** 16 bytes. */
  readonly nonce: Uint8Array
  readonly effort: number
}

/** What a client tells a service through the introduction point. */
export interface Introduction {
  /** 20 bytes, new each time. */
  readonly cookie: Uint8Array
  /** Node id of the rendezvous point. */
  readonly rendezvous: string
  readonly pow: PowProof | undefined
}
