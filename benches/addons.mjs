// Two addons in turn over the three-hop chain: what another build costs in goodput and CPU. The first is the one that setup built.
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { Child, measured, median, startChain } from './lib/processes.mjs'
import { download, upload } from './lib/socks.mjs'

const MB = 1e6
/** The other addon may have this much less goodput, and cost this much more CPU a byte. */
const LOSS_MAX = 0.1

async function figures(nodes, port, bytes) {
  const proxy = nodes.proxy
  const one = async (name, work) => {
    const { seconds, cpuTotal } = await measured(nodes.all, work)
    return [name, { megabytesPerSecond: bytes / MB / seconds, cpuSecondsPerGigabyte: (cpuTotal * 1e9) / bytes }]
  }
  const parts = Array.from({ length: 8 }, (_, at) => String(at))
  return Object.fromEntries([
    await one('download, 1 stream', () => download(proxy, port, bytes, '0')),
    await one('download, 8 streams', () => Promise.all(parts.map((user) => download(proxy, port, bytes / 8, user)))),
    await one('upload, 1 stream', () => upload(proxy, port, bytes, '0'))
  ])
}

export async function addons({ short, addon }) {
  if (addon === undefined || !existsSync(addon)) {
    process.stderr.write('usage: npm run bench -- addons FILE [--short]: the other addon, target/min/anonnet.node say\n')
    process.exit(2)
  }
  const bytes = (short ? 200 : 1000) * MB
  const rounds = short ? 4 : 8
  const endpoint = new Child('endpoint', './endpoint.mjs', [])
  const sides = []
  try {
    const { port } = await endpoint.ready
    for (const file of [undefined, resolve(addon)]) {
      const nodes = await startChain(file)
      sides.push(nodes)
      await nodes.client.call('build', { path: nodes.path, count: 8, atOnce: 4, keep: true })
      nodes.proxy = await nodes.client.call('proxy')
      await download(nodes.proxy, port, 50 * MB, '0')
    }
    const found = []
    for (let round = 0; round < rounds; round++) {
      // Whoever comes first changes with the round: what a machine does meanwhile is shared out.
      const order = round % 2 === 0 ? [0, 1] : [1, 0]
      const pair = []
      for (const side of order) pair[side] = await figures(sides[side], port, bytes)
      found.push(pair)
    }
    const names = Object.keys(found[0][0])
    const rows = names.map((name) => {
      const of = (what) => found.map(([first, second]) => second[name][what] / first[name][what])
      const middle = (side, what) => median(found.map((pair) => pair[side][name][what]))
      return { name, speed: of('megabytesPerSecond'), cpu: of('cpuSecondsPerGigabyte'), middle }
    })
    const ok = rows.every(({ speed, cpu }) => median(speed) >= 1 - LOSS_MAX && median(cpu) <= 1 + LOSS_MAX)
    return { figures: { megabytes: bytes / MB, rounds: found }, text: text(rows, rounds, bytes), ok }
  } finally {
    for (const nodes of sides) nodes.end()
    endpoint.end()
  }
}

function text(rows, rounds, bytes) {
  const spread = (values) => `${median(values).toFixed(3)} (${Math.min(...values).toFixed(2)} to ${Math.max(...values).toFixed(2)})`
  return [
    `${rounds} rounds of ${bytes / MB} MB in turn, medians; ratios are of one round: the other addon to the default one`,
    '| path | MB/s: default, other | ratio | CPU s/GB: default, other | ratio |',
    '|---|---|---|---|---|',
    ...rows.map(({ name, speed, cpu, middle }) => {
      const [rate, cost] = ['megabytesPerSecond', 'cpuSecondsPerGigabyte'].map((what, at) =>
        [0, 1].map((side) => middle(side, what).toFixed(at === 0 ? 0 : 2)).join(', ')
      )
      return `| ${name} | ${rate} | ${spread(speed)} | ${cost} | ${spread(cpu)} |`
    }),
    `marks: at least ${1 - LOSS_MAX} of the goodput, at most ${1 + LOSS_MAX} of the CPU`
  ].join('\n')
}
