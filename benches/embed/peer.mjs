// One process of the bench: `peer.mjs <subject>` is one end of a stream, `peer.mjs network` holds the relays that AnonNet's stream goes over.
// Commands come by IPC, answers go back by IPC; the process ends when its parent does.
import { monitorEventLoopDelay } from 'node:perf_hooks'

const [subject] = process.argv.slice(2)
const MS = 1e6
/** Milliseconds between two looks at the event loop; the delay is what comes on top. */
const RESOLUTION = 1

let side
let received = 0
let expected = Number.POSITIVE_INFINITY
let onExpected
const onBytes = (count) => {
  received += count
  if (received >= expected) onExpected?.()
}
const delay = monitorEventLoopDelay({ resolution: RESOLUTION })

const peer = {
  listen: async (given) => (await import(`./${subject}.mjs`)).listen(onBytes, (made) => (side = made), given),
  async dial(address) {
    side = await (await import(`./${subject}.mjs`)).dial(address, onBytes)
    return null
  },
  /** The other end of a dial is there once its first byte is: an echo of one byte each way. */
  async send({ bytes }) {
    while (side === undefined) await new Promise((resolve) => setTimeout(resolve, 5))
    await side.send(bytes)
    return null
  },
  expect({ bytes }) {
    expected = received + bytes
    return null
  },
  async arrived() {
    if (received < expected) await new Promise((resolve) => (onExpected = resolve))
    onExpected = undefined
    expected = Number.POSITIVE_INFINITY
    return null
  },
  watch() {
    delay.reset()
    delay.enable()
    return null
  },
  /** Delays of the event loop since `watch`, in milliseconds. */
  watched() {
    delay.disable()
    const over = (value) => Math.max(0, value / MS - RESOLUTION)
    return { p50: over(delay.percentile(50)), p99: over(delay.percentile(99)), max: over(delay.max) }
  }
}

const network = {
  async start() {
    const { createTestnet } = await import('../../dist/index.js')
    const { bootstrap, testNetwork } = await createTestnet(4)
    return { bootstrap, testNetwork }
  }
}

const commands = subject === 'network' ? network : peer
process.on('message', async ({ id, command, args }) => {
  try {
    process.send({ id, result: await commands[command](args) })
  } catch (error) {
    process.send({ id, error: String(error?.stack ?? error) })
  }
})
process.on('disconnect', () => process.exit(0))
process.send({ ready: true })
