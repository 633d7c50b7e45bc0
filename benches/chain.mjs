// The three-hop chain: goodput of 1 and 8 streams, CPU seconds a gigabyte of each process, circuit builds, memory; beside a bare chain of
// three links with their onion layers.
import { execFileSync } from 'node:child_process'
import { Child, measured, quantile, residentBytes, startChain } from './lib/processes.mjs'
import { download, upload } from './lib/socks.mjs'

/** The real path may cost this much of the bare chain's CPU for a gigabyte. */
const CPU_RATIO_MAX = 1.3
const MB = 1e6
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
const median = (values) => quantile(values, 0.5)

/** One figure of a transfer: what it moved, how fast, and what each process paid for it. */
async function transfer(nodes, bytes, work) {
  const { seconds, cpu, cpuTotal } = await measured(nodes.all, work)
  const gigabytes = bytes / 1e9
  return {
    megabytesPerSecond: bytes / MB / seconds,
    cpuSecondsPerGigabyte: cpuTotal / gigabytes,
    cpuByProcess: Object.fromEntries(Object.entries(cpu).map(([name, value]) => [name, value / gigabytes]))
  }
}

export async function chain({ short }) {
  const bytes = (short ? 200 : 1000) * MB
  const rounds = short ? 2 : 5
  const bare = () =>
    JSON.parse(
      execFileSync('cargo', ['run', '--release', '-q', '-p', 'anonnet-engine', '--example', 'bare_chain', '--', String(bytes / MB)], {
        cwd: new URL('..', import.meta.url),
        stdio: ['ignore', 'pipe', 2],
        // Its cheapest setting: with more threads it is faster and costs more for each byte.
        env: { ...process.env, TOKIO_WORKER_THREADS: '1' }
      })
    )
  bare() // builds it, and warms the machine
  const endpoint = new Child('endpoint', './endpoint.mjs', [])
  const nodes = await startChain()
  try {
    const { port } = await endpoint.ready
    const memoryBare = Object.fromEntries(nodes.all.map((node) => [node.name, residentBytes(node.pid)]))
    await nodes.client.call('build', { path: nodes.path, count: 8, atOnce: 4, keep: true })
    const proxy = await nodes.client.call('proxy')
    await download(proxy, port, 50 * MB, '0')

    const figures = { bare: [], one: [], eight: [], eightOnOne: [], up: [] }
    for (let round = 0; round < rounds; round++) {
      figures.bare.push(bare())
      figures.one.push(await transfer(nodes, bytes, () => download(proxy, port, bytes, '0')))
      const parts = Array.from({ length: 8 }, (_, at) => String(at))
      figures.eight.push(await transfer(nodes, bytes, () => Promise.all(parts.map((user) => download(proxy, port, bytes / 8, user)))))
      figures.eightOnOne.push(await transfer(nodes, bytes, () => Promise.all(parts.map(() => download(proxy, port, bytes / 8, '0')))))
      figures.up.push(await transfer(nodes, bytes, () => upload(proxy, port, bytes, '0')))
    }
    const builds = await measured(nodes.all, () => nodes.client.call('build', { path: nodes.path, count: short ? 500 : 2000, atOnce: 20 }))
    const alone = await nodes.client.call('build', { path: nodes.path, count: 100, atOnce: 1 })
    await nodes.client.call('drop')
    await sleep(1000)
    const before = Object.fromEntries(nodes.all.map((node) => [node.name, residentBytes(node.pid)]))
    await nodes.client.call('build', { path: nodes.path, count: 1000, atOnce: 20, keep: true })
    await sleep(1000)
    const perCircuit = Object.fromEntries(nodes.all.map((node) => [node.name, (residentBytes(node.pid) - before[node.name]) / 1000]))

    const ratios = figures.one.map((one, round) => one.cpuSecondsPerGigabyte / figures.bare[round].cpuSecondsPerGigabyte)
    const ratio = median(ratios)
    const count = builds.result.latencies.length
    const all = {
      megabytes: bytes / MB,
      rounds,
      ...figures,
      cpuRatioToBare: { median: ratio, all: ratios, most: CPU_RATIO_MAX },
      circuits: {
        perSecondAt20: count / builds.result.seconds,
        cpuMsEach: (builds.cpuTotal * 1000) / count,
        latencyMsAt20: { p50: median(builds.result.latencies), p95: quantile(builds.result.latencies, 0.95) },
        latencyMsAlone: { p50: median(alone.latencies), p95: quantile(alone.latencies, 0.95) }
      },
      memory: { startedBytes: memoryBare, perIdleCircuitBytes: perCircuit }
    }
    return { figures: all, text: text(all), ok: ratio <= CPU_RATIO_MAX }
  } finally {
    nodes.end()
    endpoint.end()
  }
}

const fixed = (value, digits = 1) => value.toFixed(digits)

function text(all) {
  const row = (name, runs) => {
    const cpu = ['client', 'guard', 'middle', 'exit']
      .map((process) => (runs[0].cpuByProcess ? fixed(median(runs.map((run) => run.cpuByProcess[process])), 2) : '-'))
      .join(' | ')
    const speed = median(runs.map((run) => run.megabytesPerSecond))
    return `| ${name} | ${fixed(speed, 0)} | ${fixed(median(runs.map((run) => run.cpuSecondsPerGigabyte)), 2)} | ${cpu} |`
  }
  const { circuits, memory, cpuRatioToBare: ratio } = all
  const bareCpu = median(all.bare.map((run) => run.cpuSecondsPerGigabyte))
  const one = median(all.one.map((run) => run.cpuSecondsPerGigabyte))
  return [
    `${all.rounds} rounds of ${all.megabytes} MB each, medians; CPU in seconds a gigabyte`,
    '| path | MB/s | CPU s/GB | client | guard | middle | exit |',
    '|---|---|---|---|---|---|---|',
    row('bare chain (three links, their layers)', all.bare),
    row('download, 1 stream', all.one),
    row('download, 8 streams on 8 circuits', all.eight),
    row('download, 8 streams on 1 circuit', all.eightOnOne),
    row('upload, 1 stream', all.up),
    '',
    `real path over bare chain: ${fixed(ratio.median, 2)} (${ratio.all.map((value) => fixed(value, 2)).join(', ')}; at most ${ratio.most})`,
    `where the rest goes: ${fixed(one - bareCpu, 2)} s/GB for the exit's and the proxy's TCP sockets (a copy into and out of the kernel each), the copies between them and the circuit, streams and credit, and four processes instead of one`,
    `circuits: ${fixed(circuits.perSecondAt20, 0)} a second at 20 at once, ${fixed(circuits.cpuMsEach, 2)} ms of CPU each over all four processes; ` +
      `at 20: p50 ${fixed(circuits.latencyMsAt20.p50)} ms, p95 ${fixed(circuits.latencyMsAt20.p95)} ms; alone: p50 ${fixed(circuits.latencyMsAlone.p50)} ms, p95 ${fixed(circuits.latencyMsAlone.p95)} ms`,
    `memory when started (RSS, MB): ${Object.entries(memory.startedBytes)
      .map(([name, value]) => `${name} ${fixed(value / MB)}`)
      .join(', ')}`,
    `memory per idle circuit at 1,000 (bytes of RSS): ${Object.entries(memory.perIdleCircuitBytes)
      .map(([name, value]) => `${name} ${fixed(value, 0)}`)
      .join(', ')}`
  ].join('\n')
}
