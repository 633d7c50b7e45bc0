/**
 * Debian's chromium on a `.anon` site, with the flags of docs/browser.md, in a network namespace from which nothing but the client's guard can be
 * reached. Every frame of its only wire is captured, and what would go elsewhere would be on it: the default route leads there.
 */
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { temporaryFolder } from '../helpers/folder.js'
import { connectBoth, Namespace, noNamespaces, onlyReachable, WIRE } from '../helpers/namespaces.js'
import { cli, eventually, has, root, type Spawned } from '../helpers/processes.js'

const BOOTSTRAPS = ['10.11.0.1', '10.12.0.1', '10.13.0.1']
const RELAYS = Array.from({ length: 10 }, (_, index) => `10.${21 + index}.0.1`)
const EXITS = 2
const CLIENT = '10.200.0.2'
/** Nobody has it: a resolver, and a STUN server of the page. */
const TRAP = '10.53.0.53'
const SOCKS = '127.0.0.1:9550'
/** Long, so that the client asks for no new list meanwhile: such a question may end at the guard, and then goes through another one. */
const LIST_INTERVAL_MS = 60_000
const BROWSE_MS = 30_000

const missing = ((): string | undefined => {
  if (!existsSync('/usr/bin/chromium')) return 'no chromium'
  if (!has('python3')) return 'no python3'
  return noNamespaces()
})()

if (missing !== undefined) process.stderr.write(`the browser's test is skipped: ${missing}\n`)

interface Relay {
  readonly nodeId: string
  readonly address: string
  readonly exit: boolean
}
interface Captured {
  /** [frames, bytes] by kind. */
  readonly frames: Record<string, [number, number]>
  readonly lost: number
}
interface Browsed {
  readonly requests: string[]
  readonly sockets: string[]
  readonly status?: number
  readonly error?: string
  readonly images: [boolean, number][]
  readonly ran?: string
  readonly echoed?: string
  readonly candidates?: string[]
}

const flagsIn = (text: string): string[] =>
  [...text.matchAll(/--[\w-]+(?:="[^"]*"|=[^\s"]+)?/g)]
    .map(([word]) => word.replaceAll('"', ''))
    .filter((word) => !word.startsWith('--user-data-dir'))

/** The flags of docs/browser.md, but for the profile, which the test has of its own: for everything, and for `.anon` alone. */
function documentedFlags(): { all: string[]; anon: string[] } {
  const blocks = [...readFileSync(join(root, 'docs/browser.md'), 'utf8').matchAll(/```sh\n([\s\S]*?)```/g)].map(([, text = '']) =>
    flagsIn(text)
  )
  const [all = [], instead = []] = blocks
  return { all, anon: [...all.filter((word) => !word.startsWith('--proxy-server')), ...instead] }
}

async function lineOf(child: Spawned, event: string, limitMs: number, nth = 0): Promise<Record<string, unknown>> {
  return eventually(`${event} of a process`, limitMs, () => {
    const line = child
      .stdout()
      .split('\n')
      .filter((text) => text.includes(`"event":"${event}"`))[nth]
    if (line === undefined && child.process.exitCode !== null) throw new Error(child.stderr())
    return line === undefined ? undefined : (JSON.parse(line) as Record<string, unknown>)
  })
}

async function ended(child: Spawned, signal: NodeJS.Signals): Promise<void> {
  child.process.kill(signal)
  await eventually(
    'a process ends',
    20_000,
    () => (child.process.exitCode ?? child.process.signalCode ?? undefined) !== undefined || undefined
  )
}

describe.skipIf(missing !== undefined)(`a browser${missing === undefined ? '' : `: ${missing}`}`, { timeout: 90_000 }, () => {
  const folder = temporaryFolder()
  let world: Namespace
  let client: Namespace
  let guard: Relay
  let site: string
  let stateDir: string
  let flags: string[]

  const run = (): Spawned => client.start(process.execPath, [cli, 'run', '--socks', SOCKS, '--state-dir', stateDir, ...flags])

  /** Runs something while all frames of the client's wire are counted. */
  async function captured(what: () => Promise<void>): Promise<Captured> {
    const capture = client.start('python3', [join(root, 'test/helpers/capture.py'), WIRE])
    await eventually('the capture is ready', 10_000, () => capture.stdout().includes('ready\n') || undefined)
    // So that the question for the guard's hardware address is in it too.
    client.ip('neigh', 'flush', 'dev', WIRE)
    await what()
    await ended(capture, 'SIGTERM')
    return JSON.parse(capture.stdout().trim().split('\n')[1] ?? '') as Captured
  }

  let profiles = 0
  async function browse(chromiumFlags: readonly string[], gatherMs = BROWSE_MS): Promise<Browsed> {
    const profile = join(folder, `profile-${profiles++}`)
    mkdirSync(profile)
    const options = JSON.stringify({ url: site, profile, flags: chromiumFlags, waitMs: BROWSE_MS, gatherMs })
    const browser = client.start(process.execPath, [join(root, 'test/helpers/browse.mjs'), options], { HOME: profile })
    const deadline = setTimeout(() => browser.process.kill('SIGKILL'), 2.5 * BROWSE_MS)
    await browser.exit
    clearTimeout(deadline)
    expect(browser.stdout(), browser.stderr()).toMatch(/^\{.*\}\n$/)
    return JSON.parse(browser.stdout()) as Browsed
  }

  /** A client's first start, with everything in reach: its first guard. */
  async function firstGuard(): Promise<string> {
    const first = run()
    await lineOf(first, 'ready', 60_000)
    await ended(first, 'SIGINT')
    const { guards } = JSON.parse(readFileSync(join(stateDir, 'guards.json'), 'utf8')) as { guards: { nodeId: string }[] }
    return guards[0]?.nodeId ?? ''
  }

  beforeAll(async () => {
    world = new Namespace('world')
    client = new Namespace('client')
    for (const address of [...BOOTSTRAPS, ...RELAYS]) world.ip('addr', 'add', `${address}/32`, 'dev', 'lo')
    connectBoth(world, client, CLIENT)
    client.resolver(folder, TRAP)
    const options = { bootstraps: BOOTSTRAPS, relays: RELAYS, exits: EXITS, listIntervalMs: LIST_INTERVAL_MS, trap: TRAP }
    const all = world.start(process.execPath, [join(root, 'test/helpers/browser-world.mjs'), JSON.stringify(options)])
    const ready = await lineOf(all, 'ready', 150_000)
    site = `http://${String(ready.address)}/`
    flags = [
      ...(ready.bootstrap as string[]).flatMap((entry) => ['--bootstrap', entry]),
      ...['--allow-private', '--list-interval-ms', String(LIST_INTERVAL_MS), '--json', '--log-level', 'warn']
    ]
    const relays = ready.relays as Relay[]
    // Where the guard is also an introduction point or an exit, a client takes its second guard for that circuit: a client is taken whose guard is neither.
    for (let tries = 0; guard === undefined; tries++) {
      if (tries > 20) throw new Error('every guard is an introduction point')
      stateDir = join(folder, `client-${tries}`)
      const nodeId = await firstGuard()
      all.process.kill('SIGUSR2')
      const { ends } = await lineOf(all, 'ends', 5_000, tries)
      const relay = relays.find((one) => one.nodeId === nodeId)
      if (relay !== undefined && !relay.exit && !(ends as string[]).includes(nodeId)) guard = relay
    }
    // A fresh list lasts for all of what follows.
    const leftMs = LIST_INTERVAL_MS - (Date.now() % LIST_INTERVAL_MS)
    if (leftMs < 30_000) {
      const renew = run()
      await lineOf(renew, 'ready', 60_000)
      await new Promise((resolve) => setTimeout(resolve, leftMs + LIST_INTERVAL_MS / 4 + 2_000))
      await ended(renew, 'SIGINT')
    }
    onlyReachable(world, client, guard.address.split(':')[0] ?? '')
  }, 300_000)

  afterAll(() => {
    client?.remove()
    world?.remove()
  })

  it('can reach its guard and nobody else', () => {
    const probe = (address: string): string =>
      client.sh(
        `python3 -c 'import socket
s = socket.socket(); s.settimeout(1)
try: s.connect(("${address}", 9))
except TimeoutError: print("silence")
except ConnectionRefusedError: print("answer")'`
      )
    const own = guard.address.split(':')[0] ?? ''
    expect(probe(own).trim()).toBe('answer')
    for (const other of [BOOTSTRAPS[0] ?? '', RELAYS.find((address) => address !== own) ?? '', TRAP])
      expect(probe(other).trim()).toBe('silence')
    expect(client.sh('cat /proc/net/if_inet6 2>/dev/null; true')).toBe('')
  })

  it.each(['all', 'anon'] as const)(
    'loads a page with images, a script and a WebSocket, and nothing goes out but to the guard (%s)',
    async (which) => {
      const given = documentedFlags()[which]
      expect(given.filter((word) => /^--proxy-(server|pac-url)=.*9550/.test(word))).toHaveLength(1)
      let browsed: Browsed | undefined
      const { frames, lost } = await captured(async () => {
        const node = run()
        await lineOf(node, 'ready', 30_000)
        browsed = await browse(given)
        await ended(node, 'SIGINT')
      })
      process.stdout.write(`frames: ${JSON.stringify(byKind(frames))}\n`)
      const host = new URL(site).host
      expect(browsed).toMatchObject({ status: 200, ran: host, echoed: 'THROUGH THE OVERLAY', candidates: [] })
      expect(browsed?.error).toBeUndefined()
      expect(browsed?.images).toEqual([
        [true, 200],
        [true, 300]
      ])
      expect(
        browsed?.requests
          .map((url) => new URL(url))
          .filter(({ protocol }) => protocol !== 'data:')
          .map((url) => url.host)
      ).toEqual(['/', '/a.png', '/b.png', '/script.js'].map(() => host))
      expect(browsed?.sockets).toEqual([`ws://${host}/socket`])
      expect(lost).toBe(0)
      expect(Object.keys(frames).some((kind) => kind.startsWith('arp '))).toBe(true)
      const [ip = '', port = ''] = guard.address.split(':')
      const right = (kind: string): boolean =>
        [`arp ${ip} > ${CLIENT}`, `arp ${CLIENT} > ${ip}`].includes(kind) ||
        new RegExp(`^udp (${CLIENT}:\\d+ > ${ip}:${port}|${ip}:${port} > ${CLIENT}:\\d+)$`).test(kind)
      expect(Object.keys(frames).filter((kind) => !right(kind))).toEqual([])
      // It is this wire that the page came over: its images are noise of 390,000 bytes.
      const udp = Object.entries(frames).filter(([kind]) => kind.startsWith(`udp ${ip}`))
      expect(udp.reduce((sum, [, [, bytes]]) => sum + bytes, 0)).toBeGreaterThan(390_000)
      expect(udp).toHaveLength(1)
    }
  )

  it('is seen to ask its resolver and to send UDP around the proxy when it is given the proxy alone', async () => {
    let browsed: Browsed | undefined
    const { frames } = await captured(async () => {
      const node = run()
      await lineOf(node, 'ready', 30_000)
      browsed = await browse([`--proxy-server=socks5://${SOCKS}`], 5_000)
      await ended(node, 'SIGINT')
    })
    process.stdout.write(`frames with the proxy alone: ${JSON.stringify(byKind(frames))}\n`)
    expect(browsed?.status).toBe(200)
    expect(Object.keys(frames).some((kind) => new RegExp(`> ${TRAP}:53$`).test(kind))).toBe(true)
    expect(Object.keys(frames).some((kind) => new RegExp(`^udp .*> ${TRAP}:3478$`).test(kind))).toBe(true)
  })
})

/** Counts without the client's ports, which are new each time. */
function byKind(frames: Captured['frames']): Captured['frames'] {
  const sums: Captured['frames'] = {}
  for (const [kind, [count, bytes]] of Object.entries(frames)) {
    const name = kind.replace(`${CLIENT}:`, 'client:').replace(/client:\d+/, 'client')
    const [before = 0, bytesBefore = 0] = sums[name] ?? []
    sums[name] = [before + count, bytesBefore + bytes]
  }
  return sums
}
