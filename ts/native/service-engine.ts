/**
 * The native node's operations for services: rendezvous, introductions, streams that come in.
 */

import { errorFromCode } from '../errors/index.js'
import { guarded } from './guarded.js'
import type { OperationOptions } from './operations.js'
import type { NativeIntroduction, NativeNode, OpOkEvent } from './types.js'

/** Deadline and signal of an operation. */
interface Timed extends OperationOptions {
  timeoutMs: number
}

/** What an engine lends. */
export interface ServiceEngineParts {
  native: NativeNode
  closing: () => boolean
  ask: <T>(begin: (op: number) => void, convert: (answer: OpOkEvent) => T, options: OperationOptions) => Promise<T>
}

function nothing(): void {}

function bytesOf({ bytes }: OpOkEvent): Buffer {
  if (bytes === undefined) throw errorFromCode('ERR_ANONNET_INTERNAL', { detail: 'an answer without its bytes' })
  return bytes
}

/** All of it is background work or held by whoever waits: nothing here keeps the process alive by itself. */
export class ServiceEngine {
  readonly #parts: ServiceEngineParts

  constructor(parts: ServiceEngineParts) {
    this.#parts = parts
  }

  /** The nonce (16 bytes) of a puzzle; an effort of 1 to 65,536. */
  powSolve(seed: Uint8Array, blinded: Uint8Array, effort: number, options: OperationOptions): Promise<Buffer> {
    return this.#ask((op) => this.#native.powSolve(op, seed, blinded, effort), bytesOf, options)
  }

  /** Makes a circuit's last hop wait for a service that knows the cookie (20 bytes). ERR_ANONNET_RENDEZVOUS_FAILED. */
  establishRendezvous(circuit: number, cookie: Uint8Array, options: Timed): Promise<void> {
    return this.#ask((op) => this.#native.establishRendezvous(op, circuit, cookie, options.timeoutMs), nothing, options)
  }

  /** Introduces us through the last hop of `introCircuit`; `rendCircuit` waits for the answer. ERR_ANONNET_INTRODUCTION_FAILED. */
  introduce(introCircuit: number, rendCircuit: number, to: NativeIntroduction, payload: Uint8Array, options: Timed): Promise<void> {
    return this.#ask((op) => this.#native.introduce(op, introCircuit, rendCircuit, to, payload, options.timeoutMs), nothing, options)
  }

  /** Resolves when the service, and nobody else, is at the other end. ERR_ANONNET_RENDEZVOUS_FAILED, _TIMEOUT. */
  awaitRendezvous(rendCircuit: number, options: Timed): Promise<void> {
    return this.#ask((op) => this.#native.awaitRendezvous(op, rendCircuit, options.timeoutMs), nothing, options)
  }

  /** Makes a circuit's last hop an introduction point; its keys: authKey[32], onionKey[32], kemKey[1184]. ERR_ANONNET_INTRODUCTION_FAILED. */
  establishIntro(circuit: number, options: Timed): Promise<Omit<NativeIntroduction, 'subcredential'>> {
    return this.#ask(
      (op) => this.#native.establishIntro(op, circuit, options.timeoutMs),
      (answer) => {
        const bytes = Uint8Array.from(bytesOf(answer))
        return { authKey: bytes.slice(0, 32), onionKey: bytes.slice(32, 64), kemKey: bytes.slice(64) }
      },
      options
    )
  }

  /** The subcredentials of the current periods, 4 at most. False: the circuit is gone. */
  setIntroSubcredentials(circuit: number, subcredentials: Uint8Array[]): boolean {
    return !this.#parts.closing() && guarded(() => this.#native.setIntroSubcredentials(circuit, subcredentials))
  }

  /** Answers an introduction over a circuit to the client's rendezvous point. ERR_ANONNET_RENDEZVOUS_FAILED, _CLOSED. */
  acceptRendezvous(request: number, rendCircuit: number, cookie: Uint8Array, options: Timed): Promise<void> {
    return this.#ask((op) => this.#native.acceptRendezvous(op, request, rendCircuit, cookie, options.timeoutMs), nothing, options)
  }

  /** Forgets an introduction. */
  dropIntroduction(request: number): void {
    if (!this.#parts.closing()) guarded(() => this.#native.dropIntroduction(request))
  }

  /** Takes a stream that came in: from now on it is read and written as any other. False: it is gone. */
  acceptStream(stream: number): boolean {
    return !this.#parts.closing() && guarded(() => this.#native.acceptStream(stream))
  }

  /** Connects a stream that came in to 'ip:port'; resolves once it is. What cannot be connected is ended with the reason. */
  forwardStream(stream: number, target: string): Promise<void> {
    return this.#ask((op) => this.#native.forwardStream(op, stream, target), nothing, { keepAlive: false })
  }

  refuseStream(stream: number, code: string): void {
    if (!this.#parts.closing()) guarded(() => this.#native.refuseStream(stream, code))
  }

  get #native(): NativeNode {
    return this.#parts.native
  }

  #ask<T>(begin: (op: number) => void, convert: (answer: OpOkEvent) => T, options: OperationOptions): Promise<T> {
    return this.#parts.ask(begin, convert, { ...options, keepAlive: options.keepAlive ?? false })
  }
}
