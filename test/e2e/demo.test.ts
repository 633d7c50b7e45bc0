/** `anonnet demo` as a person runs it: it works, it ends with 0, and nothing is left of it however it ends. */

import { once } from 'node:events'
import { mkdirSync, readdirSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { temporaryFolder } from '../helpers/folder.js'
import { cli, descendants, eventually, runs, type Spawned, signalGroup, start } from '../helpers/processes.js'

const folder = temporaryFolder()
const linux = process.platform === 'linux'
let count = 0

/** Starts the demo with a temporary folder of its own, so that what it leaves there shows. */
function demo(...args: string[]): { run: Spawned; temporary: string } {
  count += 1
  const temporary = join(folder, String(count))
  mkdirSync(temporary)
  return { run: start(process.execPath, [cli, 'demo', ...args], { TMPDIR: temporary, TMP: temporary, TEMP: temporary }), temporary }
}

const lastLine = (text: string): string => text.trimEnd().split('\n').pop() ?? ''

describe('anonnet demo', { timeout: 120_000 }, () => {
  it('fetches 100 MB through three hops both ways and leaves nothing', async () => {
    const { run, temporary } = demo('--json')
    expect(await run.exit, run.stderr()).toBe(0)
    const report = JSON.parse(lastLine(run.stdout()))
    expect(report).toMatchObject({ ok: true, sha256Ok: true, ports: { socks: expect.any(Number), http: expect.any(Number) } })
    expect(report.path).toHaveLength(3)
    expect(new Set(report.path.map((hop: { nodeId: string }) => hop.nodeId)).size).toBe(3)
    expect(report.path[2].name).toMatch(/^exit /)
    expect(report.ttfbMs).toBeGreaterThan(0)
    expect(report.goodput).toBeGreaterThan(0)
    expect(report.transfers.map(({ way, bytes, sha256Ok }: Record<string, unknown>) => [way, bytes, sha256Ok])).toEqual([
      ['socks5', 100_000_000, true],
      ['connect', 100_000_000, true]
    ])
    expect(report.service).toMatchObject({ address: expect.stringMatching(/^[a-z2-7]{56}\.anon$/), bytes: 100_000_000, sha256Ok: true })
    expect(report.service.ttfbMs).toBeGreaterThan(0)
    expect(run.stderr()).toMatch(/\[ +\d+\.\d s\] the bootstrap nodes agreed on the relay list/)
    expect(run.stderr()).toMatch(/\[ +\d+\.\d s\] the site is a service now, too: [a-z2-7]{56}\.anon/)
    expect(readdirSync(temporary)).toEqual([])
  })

  it('fetches another URL, and fails with 1 when that is not there', async () => {
    const site = createServer((_request, response) => response.end('something else'))
    site.listen(0, '127.0.0.1')
    await once(site, 'listening')
    const address = site.address()
    const port = typeof address === 'object' && address !== null ? address.port : 0
    const { run } = demo('--json', '--url', `http://127.0.0.1:${port}/x`)
    expect(await run.exit, run.stderr()).toBe(0)
    expect(JSON.parse(lastLine(run.stdout()))).toMatchObject({ ok: true, sha256Ok: true, url: `http://127.0.0.1:${port}/x` })
    site.close()
    await once(site, 'close')
    const gone = demo('--json', '--url', `http://127.0.0.1:${port}/x`)
    expect(await gone.run.exit).toBe(1)
    expect(JSON.parse(lastLine(gone.run.stdout())).error.code).toMatch(/^ERR_ANONNET_/)
    expect(readdirSync(gone.temporary)).toEqual([])
  })

  it.runIf(linux).each(['SIGINT', 'SIGTERM'] as const)('stays up with --keep until %s, then ends every process', async (signal) => {
    const { run, temporary } = demo('--keep')
    await eventually('the demo is up', 60_000, () => (run.stderr().includes('Ctrl-C ends every process') ? true : undefined))
    const children = descendants(run.pid)
    expect(children.length).toBeGreaterThanOrEqual(11)
    if (signal === 'SIGINT') signalGroup(run.pid, signal)
    else process.kill(run.pid, signal)
    expect(await run.exit).toBe(0)
    expect(children.filter(runs)).toEqual([])
    expect(readdirSync(temporary)).toEqual([])
  })

  it.runIf(linux)('ends every process when it is killed itself', async () => {
    const { run } = demo('--keep')
    await eventually('some nodes run', 60_000, () => (run.stderr().includes('bootstrap nodes listen') ? true : undefined))
    const children = descendants(run.pid)
    process.kill(run.pid, 'SIGKILL')
    await eventually('all processes ended', 10_000, () => (children.some(runs) ? undefined : true))
    expect(children.length).toBeGreaterThanOrEqual(3)
  })
})
