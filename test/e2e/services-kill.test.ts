/**
 * A service and its clients in processes of their own: reached through SOCKS5 with the right bytes, and again within 10 s after its
 * introduction points, the rendezvous point or a node that stores its descriptor were killed with -9.
 */
import { createHash, randomBytes } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { compareDistance } from '../../ts/dht/id.js'
import { type AnonNode, type BootstrapNode, createBootstrap, createNode, type Service } from '../../ts/index.js'
import { serviceCrypto } from '../../ts/native/index.js'
import { parseServiceHost } from '../../ts/services/index.js'
import { periodOf, serviceKey } from '../../ts/wire/index.js'
import { temporaryFolder } from '../helpers/folder.js'
import { cli, eventually, root, type Spawned, start } from '../helpers/processes.js'
import { collect } from '../helpers/servers.js'
import { socksConnect } from '../helpers/socks.js'

const RELAYS = 12
const WITHIN_MS = 10_000
const linux = process.platform === 'linux'
const testNetwork = { listIntervalMs: 2_000, allowPrivate: true, relaxedPrefixes: !linux }
const listen = (index: number): string => (linux ? `127.${index}.0.1:0` : '127.0.0.1:0')
const folder = temporaryFolder()
const body = randomBytes(1_000_000)
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

let authorities: BootstrapNode[] = []
let bootstrap: string[] = []
const commands: Spawned[] = []
const relays = new Map<string, Spawned>()
const exits = new Set<string>()
let site: Server
let address: string
let proxy: string
let flags: string[]

async function lineOf(child: Spawned, event: string): Promise<Record<string, unknown>> {
  return eventually(`${event} of a process`, 60_000, () => {
    const line = child
      .stdout()
      .split('\n')
      .find((text) => text.includes(`"event":"${event}"`))
    return line === undefined ? undefined : (JSON.parse(line) as Record<string, unknown>)
  })
}

beforeAll(async () => {
  authorities = await Promise.all([11, 12, 13].map((index) => createBootstrap({ listen: listen(index), testNetwork })))
  bootstrap = authorities.map(({ entry }) => entry)
  for (const authority of authorities) authority.join(bootstrap)
  const started = Array.from({ length: RELAYS }, (_, index) => {
    const options = { bootstrap, testNetwork, listen: listen(21 + index), exit: index < 3 }
    return start(process.execPath, [`${root}/test/helpers/relay.mjs`, JSON.stringify(options)])
  })
  for (const [index, child] of started.entries()) {
    const line = await eventually('a relay is published', 60_000, () => /^\{.*\}$/m.exec(child.stdout())?.[0])
    const { nodeId } = JSON.parse(line) as { nodeId: string }
    relays.set(nodeId, child)
    if (index < 3) exits.add(nodeId)
  }
  await eventually('all relays are listed', 30_000, () => authorities.every((node) => node.status().list?.relays === RELAYS) || undefined)
  site = createServer((_request, response) => response.end(body)).listen(0, '127.0.0.1')
  await eventually('the site listens', 5_000, () => site.listening || undefined)
  const { port } = site.address() as { port: number }
  flags = [
    ...bootstrap.flatMap((entry) => ['--bootstrap', entry]),
    ...['--allow-private', '--list-interval-ms', '2000', '--json', '--log-level', 'silent'],
    ...(linux ? [] : ['--relaxed-prefixes'])
  ]
  const service = start(process.execPath, [
    cli,
    'service',
    '--target',
    `127.0.0.1:${port}`,
    '--state-dir',
    join(folder, 'service'),
    ...flags
  ])
  const run = start(process.execPath, [cli, 'run', '--socks', '127.0.0.1:0', '--state-dir', join(folder, 'client'), ...flags])
  commands.push(service, run)
  address = String((await lineOf(service, 'ready')).address)
  proxy = String(((await lineOf(run, 'ready')).proxies as string[])[0])
}, 180_000)

afterAll(async () => {
  for (const child of [...commands, ...relays.values()]) child.process.kill('SIGTERM')
  await Promise.all(authorities.map((node) => node.close()))
  site?.close()
})

describe('a service published by the command', { timeout: 120_000 }, () => {
  it('is fetched through the SOCKS5 proxy of another process, hashes right', async () => {
    for (let round = 0; round < 5; round++) {
      const { reply, socket } = await socksConnect(proxy, address, 80)
      expect(reply).toBe(0)
      socket.write(`GET / HTTP/1.1\r\nHost: ${address}\r\nConnection: close\r\n\r\n`)
      const answer = await collect(socket)
      expect(sha256(answer.subarray(answer.indexOf('\r\n\r\n') + 4))).toBe(sha256(body))
    }
  })

  it('has a name that another process finds as well, with its sub-domains', async () => {
    const io = start(process.execPath, [cli, 'fetch', `http://www.${address}/`, '-o', join(folder, 'page'), ...flags])
    expect(await io.exit, io.stderr()).toBe(0)
    expect(JSON.parse(io.stdout().trim().split('\n').pop() ?? '')).toMatchObject({ status: 200, bytes: body.length })
  })
})

describe('kill -9 between requests', { timeout: 120_000 }, () => {
  let host: AnonNode
  let client: AnonNode
  let service: Service
  const killed = new Set<string>()

  async function fetchOnce(isolate: string): Promise<string> {
    const socket = await client.connect(`${service.address}:80`, { isolate })
    socket.end('hello')
    expect((await collect(socket)).toString()).toBe('hello')
    const hops = client.circuits().find(({ id }) => id === socket.circuit)?.hops ?? []
    return hops[hops.length - 1]?.nodeId ?? ''
  }

  async function kill(nodeId: string): Promise<void> {
    const child = relays.get(nodeId)
    if (child === undefined) throw new Error('no such relay')
    killed.add(nodeId)
    child.process.kill('SIGKILL')
    await child.exit
  }

  async function within(isolate: string): Promise<void> {
    const begun = performance.now()
    await fetchOnce(isolate)
    expect(performance.now() - begun).toBeLessThan(WITHIN_MS)
  }

  beforeAll(async () => {
    ;[host, client] = await Promise.all([createNode({ bootstrap, testNetwork }), createNode({ bootstrap, testNetwork })])
    service = await host.listen({ port: 80 }, (socket) => socket.pipe(socket))
  }, 120_000)

  afterAll(async () => {
    await Promise.all([host?.close(), client?.close()])
  })

  const guards = (): Set<string | undefined> =>
    new Set([host, client].flatMap((node) => node.circuits().map(({ hops }) => hops[0]?.nodeId)))

  it('of the rendezvous point', async () => {
    // A point may be a guard of either by right; what a guard's death costs is another matter.
    let isolate = ''
    let point = ''
    for (let tries = 0; point === '' && tries < 20; tries += 1) {
      isolate = `before ${tries}`
      const last = await fetchOnce(isolate)
      if (!guards().has(last)) point = last
    }
    expect(point).not.toBe('')
    await kill(point)
    await within(isolate)
  })

  it('of introduction points, which are then replaced', async () => {
    // The rendezvous point of before may have been one as well: two of three are to die here, not all of them.
    const dead = (): boolean => host.circuits().some(({ hops }) => killed.has(hops[hops.length - 1]?.nodeId ?? ''))
    await eventually('three introduction points', 60_000, () => (service.introPoints >= 3 && !dead()) || undefined)
    // Circuits of three hops that end at no exit: those of introduction points, and perhaps one for directory questions.
    const guard = guards()
    const last = host.circuits().flatMap(({ hops }) => (hops.length === 3 ? [hops[2]?.nodeId ?? ''] : []))
    const points = last.filter((nodeId) => !guard.has(nodeId) && !killed.has(nodeId) && !exits.has(nodeId))
    expect(points.length).toBeGreaterThan(0)
    for (const point of new Set(points.slice(0, 2))) await kill(point)
    await within('after introduction points')
    await eventually('introduction points in their place', 60_000, () => (service.introPoints >= 3 && !dead()) || undefined)
    await within('after they were replaced')
  })

  it('of a node that stores its descriptor, before it is looked up anew', async () => {
    // Nearest to the key by the DHT's distance: there the record lies, of so few nodes at almost all.
    const period = periodOf(Date.now())
    const blinded = serviceCrypto.blind(parseServiceHost(service.address).publicKey, period)
    const guard = guards()
    const mine = new Set(host.circuits().map(({ hops }) => hops[hops.length - 1]?.nodeId ?? ''))
    const alive = [...relays.keys()].filter((nodeId) => !killed.has(nodeId) && !guard.has(nodeId) && !exits.has(nodeId))
    const key = Buffer.from(serviceKey(blinded, 0), 'hex')
    // Of so few relays each of the others may be one of its introduction points; then one of these.
    const others = alive.filter((nodeId) => !mine.has(nodeId))
    const [store = ''] = (others.length > 0 ? others : alive).sort((a, b) =>
      compareDistance(key, Buffer.from(a, 'hex'), Buffer.from(b, 'hex'))
    )
    expect(store).not.toBe('')
    client.authorize(service.address, undefined)
    await kill(store)
    await within('after a storing node')
  })
})
