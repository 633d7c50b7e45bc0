/** DHT nodes in one process, on a clock that the test moves and a seeded source of randomness. */
import { DhtNode, type DhtNodeOptions } from '../../../ts/dht/node.js'
import type { Peer, Signer } from '../../../ts/directory/types.js'
import { nodeIdOf } from '../../../ts/wire/index.js'
import { FakeNetwork, makeSigner, START_S, verify } from '../directory/helpers.js'

export { codeOf, codeOfAsync, makeSigner, START_S, verify } from '../directory/helpers.js'

/** A small seeded generator (mulberry32): the same seed, the same run. */
export function seededBytes(seed: number): (count: number) => Uint8Array {
  let state = seed >>> 0
  return (count) =>
    Uint8Array.from({ length: count }, () => {
      state = (state + 0x6d2b79f5) >>> 0
      let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
      mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
      return (mixed ^ (mixed >>> 14)) & 255
    })
}

export interface TestNode {
  readonly node: DhtNode
  readonly peer: Peer
  readonly signer: Signer
}

/** An address of its own /16 for up to some 50,000 nodes. */
export function addressOf(index: number): string {
  return `${11 + Math.floor(index / 250)}.${index % 250}.0.1:4000`
}

export class DhtNetwork {
  readonly network = new FakeNetwork()
  readonly nodes: TestNode[] = []
  nowMs = START_S * 1000

  add(seed: number, options: Partial<DhtNodeOptions> & { address?: string } = {}): TestNode {
    const signer = makeSigner(seed)
    const peer = { nodeId: nodeIdOf(signer.publicKey), address: options.address ?? addressOf(this.nodes.length) }
    const node = new DhtNode({
      signer,
      verify,
      rpc: this.network.rpcOf(peer),
      now: () => this.nowMs,
      randomBytes: seededBytes(seed),
      ...options
    })
    this.network.handlers.set(peer.nodeId, (method, params, from) => node.handle(method, params, from))
    const made = { node, peer, signer }
    this.nodes.push(made)
    return made
  }

  /** A network of `count` nodes that joined one after the other, each through two earlier ones. */
  async grow(count: number): Promise<void> {
    for (let index = 0; index < count; index++) {
      const made = this.add(1000 + index)
      const known = [this.nodes[index >> 1], this.nodes[index - 1]].flatMap((other) => (other && other !== made ? [other.peer] : []))
      await made.node.join(known)
    }
  }

  kill(made: TestNode): void {
    this.network.handlers.delete(made.peer.nodeId)
  }
}

/** Lets background pings come to rest. */
export async function quiet(turns = 20): Promise<void> {
  for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve))
}
