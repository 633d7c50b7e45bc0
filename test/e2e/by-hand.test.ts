/** The README's network by hand, as it stands there, but for ports and the folder. */

import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { freePort } from '../../ts/cli/demo/addresses.js'
import { temporaryFolder } from '../helpers/folder.js'
import { descendants, eventually, has, root, runs, signalGroup, start } from '../helpers/processes.js'

const folder = temporaryFolder()

/** The shell blocks of the README's section. */
function blocks(): string[] {
  const readme = readFileSync(join(root, 'README.md'), 'utf8')
  const section = /## A network by hand\n([\s\S]*?)\n## /.exec(readme)?.[1] ?? ''
  return [...section.matchAll(/```sh\n([\s\S]*?)```/g)].map((match) => match[1] ?? '')
}

async function output(command: string): Promise<string> {
  const run = start('bash', ['-c', command])
  expect(await run.exit, `${command}\n${run.stderr()}`).toBe(0)
  return run.stdout()
}

describe.runIf(process.platform === 'linux' && has('bash') && has('curl'))('the network by hand', { timeout: 120_000 }, () => {
  it('does what the README says', async () => {
    const [up = '', use = ''] = blocks()
    const ports = { 9501: await freePort('127.1.0.1'), 9550: await freePort('127.0.0.1'), 9551: await freePort('127.0.0.1') }
    const local = (text: string): string =>
      Object.entries(ports)
        .reduce((all, [from, to]) => all.replaceAll(`:${from}`, `:${to}`), text)
        .replaceAll('.demo', join(folder, 'net'))

    const network = start('bash', ['-c', local(up)])
    const ready = await eventually('the client is ready', 90_000, () => {
      if (!runs(network.pid)) throw new Error(network.stderr())
      // A verb that failed says so; waiting for the deadline would only hide it.
      if (/^error: /m.test(network.stderr())) throw new Error(network.stderr())
      return /SOCKS5 and HTTP proxy: .*\n.*SOCKS5 and HTTP proxy: .*\n/.exec(network.stdout())?.[0]
    })
    expect(ready).toContain(`127.0.0.1:${ports[9550]}`)
    expect(ready).toContain(`127.0.0.1:${ports[9551]}`)
    expect(network.stdout()).toMatch(new RegExp(`^[0-9a-f]{64}@127\\.1\\.0\\.1:${ports[9501]}$`, 'm'))

    const site = createServer((_request, response) => response.end('a page'))
    site.listen(0, '127.0.0.1')
    await once(site, 'listening')
    const address = site.address()
    const page = `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}/`
    const lines = local(use).trimEnd().split('\n')
    expect(lines).toHaveLength(4)
    const [socks = '', http = '', status = '', circuits = ''] = lines.map((line) => line.replace(/https?:\/\/example\.org\//, page))
    expect(await output(socks)).toBe('a page')
    expect(await output(http)).toBe('a page')
    expect(await output(status)).toMatch(/^bootstrap {4}100 %/m)
    expect((await output(circuits)).match(/^ {2}3\. /gm)?.length).toBeGreaterThan(0)
    site.close()

    const all = descendants(network.pid)
    expect(all.length).toBeGreaterThanOrEqual(10)
    signalGroup(network.pid, 'SIGINT')
    await network.exit
    await eventually('all ended', 40_000, () => (all.some(runs) ? undefined : true))
  })
})
