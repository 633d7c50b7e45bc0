// What the programs take when nothing flows: memory idle and with circuits, time to start, room on disk.
import { execFileSync } from 'node:child_process'
import { readdirSync, realpathSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { median, residentBytes } from '../processes.mjs'
import { pathsOf, throughput } from './measure.mjs'

const SETTLE_MS = 2000
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
const root = fileURLToPath(new URL('../../../', import.meta.url))

/** Resident bytes now: the median relay, the largest one, the client. */
export function resident(relays, client) {
  const each = relays.map((child) => residentBytes(child.pid))
  return { relay: median(each), largestRelay: Math.max(...each), client: residentBytes(client.pid) }
}

/**
 * Bytes by which each idle circuit makes a relay on its path and its client grow, of `count` along one path. The first circuits open links
 * and fill caches, so growth is counted from `first` circuits on.
 */
export async function idleCircuits({ relays, client, build, drop, count, first = 50 }) {
  await build({ count: first, atOnce: 10, keep: true })
  await sleep(SETTLE_MS)
  const sizes = () => [...relays, client].map((child) => residentBytes(child.pid))
  const before = sizes()
  await build({ count: count - first, atOnce: 10, keep: true })
  await sleep(SETTLE_MS)
  const growth = sizes().map((size, at) => (size - before[at]) / (count - first))
  await drop()
  await sleep(SETTLE_MS)
  return { relays: growth.slice(0, -1), relay: median(growth.slice(0, -1)), client: growth.at(-1) }
}

/**
 * Bytes for each idle circuit, in the median relay and in one client, as their numbers grow to `count`; on a network that has carried nothing.
 * A guard takes 1,024 circuits from one client, so there are ten relays, and each client holds at most 1,000 by each of them. Each client comes
 * from an address prefix of its own: what relays take of handshakes from one (100 a second after the first 1,000) stays as it is shipped.
 */
export async function crowded(network, count) {
  // By another guard each time, so that no number of them is more than its share at one guard.
  const perGuard = network.hops.map((guard) => pathsOf(network.hops).filter(([hop]) => hop === guard))
  const paths = perGuard[0].flatMap((_, at) => perGuard.map((ofGuard) => ofGuard[at]))
  const first = 50
  const share = network.relays.length / 3
  const builders = []
  let [built, held] = [0, 0]
  // Up to so many circuits of all clients together; a client holds `count` of them.
  const buildTo = async (total) => {
    while (built < total) {
      if (builders.length === 0 || held === count) {
        builders.push(await network.builder(`127.${100 + builders.length}.0.1`))
        held = 0
      }
      const number = Math.min(total - built, count - held)
      await builders.at(-1).call('build', { paths, count: number, atOnce: 10, keep: true })
      built += number
      held += number
    }
    await sleep(SETTLE_MS)
  }
  const relaySizes = () => network.relays.map((child) => residentBytes(child.pid))
  const clientSize = () => residentBytes(builders[0].pid)
  try {
    await buildTo(first)
    const client = { from: clientSize() }
    await buildTo(Math.round(first * share))
    const relay = { from: relaySizes() }
    const figures = { relay: {}, client: {} }
    const steps = [
      ...[1000, count].map((number) => ({ number, total: number, of: 'client' })),
      ...[1000, count].map((number) => ({ number, total: Math.ceil(number * share), of: 'relay' }))
    ].sort((a, b) => a.total - b.total)
    for (const { number, total, of } of steps) {
      await buildTo(total)
      const growth = of === 'client' ? clientSize() - client.from : median(relaySizes().map((size, at) => size - relay.from[at]))
      figures[of][number] = growth / (number - first)
    }
    return figures
  } finally {
    for (const builder of builders) builder.end()
  }
}

/** Moves what is missing to `bytes` through a subject; resolves to the largest relay's size then. */
export async function residentAfter(subject, relays, target, moved, bytes, seconds) {
  let total = moved
  while (total < bytes) total += (await throughput(subject, target, 'eight', { warm: 0, seconds })).bytes
  return { bytes: total, largestRelay: Math.max(...relays.map((child) => residentBytes(child.pid))) }
}

/** Seconds until a further client is ready, with nothing kept and with what the run before kept; medians, the subjects in turn. */
export async function startups(subjects, times) {
  const all = Object.fromEntries(Object.keys(subjects).map((name) => [name, { cold: [], cached: [] }]))
  for (let turn = 0; turn < times; turn++) {
    for (const [name, network] of Object.entries(subjects)) {
      all[name].cold.push(await network.startup(`start${turn}`))
      all[name].cached.push(await network.startup(`start${turn}`))
    }
  }
  return Object.fromEntries(
    Object.entries(all).map(([name, { cold, cached }]) => [name, { cold: median(cold), cached: median(cached), all: { cold, cached } }])
  )
}

/** Bytes on disk: Tor and the libraries that it loads; our addon, the tool, and Node itself, which we do not ship. */
export function onDisk() {
  const size = (file) => statSync(realpathSync(file)).size
  const tor = execFileSync('which', ['tor'], { encoding: 'utf8' }).trim()
  const libraries = [...execFileSync('ldd', [tor], { encoding: 'utf8' }).matchAll(/=> (\/\S+)/g)].map(([, file]) => size(file))
  const addons = readdirSync(root).filter((name) => /^anonnet\..+\.node$/.test(name))
  return {
    tor: size(tor),
    torLibraries: libraries.reduce((sum, bytes) => sum + bytes, 0),
    addon: Math.max(...addons.map((name) => size(`${root}${name}`))),
    tool: size(`${root}dist/cli.cjs`),
    node: size(process.execPath)
  }
}
