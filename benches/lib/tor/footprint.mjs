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
 * Bytes for each idle circuit in a relay with `count` of them, on a network that has carried nothing. Each client process holds 1,000, one
 * after another: what relays take of handshakes from one address prefix is limited, and stays as it is shipped.
 */
export async function crowded(network, count) {
  const each = 1000
  const paths = pathsOf(network.hops)
  const builders = []
  const build = async (number) => {
    const builder = await network.builder()
    builders.push(builder)
    await builder.call('build', { paths, count: number, atOnce: 10, keep: true })
  }
  try {
    await build(each / 2)
    await sleep(SETTLE_MS)
    const sizes = () => network.relays.map((child) => residentBytes(child.pid))
    const before = sizes()
    // Three relays carry each circuit.
    const circuits = Math.ceil((count * network.relays.length) / 3 / each) * each
    for (let built = 0; built < circuits; built += each) await build(each)
    await sleep(SETTLE_MS)
    return median(sizes().map((size, at) => size - before[at])) / ((circuits * 3) / network.relays.length)
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
