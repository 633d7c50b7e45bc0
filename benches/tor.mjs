// Beside Tor on loopback: a private Tor network and ours in the same shape, with the same server and clients, measured in turn. What each
// figure has to reach stands in lib/tor/marks.mjs; how it is done and what came out, in docs/performance.md.
import { residentBytes } from './lib/processes.mjs'
import { buildPump, firstBytes, listening } from './lib/pump.mjs'
import { buildBounds, handshakeMs, measureBounds, startForwarders } from './lib/tor/bounds.mjs'
import { temporaryFolder } from './lib/tor/children.mjs'
import { crowded, idleCircuits, onDisk, resident, residentAfter, startups } from './lib/tor/footprint.mjs'
import { rowsOf } from './lib/tor/marks.mjs'
import { measureSubject, pathsOf } from './lib/tor/measure.mjs'
import { findTor, TorNetwork } from './lib/tor/network.mjs'
import { OurNetwork } from './lib/tor/ours.mjs'
import { plot } from './lib/tor/plot.mjs'
import { markdown } from './lib/tor/report.mjs'
import { versionsOf } from './lib/tor/versions.mjs'

const SETTINGS = {
  long: { rounds: 5, warm: 2, seconds: 6, requests: 60, circuits: 400, idle: 1000, starts: 5, loadBytes: 10e9, crowd: 10_000 },
  short: { rounds: 2, warm: 1, seconds: 3, requests: 30, circuits: 200, idle: 1000, starts: 2, loadBytes: 1e9, crowd: 0 }
}
const SETTLE_MS = 3000
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
const began = performance.now()
const tell = (text) => process.stderr.write(`[${((performance.now() - began) / 1000).toFixed(0).padStart(4)} s] ${text}\n`)

/** A Tor network's two subjects: its client without conflux, which also builds the circuits that are counted, and the one as shipped. */
function torSubjects(network) {
  const name = network.scheduler.toLowerCase()
  const build = ({ count, atOnce }) => network.control.build({ paths: pathsOf(network.fingerprints), count, atOnce })
  const processes = network.subject(network.client)
  return {
    [name]: { processes, proxy: network.socks.plain, circuits: { build, processes, more: [] } },
    [`${name}-conflux`]: { processes: network.subject(network.confluxClient), proxy: network.socks.conflux }
  }
}

function ourSubject(network, builder) {
  const build = ({ count, atOnce }) => builder.call('build', { paths: pathsOf(network.hops), count, atOnce })
  const processes = [...network.all.filter((child) => child !== network.client), { name: 'builder', pid: builder.pid }]
  return { ours: { processes: network.all, proxy: network.socks, circuits: { build, processes, more: [builder.pid] } } }
}

/** Memory of idle circuits, on processes that have carried nothing yet. */
async function idleFigures(tors, ours, builder, count) {
  const figures = {}
  for (const network of tors) {
    const kept = []
    const build = async ({ count: number, atOnce }) => {
      const { circuits } = await network.control.build({ paths: [network.fingerprints.slice(0, 3)], count: number, atOnce, keep: true })
      kept.push(...circuits)
    }
    const parts = { relays: network.relays.slice(0, 3), client: network.client, build, drop: () => network.control.drop(kept), count }
    figures[network.scheduler.toLowerCase()] = await idleCircuits(parts)
  }
  figures.ours = await idleCircuits({
    relays: ours.relays.slice(0, 3),
    client: builder,
    build: (options) => builder.call('build', { path: ours.hops.slice(0, 3), ...options }),
    drop: () => builder.call('drop'),
    count
  })
  return figures
}

export async function tor({ short }) {
  const settings = short ? SETTINGS.short : SETTINGS.long
  const versions = versionsOf(findTor())
  buildPump()
  buildBounds()
  const crypto = handshakeMs()
  const folder = temporaryFolder()
  tell('both schedulers of Tor, and our network, start')
  const [server, kist, vanilla, ours] = await Promise.all([
    listening('the server', 'serve'),
    TorNetwork.start('KIST', folder),
    TorNetwork.start('Vanilla', folder),
    OurNetwork.start(folder)
  ])
  const tors = [kist, vanilla]
  const chain = await startForwarders(server)
  const builder = await ours.builder()
  await sleep(SETTLE_MS)
  const rss = {
    kist: resident(kist.relays, kist.client),
    vanilla: resident(vanilla.relays, vanilla.client),
    ours: resident(ours.relays, ours.client)
  }
  tell(`idle circuits, ${settings.idle} at once`)
  const idle = await idleFigures(tors, ours, builder, settings.idle)

  const subjects = { ...torSubjects(kist), ...torSubjects(vanilla), ...ourSubject(ours, builder) }
  // What is slow the first time.
  for (const { proxy } of Object.values(subjects)) {
    await firstBytes({ proxy, target: server.port, count: 8, user: 'first#' })
  }
  const rounds = []
  const failures = []
  for (let round = 0; round < settings.rounds; round++) {
    const figures = {}
    // Each round begins with another one, so that nobody always comes first.
    const names = Object.keys(subjects)
    for (const at of names.keys()) {
      const name = names[(at + round) % names.length]
      tell(`round ${round + 1} of ${settings.rounds}: ${name}`)
      const measured = await measureSubject(subjects[name], server.port, round, settings)
      figures[name] = measured.figures
      for (const failure of measured.failures) failures.push(`round ${round + 1}, ${name}: ${failure}`)
    }
    rounds.push({ subjects: Object.fromEntries(names.map((name) => [name, figures[name]])), bounds: await measureBounds(chain, settings) })
  }

  tell(`${settings.loadBytes / 1e9} GB through each network`)
  const movedBy = (...names) =>
    rounds
      .flatMap(({ subjects: all }) => names.flatMap((name) => Object.values(all[name]).map(({ bytes = 0 }) => bytes)))
      .reduce((sum, bytes) => sum + bytes, 0)
  const loaded = (name, network, also = []) =>
    residentAfter(subjects[name], network.relays, server.port, movedBy(name, ...also), settings.loadBytes, settings.seconds)
  const after = {
    kist: await loaded('kist', kist, ['kist-conflux']),
    vanilla: await loaded('vanilla', vanilla, ['vanilla-conflux']),
    ours: { ...(await loaded('ours', ours)), client: residentBytes(ours.client.pid) }
  }
  tell('starts, cold and with what was kept')
  const startup = await startups({ kist, vanilla, ours }, settings.starts)
  const once = Object.fromEntries(
    ['kist', 'vanilla', 'ours'].map((name) => [name, { idle: idle[name], rss: rss[name], after: after[name], startup: startup[name] }])
  )
  builder.end()
  await Promise.all([server.end(), chain.end(), kist.end(), vanilla.end(), ours.end()])
  if (settings.crowd > 0) {
    tell(`${settings.crowd} idle circuits in every relay`)
    const fresh = await OurNetwork.start(folder, 'crowd')
    once.ours.crowded = await crowded(fresh, settings.crowd)
    await fresh.end()
  }

  const rows = rowsOf({ rounds, once })
  const figures = { versions, settings, handshakeMs: crypto, rows, once, disk: onDisk(), failures, rounds }
  const text = markdown(figures)
  const svg = plot(rows, `AnonNet ${versions.anonnet} beside Tor ${versions.tor}, one machine, loopback`)
  return { figures, text, files: { 'tor.md': `${text}\n`, 'tor.svg': svg }, ok: rows.every((row) => row.held) }
}
