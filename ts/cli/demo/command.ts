/** `anonnet demo`: a whole network of real processes on this machine, and a page through it. */

import { rmSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Command } from 'commander'
import { type CircuitStatus, controlRequest } from '../../node/index.js'
import { parseUrl } from '../http.js'
import { CommandFailed, type Io, paletteOf, printJson, printLine, say } from '../io.js'
import { catchEndings, Interrupted } from '../lifecycle.js'
import { Children } from './children.js'
import { type Network, startNetwork, startService } from './network.js'
import { LARGE_FILE, makeSite, siteCommand } from './site.js'
import { hasCurl, type Transfer, transfer, type Way } from './transfer.js'

interface DemoFlags {
  readonly keep?: boolean
  readonly json?: boolean
  readonly url?: string
}

const SITE_DEADLINE_MS = 30_000
const RATE_UNIT = 1_000_000

/** One hop of the path, for the report. */
interface PathHop {
  readonly name: string
  readonly nodeId: string
  readonly address: string
}

/** The service, and what fetching its large file came to. */
interface ServiceReport extends Transfer {
  readonly address: string
  readonly url: string
  readonly sha256Ok: boolean
}

/** What `--json` ends with. */
interface Report {
  readonly ok: boolean
  readonly ports: { readonly socks: number; readonly http: number; readonly site: number }
  readonly path: readonly PathHop[]
  /** Of the first transfer, through SOCKS5: milliseconds, bytes a second. */
  readonly ttfbMs: number
  readonly goodput: number
  readonly sha256Ok: boolean
  readonly url: string
  readonly processes: number
  readonly transfers: readonly (Transfer & { readonly sha256Ok: boolean })[]
  /** Absent with `--url`. */
  readonly service: ServiceReport | undefined
}

/** The hops of the circuit that carried most. */
async function pathOf(network: Network): Promise<PathHop[]> {
  const circuits = (await controlRequest(network.control, 'circuits')) as CircuitStatus[]
  const used = circuits.reduce<CircuitStatus | undefined>(
    (most, circuit) => (most === undefined || circuit.bytesRead > most.bytesRead ? circuit : most),
    undefined
  )
  return (used?.hops ?? []).map(({ nodeId, address }) => {
    const known = network.members.find((member) => member.nodeId === nodeId)
    return { name: known?.name ?? 'a relay', nodeId, address: known?.address ?? address ?? '' }
  })
}

const portOf = (address: string): number => Number(address.slice(address.lastIndexOf(':') + 1))
const rate = (bytesPerSecond: number): string => `${(bytesPerSecond / RATE_UNIT).toFixed(1)} MB/s`

class Demo {
  readonly #io: Io
  readonly #flags: DemoFlags
  readonly #children = new Children()
  readonly #began = performance.now()
  #folder: string | undefined

  constructor(io: Io, flags: DemoFlags) {
    this.#io = io
    this.#flags = flags
  }

  /** One progress line. */
  #tell = (step: string): void => {
    const seconds = ((performance.now() - this.#began) / 1_000).toFixed(1).padStart(5)
    say(this.#io, `${paletteOf(this.#io).dim(`[${seconds} s]`)} ${step}`)
  }

  async run(signal: AbortSignal): Promise<Report> {
    this.#folder = await mkdtemp(join(tmpdir(), 'anonnet-'))
    const folder = this.#folder
    // The way out of process.exit(), where nothing can be awaited.
    process.once('exit', this.#removeNow)
    const { url: given } = this.#flags
    const [expected, network] = await Promise.all([
      given === undefined ? this.#makeSite(folder, signal) : undefined,
      startNetwork(this.#children, folder, this.#tell, signal)
    ])
    const url = given ?? (await this.#startSite(folder, signal))
    const curl = await hasCurl()
    if (!curl) this.#tell('there is no curl here, so a small client of our own fetches')
    const wanted = expected ?? (await this.#fetch(url, 'direct', '', curl, signal)).sha256
    if (given === undefined) await this.#page(url, network, curl, signal)
    const target = given ?? new URL(LARGE_FILE, url).href
    const transfers: Report['transfers'][number][] = []
    for (const [way, proxy] of [['socks5', network.socks] as const, ['connect', network.http] as const]) {
      const done = await this.#fetch(target, way, proxy, curl, signal)
      transfers.push({ ...done, sha256Ok: done.sha256 === wanted && done.status < 400 })
    }
    // Before the service: its circuit carries as much.
    const path = await pathOf(network)
    const service = given === undefined ? await this.#service(url, network, folder, wanted, curl, signal) : undefined
    return this.#report(target, network, path, transfers, service)
  }

  /** The same site as a service: through six relays, and nobody on the way knows where it is. */
  async #service(
    url: string,
    network: Network,
    folder: string,
    wanted: string,
    curl: boolean,
    signal: AbortSignal
  ): Promise<ServiceReport> {
    const address = await startService(this.#children, network, folder, new URL(url).host, signal)
    this.#tell(`the site is a service now, too: ${address}`)
    const page = `http://${address}/`
    await this.#page(page, network, curl, signal)
    const done = await this.#fetch(new URL(LARGE_FILE, page).href, 'socks5', network.socks, curl, signal)
    return { address, url: page, ...done, sha256Ok: done.sha256 === wanted && done.status < 400 }
  }

  async #makeSite(folder: string, signal: AbortSignal): Promise<string> {
    const sha256 = await makeSite(folder, signal)
    this.#tell('the web site has its file of 100 MB')
    return sha256
  }

  async #startSite(folder: string, signal: AbortSignal): Promise<string> {
    const site = this.#children.start('web site', ['demo-site', '--folder', folder, '--listen', '127.0.0.1:0'], 'user')
    const { url } = await site.waitFor(({ event }) => event === 'ready', signal, SITE_DEADLINE_MS)
    this.#tell(`the web site is up: ${String(url)}`)
    return String(url)
  }

  async #fetch(url: string, way: Way, proxy: string, curl: boolean, signal: AbortSignal): Promise<Transfer> {
    const done = await transfer(url, way, proxy, join(this.#folder ?? '', `fetched-${way}`), curl, signal)
    const fallen = this.#children.fallen()
    if (fallen !== undefined) throw fallen.failure()
    const how = { direct: 'directly, to compare', socks5: 'through SOCKS5', connect: 'through HTTP CONNECT' }[way]
    this.#tell(`fetched ${how}: ${done.status}, ${done.bytes} bytes, first byte after ${done.ttfbMs.toFixed(0)} ms, ${rate(done.goodput)}`)
    return done
  }

  /** The small page first: it shows that a name-less first request works, and it is what a person would look at. */
  async #page(url: string, network: Network, curl: boolean, signal: AbortSignal): Promise<void> {
    const done = await this.#fetch(url, 'socks5', network.socks, curl, signal)
    if (done.status !== 200 || done.bytes === 0)
      throw new CommandFailed(`the page came with status ${done.status}`, 'ERR_ANONNET_STREAM_REFUSED')
  }

  async #report(
    url: string,
    network: Network,
    path: readonly PathHop[],
    transfers: Report['transfers'],
    service: ServiceReport | undefined
  ): Promise<Report> {
    const sha256Ok = transfers.every((done) => done.sha256Ok) && service?.sha256Ok !== false
    const fallen = this.#children.fallen()
    if (fallen !== undefined) throw fallen.failure()
    const { ttfbMs = 0, goodput = 0 } = transfers[0] ?? {}
    return {
      ok: sha256Ok && path.length === 3,
      ports: { socks: portOf(network.socks), http: portOf(network.http), site: Number(new URL(url).port || 80) },
      path,
      ttfbMs: Math.round(ttfbMs),
      goodput: Math.round(goodput),
      sha256Ok,
      url,
      processes: this.#children.count,
      transfers,
      service
    }
  }

  /** Ends every process and removes every file. */
  async end(): Promise<void> {
    await this.#children.stop()
    if (this.#folder !== undefined) await rm(this.#folder, { recursive: true, force: true })
    process.off('exit', this.#removeNow)
  }

  #removeNow = (): void => {
    if (this.#folder !== undefined) rmSync(this.#folder, { recursive: true, force: true })
  }
}

function print(io: Io, report: Report, keep: boolean): void {
  const paint = paletteOf(io)
  printLine(io, `path     client -> ${report.path.map(({ name, address }) => `${name} (${address})`).join(' -> ')} -> site`)
  for (const { way, client, ttfbMs, goodput, sha256Ok } of report.transfers) {
    const verdict = sha256Ok ? paint.green('SHA-256 right') : paint.red('SHA-256 WRONG')
    printLine(
      io,
      `${way === 'socks5' ? 'SOCKS5  ' : 'CONNECT '} by ${client}: first byte after ${ttfbMs.toFixed(0)} ms, goodput ${rate(goodput)}, ${verdict}`
    )
  }
  if (report.service !== undefined) {
    const { client, ttfbMs, goodput, sha256Ok } = report.service
    const verdict = sha256Ok ? paint.green('SHA-256 right') : paint.red('SHA-256 WRONG')
    printLine(io, `.anon    by ${client}: first byte after ${ttfbMs.toFixed(0)} ms, goodput ${rate(goodput)}, ${verdict}`)
  }
  if (!keep) {
    printLine(io, 'It is all ended now; `npm run demo -- --keep` leaves it up, to try it with curl.')
    return
  }
  printLine(io, 'Try it:')
  printLine(io, `  curl --socks5-hostname 127.0.0.1:${report.ports.socks} ${new URL('/', report.url).href}`)
  printLine(io, `  curl --proxytunnel -x http://127.0.0.1:${report.ports.http} ${report.url} -o /dev/null`)
  printLine(io, `  curl -x http://127.0.0.1:${report.ports.http} ${new URL('/', report.url).href}`)
  if (report.service !== undefined) printLine(io, `  curl --socks5-hostname 127.0.0.1:${report.ports.socks} ${report.service.url}`)
  say(io, 'Ctrl-C ends every process.')
}

async function demo(io: Io, flags: DemoFlags): Promise<number> {
  if (flags.url !== undefined) parseUrl(flags.url)
  const run = new Demo(io, flags)
  const endings = catchEndings()
  try {
    const report = await run.run(endings.signal)
    if (flags.json) printJson(io, report)
    else print(io, report, flags.keep === true)
    if (flags.keep === true && report.ok) await endings.ended
    return report.ok ? 0 : 1
  } catch (error) {
    if (endings.signal.aborted) return 1
    throw error instanceof Interrupted ? new CommandFailed('interrupted', 'ERR_ANONNET_ABORTED') : error
  } finally {
    await run.end()
    endings.release()
  }
}

/** Adds `demo`, and the hidden verb of its site. */
export function demoCommand(program: Command, io: Io, finish: (code: number) => void): void {
  program
    .command('demo')
    .description('bring a network up on this machine, fetch a site through three relays, end it again')
    .option('--keep', 'leave it up until Ctrl-C')
    .option('--url <url>', 'fetch this instead of the demo site')
    .option('--json', 'end with one JSON object')
    .addHelpText('after', '\nExample:\n  $ anonnet demo --keep\n')
    .action(async (flags: DemoFlags) => finish(await demo(io, flags)))
  siteCommand(program, io, finish)
}
