/** The verbs as processes: they get ready, answer, drain on a signal and leave nothing. */
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freePort } from '../../ts/cli/demo/addresses.js'
import { main } from '../../ts/cli/program.js'
import { controlPath } from '../../ts/config/index.js'
import { keyFileCreate, keyFileInspect } from '../../ts/native/index.js'
import { createTestnet, formatBootstrap, type Testnet } from '../../ts/node/index.js'
import { temporaryFolder } from '../helpers/folder.js'
import { testIo } from '../helpers/io.js'
import { cli, eventually, type Spawned, start } from '../helpers/processes.js'

const folder = temporaryFolder()
const page = 'a page of some length\n'.repeat(1_000)
const site = createServer((request, response) => {
  if (request.url === '/page') response.end(page)
  else response.writeHead(404).end('no')
})
let net: Testnet
let url = ''
let flags: string[] = []

beforeAll(async () => {
  net = await createTestnet(6)
  site.listen(0, '127.0.0.1')
  await once(site, 'listening')
  const address = site.address()
  url = `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`
  const { allowPrivate, relaxedPrefixes, listIntervalMs } = net.testNetwork
  flags = net.bootstrap.flatMap((entry) => ['--bootstrap', entry])
  if (allowPrivate) flags.push('--allow-private')
  if (relaxedPrefixes) flags.push('--relaxed-prefixes')
  flags.push('--list-interval-ms', String(listIntervalMs))
}, 60_000)

afterAll(async () => {
  site.close()
  await net?.close()
}, 30_000)

function state(name: string): string {
  const path = join(folder, name)
  mkdirSync(path, { recursive: true })
  return path
}

/** The first event of a name that a `--json` process printed. */
async function event(run: Spawned, name: string): Promise<Record<string, unknown>> {
  return eventually(`${name} of a process`, 60_000, () => {
    const line = run
      .stdout()
      .split('\n')
      .find((text) => text.includes(`"event":"${name}"`))
    if (line === undefined && run.process.exitCode !== null) throw new Error(run.stderr())
    return line === undefined ? undefined : JSON.parse(line)
  })
}

describe('anonnet fetch', { timeout: 60_000 }, () => {
  it('makes a client of its own, fetches, and touches nothing but the output', async () => {
    const io = testIo()
    const output = join(folder, 'page')
    expect(await main(['fetch', `${url}/page`, '-o', output, '--json', ...flags], io), io.err()).toBe(0)
    expect(JSON.parse(io.out())).toMatchObject({ status: 200, bytes: page.length, by: 'own client' })
    expect(readFileSync(output, 'utf8')).toBe(page)
  })

  it('writes the body to stdout, and ends with 1 when the site says no', async () => {
    const io = testIo()
    expect(await main(['fetch', `${url}/page`, ...flags], io), io.err()).toBe(0)
    expect(io.out()).toBe(page)
    const none = testIo()
    expect(await main(['fetch', `${url}/none`, '-q', ...flags], none)).toBe(1)
    expect(none.out()).toBe('no')
    expect(none.err()).toContain('the site answered 404')
  })

  it('refuses names that no service can have instead of asking an exit', async () => {
    const io = testIo()
    expect(await main(['fetch', `http://${'a'.repeat(56)}.anon/`, '-q', ...flags], io)).toBe(2)
    expect(io.err()).toContain('ERR_ANONNET_SERVICE_ADDRESS')
  })
})

describe('anonnet run', { timeout: 90_000 }, () => {
  it('serves its proxies, answers status, circuits and fetch, and drains on SIGTERM', async () => {
    const dir = state('client')
    const run = start(process.execPath, [cli, 'run', '--json', '--socks', '127.0.0.1:0', '--state-dir', dir, ...flags])
    const ready = await event(run, 'ready')
    expect(ready).toMatchObject({ role: 'client', pid: run.pid, proxies: [expect.stringMatching(/^127\.0\.0\.1:\d+$/)] })
    expect(await event(run, 'bootstrap')).toMatchObject({ percent: expect.any(Number), summary: expect.any(String) })
    const status = testIo()
    expect(await main(['status', '--json', '--state-dir', dir], status), status.err()).toBe(0)
    expect(JSON.parse(status.out())).toMatchObject({ role: 'client', pid: run.pid, proxies: ready.proxies, bootstrap: { percent: 100 } })
    const fetched = testIo()
    const output = join(folder, 'by-running')
    expect(await main(['fetch', `${url}/page`, '-o', output, '--json', '--state-dir', dir], fetched), fetched.err()).toBe(0)
    expect(JSON.parse(fetched.out())).toMatchObject({ status: 200, by: 'running client' })
    expect(readFileSync(output, 'utf8')).toBe(page)
    const circuits = testIo()
    expect(await main(['circuits', '--json', '--state-dir', dir], circuits), circuits.err()).toBe(0)
    const ready3 = (JSON.parse(circuits.out()) as { ready: boolean; hops: unknown[] }[]).filter((circuit) => circuit.ready)
    expect(ready3.length).toBeGreaterThan(0)
    expect(ready3.every((circuit) => circuit.hops.length === 3)).toBe(true)
    process.kill(run.pid, 'SIGTERM')
    expect(await run.exit).toBe(0)
    expect(existsSync(controlPath(dir))).toBe(false)
  })

  it('ends with 0 when a signal comes before it is ready', async () => {
    const nowhere = ['1', '2', '3'].flatMap((n) => ['--bootstrap', `${n.repeat(64)}@127.0.0.1:9`])
    const run = start(process.execPath, [cli, 'run', '--state-dir', state('waiting'), '--socks', '127.0.0.1:0', ...nowhere])
    await eventually('it started', 20_000, () => (run.stderr().includes('0 % (starting)') ? true : undefined))
    process.kill(run.pid, 'SIGINT')
    expect(await run.exit).toBe(0)
  })
})

describe('anonnet relay and bootstrap', { timeout: 60_000 }, () => {
  it('a relay publishes itself, says where it is, keeps its identity, drains on SIGINT', async () => {
    const dir = state('relay')
    const args = [cli, 'relay', '--json', '--listen', '127.0.0.1:0', '--state-dir', dir, '--drain-ms', '500', ...flags]
    const first = start(process.execPath, args)
    const ready = await event(first, 'ready')
    expect(ready).toMatchObject({ role: 'relay', pid: first.pid, nodeId: expect.stringMatching(/^[0-9a-f]{64}$/) })
    expect(ready.address).toMatch(/^127\.0\.0\.1:\d+$/)
    expect(ready.entry).toMatch(/^[0-9a-f]{64}@127\.0\.0\.1:\d+$/)
    const status = testIo()
    expect(await main(['status', '--state-dir', dir], status), status.err()).toBe(0)
    expect(status.out()).toContain(`role         relay ${String(ready.nodeId)}`)
    process.kill(first.pid, 'SIGINT')
    expect(await first.exit).toBe(0)
    const second = start(process.execPath, args)
    expect((await event(second, 'ready')).nodeId).toBe(ready.nodeId)
    process.kill(second.pid, 'SIGTERM')
    expect(await second.exit).toBe(0)
  })

  it('a second process on the same state folder is refused', async () => {
    const dir = state('locked')
    const args = [cli, 'relay', '--json', '--listen', '127.0.0.1:0', '--state-dir', dir, '--drain-ms', '500', ...flags]
    const first = start(process.execPath, args)
    await event(first, 'ready')
    const second = start(process.execPath, args)
    expect(await second.exit).toBe(1)
    expect(JSON.parse(second.stdout().trimEnd().split('\n').pop() ?? '').error.code).toMatch(/^ERR_ANONNET_/)
    process.kill(first.pid, 'SIGTERM')
    expect(await first.exit).toBe(0)
  })

  it('a bootstrap node prints its entry; it must be one of those that are named, and its address must be free', async () => {
    const identity = join(folder, 'b.key')
    keyFileCreate(identity)
    const address = `127.0.0.1:${await freePort('127.0.0.1')}`
    const own = formatBootstrap(keyFileInspect(identity).publicKey, address)
    const all = [...net.bootstrap.slice(0, 2), own].flatMap((entry) => ['--bootstrap', entry])
    const args = (name: string, ...more: string[]): string[] => [cli, 'bootstrap', '--listen', address, '--state-dir', state(name), ...more]
    const first = start(process.execPath, args('b1', '--identity', identity, ...all))
    expect(await eventually('the entry', 20_000, () => /^[0-9a-f]{64}@.*$/m.exec(first.stdout())?.[0])).toBe(own)
    const second = start(process.execPath, args('b2', '--identity', identity, ...all))
    expect(await second.exit).toBe(1)
    expect(second.stderr()).toContain('ERR_ANONNET_BIND_FAILED')
    const stranger = start(process.execPath, args('b3', ...all))
    expect(await stranger.exit).not.toBe(0)
    process.kill(first.pid, 'SIGTERM')
    expect(await first.exit).toBe(0)
  })
})
