// What is measured in every round, the same for every subject: throughput, the CPU for it, time to the first byte, circuits.
import { quantile } from '../processes.mjs'
import { firstBytes, load } from '../pump.mjs'
import { atRest, between, sampler } from './machine.mjs'

const PARALLEL = 8
const AT_ONCE = 20
const ATTEMPTS = 3
const MEETINGS_A_BATCH = 5
const RETRY_MS = 2000
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
const eight = Array.from({ length: PARALLEL }, (_, at) => String(at))
let runs = 0

const LOADS = {
  down: { way: 'down', streams: ['0'] },
  up: { way: 'up', streams: ['0'] },
  eight: { way: 'down', streams: eight },
  eightOnOne: { way: 'down', streams: eight.map(() => '0') }
}

/**
 * Moves bytes through a subject; MB/s, and CPU seconds a GB of all its processes. Each run has circuits of its own: one whose streams were
 * broken off in the middle, as the streams of a load are, may stand still for seconds in Tor.
 */
export async function throughput(subject, target, kind, { warm, seconds }) {
  const { way, streams } = LOADS[kind]
  runs += 1
  await atRest()
  const users = streams.map((stream) => `load${runs}-${stream}`)
  const run = await load({ proxy: subject.proxy, target, way, users, warm, seconds, sample: sampler(subject.processes) })
  const { cpu, ...shares } = between(run.before, run.after)
  return { megabytesPerSecond: run.bytes / 1e6 / run.seconds, cpuPerGigabyte: cpu / (run.bytes / 1e9), bytes: run.bytes, ...shares }
}

async function latency(subject, target, count, user) {
  await atRest()
  const sample = sampler(subject.processes)
  const before = sample()
  const times = await firstBytes({ proxy: subject.proxy, target, count, user })
  const { others } = between(before, sample())
  return { p50: quantile(times, 0.5), p95: quantile(times, 0.95), others }
}

/** Every path of three different hops of so many. */
export function pathsOf(hops) {
  const others = (path) => hops.filter((hop) => !path.includes(hop)).map((hop) => [...path, hop])
  return hops.flatMap((guard) => others([guard])).flatMap(others)
}

/** Builds circuits, 20 at once; how many a second, and the CPU for each of all processes. */
async function circuits(subject, count) {
  const { build, processes, more } = subject.circuits
  await atRest()
  const sample = sampler(processes, more)
  const before = sample()
  const { seconds, latencies } = await build({ count, atOnce: AT_ONCE })
  const { cpu, others } = between(before, sample())
  return { perSecond: count / seconds, cpuMs: (cpu * 1000) / count, p50: quantile(latencies, 0.5), p95: quantile(latencies, 0.95), others }
}

/** Measures again what failed, and keeps what it failed with: one refused circuit does not end a long run, but it is told. */
export async function attempt(failures, work) {
  for (let left = ATTEMPTS - 1; ; left--) {
    try {
      return await work()
    } catch (error) {
      failures.push(error.message)
      if (left === 0) throw error
      await sleep(RETRY_MS)
    }
  }
}

/** One round of one subject: its figures by name, and what had to be measured again. */
export async function measureSubject(subject, target, round, settings) {
  const figures = {}
  const failures = []
  for (const kind of Object.keys(LOADS)) figures[kind] = await attempt(failures, () => throughput(subject, target, kind, settings))
  await attempt(failures, () => latency(subject, target, 1, `built${round}`))
  figures.built = await attempt(failures, () => latency(subject, target, settings.requests, `built${round}`))
  figures.fresh = await attempt(failures, () => latency(subject, target, settings.requests, `fresh${round}.${failures.length}-#`))
  if (subject.circuits) figures.circuits = await attempt(failures, () => circuits(subject, settings.circuits))
  return { figures, failures }
}

/** Few at a time: on a busy machine Tor gives up a rendezvous now and then, and only those of its batch are asked for again. */
async function meetings(subject, service, round, count, failures) {
  await atRest()
  const sample = sampler(subject.processes)
  const before = sample()
  const times = []
  while (times.length < count) {
    const batch = { proxy: subject.proxy, target: service, count: Math.min(MEETINGS_A_BATCH, count - times.length) }
    const user = `meeting${round}.${times.length}.`
    times.push(...(await attempt(failures, () => firstBytes({ ...batch, user: `${user}${failures.length}-#` }))))
  }
  const { others } = between(before, sample())
  return { p50: quantile(times, 0.5), p95: quantile(times, 0.95), others }
}

/** One round of one subject's onion service, or ours: its download, the same subject's clearnet download, first bytes. */
export async function measureService(subject, service, target, round, settings) {
  const figures = {}
  const failures = []
  figures.service = await attempt(failures, () => throughput(subject, service, 'down', settings))
  figures.clearnet = await attempt(failures, () => throughput(subject, target, 'down', settings))
  const others = Math.max(figures.service.others, figures.clearnet.others)
  figures.overClearnet = { times: figures.service.megabytesPerSecond / figures.clearnet.megabytesPerSecond, others }
  await attempt(failures, () => latency(subject, service, 1, `met${round}`))
  figures.met = await attempt(failures, () => latency(subject, service, settings.requests, `met${round}`))
  figures.meeting = await meetings(subject, service, round, settings.meetings, failures)
  return { figures, failures }
}

/** Publishes a server's port in a network, and waits until its client reaches it; resolves to the service as a target. */
export async function published(network, subject, port) {
  const target = `${await network.publish(port)}:80`
  await attempt([], async () => {
    await network.forget()
    await firstBytes({ proxy: subject.proxy, target, count: 1, user: 'first-meeting' })
  })
  return target
}
