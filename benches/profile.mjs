// `npm run profile [-- relay|client|exit|all] [--seconds N]`: where the time, the memory and the packets of a download go, and the time of
// circuits and of first bytes, in each process of the bench's chain. Flame graphs, folded stacks and a report in benches/results/.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fail, root } from '../scripts/lib.mjs'
import { installPackages, setup } from '../scripts/setup.mjs'
import { Child, startChain } from './lib/processes.mjs'
import { buildAddon, results } from './lib/profile-build.mjs'
import { lacksPerf, profileCpu } from './lib/profile-cpu.mjs'
import { profileMemory } from './lib/profile-memory.mjs'
import { profileNetwork } from './lib/profile-network.mjs'
import { report } from './lib/profile-report.mjs'
import { download } from './lib/socks.mjs'

const parts = { relay: ['guard', 'middle'], client: ['client'], exit: ['exit'], all: ['client', 'guard', 'middle', 'exit'] }
const WARM_UP = 200e6
/** Circuits that are built at a time. */
const AT_ONCE = 20

function options() {
  let [part, seconds] = ['all', 10]
  const words = process.argv.slice(2)
  while (words.length > 0) {
    const word = words.shift()
    if (word === '--seconds') seconds = Number(words.shift())
    else part = word
  }
  if (!parts[part] || !(seconds >= 1 && seconds <= 600))
    fail(`usage: npm run profile [-- ${Object.keys(parts).toReversed().join('|')}] [--seconds N], N from 1 to 600`)
  return { part, seconds, wanted: parts[part] }
}

/** What is recorded; each resolves to how many gigabytes, circuits or first bytes there were, and how long each took. */
const loads = ({ client, path }, proxy, port, { seconds, bytesPerSecond }) => [
  {
    key: 'download',
    title: `one download for ${seconds} s`,
    unit: 'CPU s/GB',
    scale: 1,
    work: async () => ({ count: (await download(proxy, port, Math.round(bytesPerSecond * seconds), '0')) / 1e9 })
  },
  {
    key: 'circuits',
    title: `circuits, ${AT_ONCE} at once, for ${seconds} s`,
    unit: 'CPU ms a circuit',
    scale: 1e3,
    work: () => repeated(seconds, async () => (await client.call('build', { path, count: 10 * AT_ONCE, atOnce: AT_ONCE })).latencies)
  },
  {
    key: 'requests',
    title: `first bytes on a built circuit, one after another, for ${seconds} s`,
    unit: 'CPU us a request',
    scale: 1e6,
    work: () =>
      repeated(seconds, async () => {
        const began = performance.now()
        await download(proxy, port, 1, '0')
        return [performance.now() - began]
      })
  }
]

/** Does it again and again for so long. */
async function repeated(seconds, work) {
  const until = performance.now() + seconds * 1000
  const latencies = []
  while (performance.now() < until) latencies.push(...(await work()))
  return { count: latencies.length, latencies }
}

const { part, seconds, wanted } = options()
if (process.platform !== 'linux') fail('The profile reads /proc and uses perf and strace: it runs on Linux.')
// The addon with symbols takes the place of the one that a set-up builds; what loads it is needed.
if (existsSync(join(root, 'index.js'))) await installPackages()
else await setup()
process.env.NAPI_RS_NATIVE_LIBRARY_PATH = await buildAddon()
mkdirSync(results, { recursive: true })

const endpoint = new Child('endpoint', './endpoint.mjs', [])
let nodes
try {
  const { port } = await endpoint.ready
  nodes = await startChain()
  await nodes.client.call('build', { path: nodes.path, count: 1, atOnce: 1, keep: true })
  const proxy = await nodes.client.call('proxy')
  const load = (bytes) => download(proxy, port, bytes, '0')
  await load(WARM_UP)
  const began = performance.now()
  await load(WARM_UP)
  const bytesPerSecond = WARM_UP / ((performance.now() - began) / 1000)
  const children = nodes.all.filter(({ name }) => wanted.includes(name))
  const lacks = lacksPerf()
  const cpu = lacks ? { missing: lacks } : { loads: [] }
  if (!lacks) for (const each of loads(nodes, proxy, port, { seconds, bytesPerSecond })) cpu.loads.push(await profileCpu(children, each))
  const network = await profileNetwork(children, load)
  nodes.end()
  nodes = undefined
  const memory = await profileMemory(port)
  const text = report({ part, seconds, wanted, cpu, network, memory })
  writeFileSync(join(results, 'profile.md'), text)
  process.stdout.write(text)
} finally {
  nodes?.end()
  endpoint.end()
}
process.exit(0)
