// Beside Tor on loopback: a private Tor network and ours in the same shape, with the same server and clients, measured in turn. What each
// figure has to reach stands in lib/tor/marks.mjs; how it is done and what came out, in docs/performance.md.
import { loadavg } from 'node:os'
import { residentBytes } from './lib/processes.mjs'
import { buildPump, firstBytes, listening } from './lib/pump.mjs'
import { buildBounds, handshakeMs, measureBounds, startForwarders } from './lib/tor/bounds.mjs'
import { temporaryFolder } from './lib/tor/children.mjs'
import { crowded, idleCircuits, onDisk, resident, residentAfter, startups } from './lib/tor/footprint.mjs'
import { rowsOf } from './lib/tor/marks.mjs'
import { measureService, measureSubject, published } from './lib/tor/measure.mjs'
import { findTor, TorNetwork } from './lib/tor/network.mjs'
import { LOOPBACK, OurNetwork } from './lib/tor/ours.mjs'
import { plot } from './lib/tor/plot.mjs'
import { markdown } from './lib/tor/report.mjs'
import { idleParts, subjectsOf } from './lib/tor/subjects.mjs'
import { versionsOf } from './lib/tor/versions.mjs'

const LONG = {
  rounds: 5,
  warm: 2,
  seconds: 6,
  requests: 60,
  meetings: 20,
  circuits: 400,
  idle: 1000,
  starts: 5,
  loadBytes: 10e9,
  crowd: 10_000
}
const SHORT = { ...LONG, rounds: 2, warm: 1, seconds: 3, requests: 30, meetings: 10, circuits: 200, starts: 2, loadBytes: 1e9 }
/** A guard takes 1,024 circuits of one client, so that many relays for a client of 10,000. */
const CROWD_RELAYS = 10
const SETTLE_MS = 3000
const TORS = ['kist', 'vanilla']
const NETWORKS = [...TORS, 'ours']
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
const began = performance.now()
const tell = (text) => process.stderr.write(`[${((performance.now() - began) / 1000).toFixed(0).padStart(4)} s] ${text}\n`)

/** The bench: what runs, and what was found so far. */
class Bench {
  rounds = []
  services = []
  once = Object.fromEntries(NETWORKS.map((name) => [name, {}]))
  failures = []
  #up

  constructor(settings, folder) {
    this.settings = settings
    this.folder = folder
  }

  /** The networks, started when the first part needs them. */
  networks() {
    this.#up ??= this.#start()
    return this.#up
  }

  async #start() {
    tell('both schedulers of Tor, and our network, start')
    const [server, kist, vanilla, ours] = await Promise.all([
      listening('the server', 'serve'),
      TorNetwork.start('KIST', this.folder),
      TorNetwork.start('Vanilla', this.folder),
      OurNetwork.start(this.folder)
    ])
    const builder = await ours.builder()
    await sleep(SETTLE_MS)
    return { server, builder, all: { kist, vanilla, ours } }
  }

  async end() {
    if (this.#up === undefined) return
    const up = await this.#up.catch(() => undefined)
    this.#up = undefined
    if (up === undefined) return
    const { server, builder, all } = up
    builder.end()
    await Promise.all([server, ...Object.values(all)].map((child) => child.end()))
  }

  /** Rounds of all subjects; each begins with another one, so that nobody always comes first. One that fails is told, and left out. */
  async #inTurn(what, names, into, measure, besides = async () => ({})) {
    const { rounds } = this.settings
    for (let round = 0; round < rounds; round++) {
      const figures = {}
      try {
        for (const at of names.keys()) {
          const name = names[(at + round) % names.length]
          tell(`${what}, round ${round + 1} of ${rounds}: ${name}`)
          const measured = await measure(name, round)
          figures[name] = measured.figures
          for (const failure of measured.failures) this.failures.push(`${what}, round ${round + 1}, ${name}: ${failure}`)
        }
        into.push({ subjects: Object.fromEntries(names.map((name) => [name, figures[name]])), ...(await besides()) })
      } catch (error) {
        this.failures.push(`${what}, round ${round + 1} is left out: ${error.message}`)
      }
      this.save()
    }
    if (into.length < rounds) throw new Error(`only ${into.length} of ${rounds} rounds`)
  }

  /** Memory of processes that have carried nothing yet, and of idle circuits in them. */
  async idle() {
    const { all, builder } = await this.networks()
    for (const name of NETWORKS) this.once[name].rss = resident(all[name].relays, all[name].client)
    const { idle } = this.settings
    tell(`idle circuits, ${idle} at once`)
    for (const [name, parts] of Object.entries(idleParts(all, builder, idle))) this.once[name].idle = await idleCircuits(parts)
  }

  async roundsOfAll() {
    const { all, builder, server } = await this.networks()
    buildBounds()
    const chain = await startForwarders(server)
    const subjects = subjectsOf(all, builder)
    // What is slow the first time.
    for (const { proxy } of Object.values(subjects)) await firstBytes({ proxy, target: server.port, count: 8, user: 'first#' })
    const measure = async (name, round) => {
      const subject = subjectsOf(all, builder)[name]
      const measured = await measureSubject(subject, server.port, round, this.settings)
      await subject.renew?.()
      return measured
    }
    const bounds = async () => ({ bounds: await measureBounds(chain, this.settings) })
    try {
      await this.#inTurn('all', Object.keys(subjects), this.rounds, measure, bounds)
    } finally {
      await chain.end()
    }
  }

  /** Onion services, and ours. */
  async roundsOfServices() {
    const { all, builder, server } = await this.networks()
    const targets = {}
    for (const name of NETWORKS) {
      tell(`a service, ${name}`)
      targets[name] = await published(all[name], subjectsOf(all, builder)[name], server.port)
    }
    const subjects = subjectsOf(all, builder)
    await this.#inTurn('services', NETWORKS, this.services, (name, round) =>
      measureService(subjects[name], targets[name], server.port, round, this.settings)
    )
  }

  /** The relays' memory after a long load. */
  async load() {
    const { all, builder, server } = await this.networks()
    const { loadBytes, seconds } = this.settings
    const subjects = subjectsOf(all, builder)
    const movedBy = (names) =>
      this.rounds
        .flatMap(({ subjects: figures }) => names.flatMap((name) => Object.values(figures[name]).map(({ bytes = 0 }) => bytes)))
        .reduce((sum, bytes) => sum + bytes, 0)
    for (const name of NETWORKS) {
      tell(`${loadBytes / 1e9} GB, ${name}`)
      const moved = movedBy(TORS.includes(name) ? [name, `${name}-conflux`] : [name])
      const { relays, client } = all[name]
      const after = await residentAfter(subjects[name], relays, server.port, moved, loadBytes, seconds)
      this.once[name].after = { ...after, client: residentBytes(client.pid) }
    }
  }

  /** Starts of a client, cold and with what was kept. */
  async startup() {
    const { all } = await this.networks()
    tell('starts, cold and with what was kept')
    for (const [name, times] of Object.entries(await startups(all, this.settings.starts))) this.once[name].startup = times
  }

  async crowd() {
    await this.end()
    const { crowd } = this.settings
    tell(`${crowd} idle circuits in every relay`)
    const fresh = await OurNetwork.start(this.folder, 'crowd', { ...LOOPBACK, relays: CROWD_RELAYS })
    try {
      this.once.ours.crowd = await crowded(fresh, crowd)
    } finally {
      await fresh.end()
    }
  }
}

/** The parts, in the order in which they run: the first needs processes that have carried nothing. */
const PARTS = { idle: 'idle', rounds: 'roundsOfAll', services: 'roundsOfServices', load: 'load', startup: 'startup', crowd: 'crowd' }
const partNames = Object.keys(PARTS)

/** Runs the parts that `only` names, all if it names none; `save` is given a report after each part and each round. */
export async function tor({ short, only = [], save }) {
  const settings = short ? SHORT : LONG
  const parts = partNames.filter((name) => (only.length > 0 ? only.includes(name) : !(short && name === 'crowd')))
  const versions = versionsOf(findTor())
  buildPump()
  const crypto = parts.includes('rounds') ? handshakeMs() : undefined
  const bench = new Bench(settings, temporaryFolder())
  const disk = onDisk()
  const load = [loadavg()[0]]
  const done = []
  const report = () => {
    const { rounds, services, once, failures } = bench
    const rows = rowsOf({ parts, rounds, services, once })
    const figures = { versions, settings, parts, done, load, handshakeMs: crypto, rows, once, disk, failures, rounds, services }
    const text = markdown(figures)
    const svg = plot(rows, `AnonNet ${versions.anonnet} beside Tor ${versions.tor}, one machine, loopback`)
    return { figures, text, files: { md: `${text}\n`, svg }, ok: rows.every((row) => row.held) }
  }
  bench.save = () => save(report())
  for (const part of parts) {
    try {
      await bench[PARTS[part]]()
      done.push(part)
    } catch (error) {
      // The other parts' figures are worth having.
      tell(`${part} failed: ${error.message}`)
      bench.failures.push(`${part}: ${error.message}`)
    }
    load.push(loadavg()[0])
    bench.save()
  }
  await bench.end()
  return report()
}
