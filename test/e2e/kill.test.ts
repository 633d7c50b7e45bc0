/** Relays in processes of their own are killed with -9 while nothing flows: the next request must work within 5 s. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type AnonNode, type BootstrapNode, createBootstrap, createNode } from '../../ts/index.js'
import { eventually, root, type Spawned, start } from '../helpers/processes.js'
import { socks5 } from '../helpers/proxy-client.js'
import { collect, echo, type Target } from '../helpers/servers.js'

const RELAYS = 9
const EXITS = 4
const WITHIN_MS = 5_000
const linux = process.platform === 'linux'
const testNetwork = { listIntervalMs: 2_000, allowPrivate: true, relaxedPrefixes: !linux }
const listen = (index: number): string => (linux ? `127.${index}.0.1:0` : '127.0.0.1:0')

let authorities: BootstrapNode[] = []
let bootstrap: string[] = []
const relays = new Map<string, Spawned>()
let echoing: Target

beforeAll(async () => {
  echoing = await echo()
  authorities = await Promise.all([11, 12, 13].map((index) => createBootstrap({ listen: listen(index), testNetwork })))
  bootstrap = authorities.map(({ entry }) => entry)
  for (const authority of authorities) authority.join(bootstrap)
  const started = Array.from({ length: RELAYS }, (_, index) => {
    const options = { bootstrap, testNetwork, listen: listen(21 + index), exit: index < EXITS }
    return start(process.execPath, [`${root}/test/helpers/relay.mjs`, JSON.stringify(options)])
  })
  for (const child of started) {
    const line = await eventually('a relay is published', 30_000, () => {
      if (child.stderr() !== '') throw new Error(child.stderr())
      return /^\{.*\}$/m.exec(child.stdout())?.[0]
    })
    relays.set((JSON.parse(line) as { nodeId: string }).nodeId, child)
  }
  await eventually('all relays are listed', 20_000, () => authorities.every((node) => node.status().list?.relays === RELAYS) || undefined)
}, 90_000)

afterAll(async () => {
  for (const child of relays.values()) child.process.kill('SIGTERM')
  await Promise.all(authorities.map((node) => node.close()))
  await echoing?.close()
})

async function request(node: AnonNode, by: 'proxy' | 'connect'): Promise<void> {
  const answer = by === 'proxy' ? await socks5(node.proxies[0]!.address, '127.0.0.1', echoing.port) : undefined
  if (answer !== undefined) expect(answer.code).toBe(0)
  const socket = answer?.socket ?? (await node.connect(echoing.address))
  socket.end('hello')
  expect((await collect(socket)).toString()).toBe('hello')
}

describe('kill -9 of a relay while idle', () => {
  it.each([
    [0, 'proxy'],
    [1, 'proxy'],
    [2, 'proxy'],
    [2, 'connect']
  ] as const)('of hop %i: the next request (%s) succeeds within 5 s', { timeout: 60_000 }, async (hop, by) => {
    const node = await createNode({ bootstrap, testNetwork, proxy: '127.0.0.1:0' })
    try {
      // By the same way, so that the next request is for the circuit whose relay dies.
      await request(node, by)
      const used = node.circuits().find(({ bytesRead }) => bytesRead > 0)!
      const child = relays.get(used.hops[hop]!.nodeId)!
      child.process.kill('SIGKILL')
      await child.exit
      const begun = performance.now()
      await request(node, by)
      expect(performance.now() - begun).toBeLessThan(WITHIN_MS)
    } finally {
      await node.close()
    }
  })
})
