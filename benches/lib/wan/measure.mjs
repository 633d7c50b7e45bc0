// What is measured in a wide-area network, the same for every subject.
import { quantile } from '../processes.mjs'
import { besideBulk, firstBytes, load } from '../pump.mjs'
import { between, sampler } from '../tor/machine.mjs'

const PARALLEL = 8
/** So that what is still under way ends before the next figure. */
const PAUSE_MS = 1000
const ATTEMPTS = 3
const RETRY_MS = 2000
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
let runs = 0

/** Users that nobody had before: each has a circuit of its own. */
const fresh = (text) => `${text}${++runs}`

async function throughput({ subject, shaper, target }, way, users, { warm, seconds }) {
  const { proxy, inside } = subject
  const sample = sampler([...subject.processes, shaper])
  const run = await load({ proxy, inside, target, way, users, warm, seconds, sample })
  const { cpu, others } = between(run.before, run.after)
  const shaperCpu = run.after.measured[shaper.name] - run.before.measured[shaper.name]
  await sleep(PAUSE_MS)
  const gigabytes = run.bytes / 1e9
  return { megabytesPerSecond: run.bytes / 1e6 / run.seconds, cpu: cpu - shaperCpu, shaperCpu, gigabytes, seconds: run.seconds, others }
}

const times = (values) => ({ p50: quantile(values, 0.5), p95: quantile(values, 0.95), values })

async function requests({ subject, target }, count, user) {
  const { proxy, inside } = subject
  return times(await firstBytes({ proxy, inside, target, count, user }))
}

/** Small requests on a circuit beside a bulk stream: on the bulk's circuit, or on another one. */
async function beside(where, count, bulk, user, { warm }) {
  const { subject, target } = where
  const { proxy, inside } = subject
  // Both circuits are there before the bulk begins.
  for (const name of [bulk, user]) await requests(where, 1, name)
  const found = await besideBulk({ proxy, inside, target, user: bulk, warm }, () => requests(where, count, user))
  await sleep(PAUSE_MS)
  return found
}

/** Measures again what failed, and keeps what it failed with. */
async function attempt(failures, work) {
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

/** One turn of one subject: its figures by name, all or those that are `wanted`, and what had to be measured again. */
export async function measureWide(where, settings, wanted) {
  const failures = []
  const figures = {}
  const eight = () => Array.from({ length: PARALLEL }, () => fresh('eight'))
  const work = {
    one: () => throughput(where, 'down', [fresh('one')], settings),
    up: () => throughput(where, 'up', [fresh('up')], settings),
    eight: () => throughput(where, 'down', eight(), settings),
    built: async () => {
      const user = fresh('built')
      await requests(where, 1, user)
      return requests(where, settings.requests, user)
    },
    fresh: () => requests(where, settings.fresh, `${fresh('fresh')}-#`),
    besideSame: () => {
      const user = fresh('same')
      return beside(where, settings.requests, user, user, settings)
    },
    besideOther: () => beside(where, settings.requests, fresh('bulk'), fresh('other'), settings)
  }
  for (const [name, measure] of Object.entries(work)) {
    if (wanted && !wanted.includes(name)) continue
    figures[name] = await attempt(failures, measure)
  }
  return { figures, failures }
}
