/** What keeps a process alive, and what does not; the built package, in processes of its own. */

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

/** Runs a script with `node` (a client of the network) at hand; what it prints, and how it ended within the time. */
async function run(script: string, limitMs = 10_000): Promise<{ exit: number | string; out: string; err: string; tookMs: number }> {
  const options = JSON.stringify({ bootstrap: net.bootstrap, testNetwork: net.testNetwork })
  const code = `
    import { createNode } from ${JSON.stringify(library)}
    const target = ${JSON.stringify(echoing.address)}
    const node = await createNode(${options})
    ${script}
  `
  const begun = performance.now()
  const child = start(process.execPath, ['--input-type=module', '-e', code])
  const timer = setTimeout(() => child.process.kill('SIGKILL'), limitMs)
  const exit = await child.exit
  clearTimeout(timer)
  return { exit, out: child.stdout(), err: child.stderr(), tookMs: performance.now() - begun }
}

describe('a process', () => {
  it('ends with an idle node, although nobody closed it', async () => {
    const { exit, out, err } = await run(`console.log('ready')`)
    expect([exit, out, err]).toEqual([0, 'ready\n', ''])
  })

  it('ends after its streams have, and not before', async () => {
    const { exit, out } = await run(`
      const socket = await node.connect(target)
      socket.on('data', (data) => console.log(String(data)))
      socket.on('close', () => console.log('closed'))
      setTimeout(() => socket.end('late'), 300).unref()
    `)
    expect([exit, out]).toEqual([0, 'late\nclosed\n'])
  })

  it('ends with an open stream that was unref()d, and with an unref()d node', async () => {
    expect((await run(`const socket = await node.connect(target); socket.unref()`)).exit).toBe(0)
    expect((await run(`await node.connect(target); await node.listenProxy(); node.unref()`)).exit).toBe(0)
  })

  it('lives while a proxy listens', async () => {
    const { exit, out } = await run(`console.log((await node.listenProxy()).address)`, 2_500)
    expect(exit).toBe('SIGKILL')
    expect(out).toMatch(/^127\.0\.0\.1:\d+\n$/)
  })

  it('lives while a name is looked up, and its answer comes', async () => {
    const { exit, out } = await run(`node.resolve('localhost').then((all) => console.log(all.includes('127.0.0.1')))`)
    expect([exit, out]).toEqual([0, 'true\n'])
  })

  it('goes on after close(), ends after it, and closes two nodes without disturbing each other', async () => {
    const { exit, out, err } = await run(`
      const other = await createNode(${JSON.stringify({ bootstrap: net.bootstrap, testNetwork: net.testNetwork })})
      await node.close()
      const socket = await other.connect(target)
      socket.end('fine')
      for await (const data of socket) console.log(String(data))
      await other.close()
    `)
    expect([exit, out, err]).toEqual([0, 'fine\n', ''])
  })

  it('says what is wrong in one line when a start fails, without paths or a Rust trace', async () => {
    const { exit, err } = await run(`await createNode({ bootstrap: ['x'] })`)
    expect(exit).toBe(1)
    expect(err).toContain('ERR_ANONNET_INVALID_ADDRESS')
    expect(err).not.toMatch(/\.rs:|panicked/)
  })
})
