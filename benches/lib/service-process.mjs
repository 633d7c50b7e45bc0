// One process of the bench of services: the network (`network`), or a node of it (`node`). Commands come by IPC, answers go back by IPC; the
// process ends when its parent does.
import { once } from 'node:events'
import { createServer } from 'node:net'
import { createNode, createTestnet } from '../../dist/index.js'

const CHUNK = Buffer.alloc(64 * 1024)
const FETCH_TIMEOUT_MS = 60_000

/** Sends as many bytes as the line that comes says, and ends. */
async function serve(socket) {
  socket.on('error', () => undefined)
  const [line] = await once(socket, 'data')
  for (let left = Number.parseInt(String(line), 10); left > 0; left -= CHUNK.length) {
    if (!socket.write(left < CHUNK.length ? CHUNK.subarray(0, left) : CHUNK)) await once(socket, 'drain')
  }
  socket.end()
}

/** Gets that many bytes from a target; times in milliseconds from the call. */
async function get(node, target, bytes, isolate) {
  const began = performance.now()
  const socket = await node.connect(target, { isolate, timeoutMs: FETCH_TIMEOUT_MS })
  // The other half stays open: a handler's socket ends with its client's, as those of node:net do.
  socket.write(`${bytes}\n`)
  let got = 0
  let firstMs
  for await (const chunk of socket) {
    firstMs ??= performance.now() - began
    got += chunk.length
  }
  if (got !== bytes) throw new Error(`${got} of ${bytes} bytes`)
  return { firstMs, bodyMs: performance.now() - began - firstMs }
}

/** `count` of them, `atOnce` at a time. */
async function each(count, atOnce, run) {
  let next = 0
  const worker = async () => {
    while (next < count) await run(next++)
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
}

let options
let node
const services = []

const commands = {
  async network({ relays, exits }) {
    const { bootstrap, testNetwork } = await createTestnet(relays, { exits })
    return { bootstrap, testNetwork }
  },
  async start(network) {
    options = network
    node = await createNode(options)
  },
  /** A server of this machine, which exits may reach. */
  async clearnet() {
    const server = createServer({ allowHalfOpen: true }, (socket) => void serve(socket))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return `127.0.0.1:${server.address().port}`
  },
  async publish({ count, atOnce }) {
    const tookMs = []
    await each(count, atOnce, async () => {
      const began = performance.now()
      services.push(await node.listen({ port: 80, timeoutMs: 120_000 }, (socket) => void serve(socket)))
      tookMs.push(performance.now() - began)
    })
    return { tookMs, targets: services.map(({ address }) => `${address}:80`) }
  },
  /**
   * Fetches over circuits that nothing ran on before. A node makes `perNode` of each kind and is then replaced, so that descriptors are looked
   * up anew, and no guard carries more circuits than it takes of one client.
   */
  async fetches({ targets, clearnet, count, perNode, atOnce, bytes }) {
    const done = { service: [], clearnet: [], failed: [] }
    for (let from = 0; from < count; from += perNode) {
      const fresh = await createNode(options)
      await each(Math.min(perNode, count - from), atOnce, async (index) => {
        const number = from + index
        for (const [kind, target] of [
          ['service', targets[number % targets.length]],
          ['clearnet', clearnet]
        ]) {
          try {
            done[kind].push((await get(fresh, target, bytes, `${kind} ${number}`)).firstMs)
          } catch (error) {
            done.failed.push({ kind, code: error.code ?? error.message })
          }
        }
      })
      await fresh.close()
    }
    return done
  },
  /** Bytes a second of one stream, the first byte not counted. */
  async goodput({ target, bytes, isolate }) {
    const { bodyMs } = await get(node, target, bytes, isolate)
    return (bytes * 1000) / bodyMs
  },
  /** After a collection, where Node was started so that it can be asked for. */
  memory() {
    globalThis.gc?.()
    return process.memoryUsage().rss
  }
}

process.on('disconnect', () => process.exit(0))
process.on('message', async ({ id, command, args }) => {
  try {
    process.send({ id, result: await commands[command](args) })
  } catch (error) {
    process.send({ id, error: `${error.code ?? ''} ${error.message}` })
  }
})
process.send({ ready: true })
