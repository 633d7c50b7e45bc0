// Beside Tor in a wide-area network: every node of both in a network namespace of its own, with delay, loss and a narrow link between them.
// What each figure has to reach stands in lib/wan/marks.mjs; how it is done and what came out, in docs/performance.md.
import { setPriority } from 'node:os'
import { buildPump, listeningInside } from './lib/pump.mjs'
import { temporaryFolder } from './lib/tor/children.mjs'
import { findTor, TorNetwork } from './lib/tor/network.mjs'
import { OurNetwork } from './lib/tor/ours.mjs'
import { plot } from './lib/tor/plot.mjs'
import { versionsOf } from './lib/tor/versions.mjs'
import { wideRows } from './lib/wan/marks.mjs'
import { measureWide } from './lib/wan/measure.mjs'
import { missing, WideNetwork } from './lib/wan/namespaces.mjs'
import { wideMarkdown } from './lib/wan/report.mjs'

const SETTINGS = {
  long: { rounds: 3, warm: 6, seconds: 10, requests: 40, fresh: 24 },
  short: { rounds: 1, warm: 3, seconds: 3, requests: 12, fresh: 6 }
}
const LINK = { delayMs: 25, jitterMs: 3 }
const NARROW = { bitsPerSecond: 20_000_000, queueMs: 200 }
const LOSSY = { ...LINK, loss: 0.01 }
/** By name: what all links do, what the one between the first and the second relay does, and that in words. */
const SCENARIOS = {
  plain: { all: LINK, middle: LINK, text: '25 ms one way on each link, 3 ms of jitter more or less, no packet overtakes another' },
  loss: { all: LOSSY, middle: LOSSY, text: 'the same, and one packet of a hundred lost on each link and in each direction' },
  narrow: {
    all: LINK,
    middle: { ...LINK, ...NARROW },
    text: 'as plain, and 20 Mbit/s between the first and the second relay, with a queue of 200 ms that drops at its tail'
  }
}
/** What the short form measures: where the difference is largest, in three minutes. */
const SHORT = { loss: ['one', 'eight', 'built', 'fresh'], narrow: ['one', 'built', 'besideSame', 'besideOther'] }
const NODES = ['authority0', 'authority1', 'authority2', 'relay0', 'relay1', 'relay2']
const FIRST_PORT = 7001
const PRIORITY = -10
const SETTLE_MS = 3000
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
const began = performance.now()
const tell = (text) => process.stderr.write(`[${((performance.now() - began) / 1000).toFixed(0).padStart(4)} s] ${text}\n`)

/** Where the nodes of one network are: three relays, so that every path passes the same links. */
async function site(wide, network, client) {
  const places = {}
  for (const name of [...NODES, client]) places[name] = await wide.node(`${network}-${name}`)
  return {
    relays: 3,
    pinned: true,
    place: (name) => places[name],
    ports: async (count) => Array.from({ length: count }, (_, at) => FIRST_PORT + at),
    port: async () => FIRST_PORT
  }
}

async function scenario(wide, networks, { all, middle }) {
  await wide.link('*', '*', all)
  for (const network of networks) {
    await wide.link(`${network}-relay0`, `${network}-relay1`, middle)
    await wide.link(`${network}-relay1`, `${network}-relay0`, middle)
  }
  // The server stands beside every exit: what an exit fetches over TCP is the same for both.
  await wide.link('server', '*', {})
  await wide.link('*', 'server', {})
}

/** The bench; `alone` measures that network by itself, and `scenarios` and `figures` fewer of each: then there are no marks. */
export async function wan({ short, save, alone, figures, scenarios = Object.keys(short ? SHORT : SCENARIOS), ...more }) {
  const lacks = missing()
  if (lacks) {
    process.stderr.write(
      `This bench builds a network of namespaces and needs ${lacks}: run it as root on Linux with /dev/net/tun and iproute2.\n`
    )
    process.exit(2)
  }
  const settings = { ...(short ? SETTINGS.short : SETTINGS.long), ...more }
  const versions = versionsOf(alone === 'ours' ? 'none' : findTor())
  buildPump()
  // Delays are measured: everything of the bench, Tor as well, runs before what else is on the machine.
  setPriority(PRIORITY)
  const folder = temporaryFolder()
  const wide = await WideNetwork.open()
  const place = await wide.node('server')
  const server = await listeningInside(place.inside, 'the server', 'serve', place.address)
  const names = ['kist', 'vanilla', 'ours'].filter((name) => !alone || name === alone)
  const sites = {}
  for (const name of names) sites[name] = await site(wide, name, name === 'ours' ? 'client' : 'plain')
  await scenario(wide, names, SCENARIOS.plain)
  tell(`${names.join(', ')}: they start`)
  const starts = {
    kist: () => TorNetwork.start('KIST', folder, sites.kist),
    vanilla: () => TorNetwork.start('Vanilla', folder, sites.vanilla),
    ours: () => OurNetwork.start(folder, 'ours', sites.ours)
  }
  const networks = Object.fromEntries(await Promise.all(names.map(async (name) => [name, await starts[name]()])))
  await sleep(SETTLE_MS)

  const target = `${place.address}:${server.port}`
  const subjectOf = (name) => {
    const network = networks[name]
    const { inside } = sites[name].place(name === 'ours' ? 'client' : 'plain')
    return { processes: network.all, proxy: name === 'ours' ? network.socks : network.socks.plain, inside }
  }
  const rounds = []
  const failures = []
  /** What has been found by now. */
  const outcome = () => {
    const rows = wideRows(rounds)
    const links = Object.fromEntries(scenarios.map((name) => [name, SCENARIOS[name].text]))
    const all = { versions, settings, links, rows, failures, rounds }
    const text = wideMarkdown(all)
    const named = rows.map((row) => ({ ...row, name: `${row.scenario}: ${row.name}` }))
    const svg = plot(named, `AnonNet ${versions.anonnet} beside Tor ${versions.tor}, a namespace for each node, 25 ms a link`)
    return { figures: all, text, files: { md: `${text}\n`, svg }, ok: rows.every((row) => row.held) }
  }
  for (let round = 0; round < settings.rounds; round++) {
    const found = {}
    for (const kind of scenarios) {
      await scenario(wide, names, SCENARIOS[kind])
      found[kind] = {}
      for (const at of names.keys()) {
        // Each round begins with another one, so that nobody always comes first.
        const name = names[(at + round) % names.length]
        tell(`round ${round + 1} of ${settings.rounds}, ${kind}: ${name}`)
        const before = await wide.stats()
        const measured = await measureWide(
          { subject: subjectOf(name), shaper: wide.shaper, target },
          settings,
          figures ?? (short && SHORT[kind])
        )
        const after = await wide.stats()
        const packets = Object.fromEntries(['passed', 'lost', 'dropped', 'refused'].map((key) => [key, after[key] - before[key]]))
        found[kind][name] = { ...measured.figures, packets: { ...packets, waitedMs: after.waitedMs, lateMs: after.lateMs } }
        for (const failure of measured.failures) failures.push(`round ${round + 1}, ${kind}, ${name}: ${failure}`)
      }
    }
    rounds.push(found)
    if (!alone && !figures) save(outcome())
  }
  await Promise.all([server.end(), ...names.map((name) => networks[name].end())])
  await wide.end()
  return alone || figures ? { rounds, failures } : outcome()
}
