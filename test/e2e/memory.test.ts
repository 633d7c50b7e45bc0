/** A long transfer through `node.connect()` leaves the process as large as it was. */

import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestnet, type Testnet } from '../../ts/index.js'
import { root, start } from '../helpers/processes.js'
import { type Target, tcp } from '../helpers/servers.js'

const MIB = 1024 * 1024
/** Enough for a leak of one byte in nine to show; the benchmarks do a whole GiB. */
const TOTAL = 384 * MIB
/** From here on V8's heap has the size that it needs for the work. */
const WARM = TOTAL / 4
const MAX_GROWTH = 32 * MIB

let net: Testnet
let server: Target
beforeAll(async () => {
  net = await createTestnet(4)
  const block = Buffer.alloc(256 * 1024, 7)
  server = await tcp((socket) => {
    let sent = 0
    const push = (): void => {
      while (sent < TOTAL) {
        sent += block.length
        if (!socket.write(block)) {
          socket.once('drain', push)
          return
        }
      }
      socket.end()
    }
    // 'D': sends; anything else: takes.
    socket.once('data', (first) => {
      if (first[0] === 68) push()
      else socket.on('end', () => socket.end('.')).resume()
    })
  })
})
afterAll(async () => {
  await net?.close()
  await server?.close()
})

/** Runs in a process of its own, so that only the client's memory is looked at. */
const script = (direction: string): string => `
  import { createNode } from ${JSON.stringify(pathToFileURL(join(root, 'dist', 'index.js')).href)}
  const node = await createNode(${JSON.stringify({ bootstrap: net.bootstrap, testNetwork: net.testNetwork })})
  const socket = await node.connect(${JSON.stringify(server.address)})
  const total = ${TOTAL}, block = Buffer.alloc(256 * 1024, 1)
  let done = 0, before = 0, most = 0
  const count = (bytes) => {
    done += bytes
    const { rss } = process.memoryUsage()
    if (before === 0 && done > ${WARM}) before = rss
    most = Math.max(most, rss)
  }
  socket.write(${JSON.stringify(direction)})
  if (${direction === 'D'}) {
    for await (const chunk of socket) count(chunk.length)
  } else {
    while (done < total) {
      count(block.length)
      if (!socket.write(block)) await new Promise((resolve) => socket.once('drain', resolve))
    }
    socket.end()
    for await (const chunk of socket) void chunk
  }
  console.log(JSON.stringify({ done, growth: most - before }))
  await node.close()
`

describe('memory', () => {
  it.each(['D', 'U'])('of a client stays flat over a long transfer (%s)', { timeout: 60_000 }, async (direction) => {
    const child = start(process.execPath, ['--input-type=module', '-e', script(direction)])
    expect([await child.exit, child.stderr()]).toEqual([0, ''])
    const { done, growth } = JSON.parse(child.stdout()) as { done: number; growth: number }
    expect(done).toBe(TOTAL)
    expect(growth).toBeLessThan(MAX_GROWTH)
  })
})
