/** Worker threads that come and go with nodes of their own, beside a node of the main thread; in a process of its own, so that a crash is one. */

import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestnet, type Testnet } from '../../ts/index.js'
import { root, start } from '../helpers/processes.js'
import { echo, type Target } from '../helpers/servers.js'

let net: Testnet
let echoing: Target
beforeAll(async () => {
  net = await createTestnet(4)
  echoing = await echo()
})
afterAll(async () => {
  await net?.close()
  await echoing?.close()
})

const library = pathToFileURL(join(root, 'dist', 'index.js')).href

/** A worker: `end` says how far it gets and how it ends. What it is asked for is told to the main thread first. */
const worker = (): string => `
  import { parentPort, workerData } from 'node:worker_threads'
  import { createNode } from ${JSON.stringify(library)}
  const { end, options, target } = workerData
  const starting = createNode(options)
  if (end === 'while starting') parentPort.postMessage('now')
  const node = await starting
  if (end === 'while connecting') {
    for (let i = 0; i < 8; i += 1) node.connect(target, { isolate: String(i) }).catch(() => {})
    parentPort.postMessage('now')
  }
  const socket = await node.connect(target)
  socket.on('error', () => {})
  if (end === 'with a stream under load') {
    const block = Buffer.alloc(1 << 18)
    const push = () => { while (socket.write(block)); }
    socket.on('drain', push).on('data', () => {})
    push()
    setTimeout(() => parentPort.postMessage('now'), 50)
  } else if (end === 'by process.exit') {
    socket.write('x')
    process.exit(3)
  } else if (end === 'by an error') {
    throw new Error('on purpose')
  } else {
    // By itself: nothing is left but an idle node.
    socket.end('last')
    socket.resume()
    parentPort.unref()
  }
`

const main = (): string => `
  import { Worker } from 'node:worker_threads'
  import { readdirSync, readFileSync } from 'node:fs'
  import { createNode } from ${JSON.stringify(library)}
  const options = ${JSON.stringify({ bootstrap: net.bootstrap, testNetwork: net.testNetwork })}
  const target = ${JSON.stringify(echoing.address)}
  const code = ${JSON.stringify(worker())}
  const node = await createNode(options)
  const ends = ['while starting', 'while connecting', 'with a stream under load', 'by process.exit', 'by an error', 'by itself']
  const terminated = new Set(ends.slice(0, 3))
  const run = (end) => new Promise((resolve, reject) => {
    const data = 'data:text/javascript,' + encodeURIComponent(code)
    const one = new Worker(new URL(data), { workerData: { end, options, target } })
    one.on('message', () => one.terminate())
    one.on('error', (error) => error.message === 'on purpose' || reject(error))
    one.on('exit', (code) => resolve(code))
  })
  const say = async (text) => {
    const socket = await node.connect(target)
    socket.end(text)
    let answer = ''
    for await (const chunk of socket) answer += chunk
    return answer
  }
  const state = () => {
    const status = readFileSync('/proc/self/status', 'utf8')
    return {
      threads: Number(/Threads:\\s+(\\d+)/.exec(status)[1]),
      descriptors: readdirSync('/proc/self/fd').length,
      megabytes: Number(/VmRSS:\\s+(\\d+)/.exec(status)[1]) / 1024
    }
  }
  const codes = {}
  const round = async () => { for (const end of ends) codes[end] = await run(end) }
  await Promise.all(ends.map(run))
  await round()
  await new Promise((resolve) => setTimeout(resolve, 1_000))
  const before = state()
  for (let at = 0; at < 6; at += 1) await round()
  await Promise.all(ends.map(run))
  // The native side of a node ends on threads of its own.
  let after = state()
  for (let tries = 0; tries < 50 && (after.descriptors > before.descriptors || after.threads > before.threads); tries += 1) {
    await new Promise((resolve) => setTimeout(resolve, 100))
    after = state()
  }
  console.log(JSON.stringify({ codes, before, after, said: await say('still here') }))
`

describe('worker threads', () => {
  it('end with a node open, in any state and dozens in turn: no crash, nothing left, and the main node goes on', async () => {
    const child = start(process.execPath, ['--input-type=module', '-e', main()])
    const timer = setTimeout(() => child.process.kill('SIGKILL'), 110_000)
    const exit = await child.exit
    clearTimeout(timer)
    expect([exit, child.stderr()]).toEqual([0, ''])
    const { codes, before, after, said } = JSON.parse(child.stdout())
    if (process.env.ANONNET_VERBOSE !== undefined) process.stderr.write(child.stdout())
    expect(said).toBe('still here')
    expect(codes).toEqual({
      'while starting': 1,
      'while connecting': 1,
      'with a stream under load': 1,
      'by process.exit': 3,
      'by an error': 1,
      'by itself': 0
    })
    // 42 nodes more: none of them left a thread, a socket, or its memory (a node has some MB).
    expect(after.threads).toBeLessThanOrEqual(before.threads)
    expect(after.descriptors).toBeLessThanOrEqual(before.descriptors)
    expect(after.megabytes - before.megabytes).toBeLessThan(42)
  }, 120_000)
})
