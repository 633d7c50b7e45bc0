// One node of a bench in a process of its own: the addon alone, without directory or policy, so that what is measured is the data plane.
// Commands come by IPC, answers go back by IPC; the process ends when its parent does.
import { createRequire } from 'node:module'

const { NativeNode } = createRequire(import.meta.url)(process.env.ANONNET_ADDON || '../../index.js')
const settings = JSON.parse(process.argv[2])
const waiting = new Map()
const circuits = []
let nextOp = 1

const node = new NativeNode(settings, () => {
  for (const event of node.drain()) {
    if (event.type === 'opOk' || event.type === 'opFailed') {
      const { resolve, reject } = waiting.get(event.op)
      waiting.delete(event.op)
      if (event.type === 'opOk') resolve(event)
      else reject(new Error(`${event.code} at hop ${event.hop}`))
    } else if (event.type === 'proxyRequest') {
      // The SOCKS user names the circuit.
      const circuit = circuits[Number(event.user ?? 0) % circuits.length]
      node.attach(event.request, circuit)
    }
  }
})
const operation = (start) =>
  new Promise((resolve, reject) => {
    const op = nextOp++
    waiting.set(op, { resolve, reject })
    start(op)
  })

const hop = (relay) => ({ nodeId: relay.nodeId, onionKey: Buffer.from(relay.onionKey, 'hex'), address: relay.address })

const commands = {
  async proxy() {
    return (await operation((op) => node.listenProxy(op, '127.0.0.1:0'))).text
  },
  /** Builds `count` circuits along one path, or several in turn, `atOnce` at a time; their latencies in ms. */
  async build({ path, paths = [path], count, atOnce, keep }) {
    const ways = paths.map((way) => way.map(hop))
    const latencies = []
    let left = count
    const began = performance.now()
    const worker = async () => {
      while (left > 0) {
        const hops = ways[left-- % ways.length]
        const from = performance.now()
        const { number } = await operation((op) => node.buildCircuit(op, hops, 20_000))
        latencies.push(performance.now() - from)
        // Closed at once: a link to a guard carries 1,024 circuits at most.
        if (keep) circuits.push(number)
        else node.closeCircuit(number)
      }
    }
    await Promise.all(Array.from({ length: atOnce }, worker))
    const seconds = (performance.now() - began) / 1000
    return { seconds, latencies }
  },
  drop() {
    for (const circuit of circuits.splice(0)) node.closeCircuit(circuit)
    return null
  },
  relays({ relays }) {
    node.setKnownRelays(relays.map(({ nodeId, address }) => ({ nodeId, address })))
    return null
  }
}

process.on('message', async ({ id, command, args }) => {
  try {
    process.send({ id, result: await commands[command](args ?? {}) })
  } catch (error) {
    process.send({ id, error: String(error) })
  }
})
process.on('disconnect', () => process.exit(0))
process.send({ ready: { nodeId: node.nodeId(), onionKey: node.onionKey().toString('hex'), address: node.localAddress() } })
