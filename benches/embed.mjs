// One stream between two Node processes, from Duplex to Duplex: AnonNet over a direct link and over three hops, beside node:tls, js-libp2p and hyperdht, in turn.
// The others are installed into benches/embed, with a lockfile of their own.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Child, measured, median } from './lib/processes.mjs'
import { between, sampler } from './lib/tor/machine.mjs'

const MB = 1e6
/** The event loop of neither end may be held up longer, at full load. */
const DELAY_P99_MAX_MS = 10
const folder = fileURLToPath(new URL('./embed/', import.meta.url))

/** What is measured. `down`: the dialler receives. */
const rows = [
  { name: 'node:tls', subject: 'tls' },
  { name: 'js-libp2p (TCP, Noise, Yamux)', subject: 'libp2p' },
  { name: 'hyperdht', subject: 'hyperdht' },
  { name: 'AnonNet, direct link, up', subject: 'direct' },
  { name: 'AnonNet, direct link, down', subject: 'direct', down: true },
  { name: 'AnonNet, three hops, up', subject: 'anonnet' },
  { name: 'AnonNet, three hops, down', subject: 'anonnet', down: true }
]

const ours = rows.filter(({ subject }) => subject === 'anonnet' || subject === 'direct')
/** What a direct link has to beat, in goodput and in CPU. */
const toBeat = rows.filter(({ subject }) => subject === 'libp2p' || subject === 'hyperdht')

/** Installs the others, once for each lockfile. */
function install() {
  const stamp = `${folder}node_modules/.anonnet-lock`
  const wanted = createHash('sha256')
    .update(readFileSync(`${folder}package-lock.json`))
    .digest('hex')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return
  execFileSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], {
    cwd: folder,
    stdio: ['ignore', 2, 2],
    shell: process.platform === 'win32'
  })
  writeFileSync(stamp, wanted)
}

async function started(name, what, everything) {
  const child = new Child(name, '../embed/peer.mjs', [what])
  everything.push(child)
  await child.ready
  return child
}

/** The two ends of a subject, connected, with the relays where they carry it. */
async function connected(subject, { relays, network }, everything) {
  const far = await started('listener', subject, everything)
  const near = await started('dialler', subject, everything)
  const address = await far.call('listen', { network })
  await near.call('dial', { ...address, network })
  return { near, far, children: subject === 'anonnet' ? [near, far, relays] : [near, far] }
}

/** Moves so many bytes; what it took. */
async function transfer({ near, far, children }, bytes, down, { everything, idle }) {
  const [from, to] = down ? [far, near] : [near, far]
  await to.call('expect', { bytes })
  await Promise.all([from, to, idle].map((child) => child.call('watch')))
  const sample = sampler(
    children,
    everything.map(({ pid }) => pid)
  )
  const before = sample()
  const { seconds, cpu, cpuTotal } = await measured(children, async () => {
    const sent = from.call('send', { bytes })
    await to.call('arrived')
    await sent
  })
  const { others } = between(before, sample())
  const [sender, receiver, nobody] = await Promise.all([from, to, idle].map((child) => child.call('watched')))
  const perGigabyte = (value) => (value * 1e9) / bytes
  return {
    megabytesPerSecond: bytes / MB / seconds,
    cpuSecondsPerGigabyte: perGigabyte(cpuTotal),
    cpuByProcess: Object.fromEntries(Object.entries(cpu).map(([name, value]) => [name, perGigabyte(value)])),
    delayMs: { sender, receiver, idle: nobody },
    others
  }
}

export async function embed({ short }) {
  install()
  const [rounds, bytes] = short ? [2, 100 * MB] : [5, 400 * MB]
  const everything = []
  try {
    // Does nothing: what its event loop is held up, the machine does to everybody.
    const idle = await started('idle', 'tls', everything)
    const relays = await started('relays', 'network', everything)
    const net = { relays, network: await relays.call('start') }
    const around = { everything, idle }
    const pairs = new Map()
    for (const { subject } of rows) if (!pairs.has(subject)) pairs.set(subject, await connected(subject, net, everything))
    const figures = Object.fromEntries(rows.map(({ name }) => [name, []]))
    // Warm: windows grown, code compiled. Then in turn, so that what the machine does otherwise meets all of them.
    for (const { subject, down } of rows) await transfer(pairs.get(subject), bytes / 4, down, around)
    for (let round = 0; round < rounds; round += 1) {
      for (const { name, subject, down } of rows) {
        figures[name].push(await transfer(pairs.get(subject), bytes, down, around))
        process.stderr.write(`round ${round + 1} of ${rounds}: ${name}: ${figures[name].at(-1).megabytesPerSecond.toFixed(0)} MB/s\n`)
      }
    }
    const worst = Math.max(...ours.flatMap(({ name }) => delays(figures[name])))
    const direct = beaten(figures)
    const all = {
      ...{ node: process.version, megabytes: bytes / MB, rounds, delayP99MaxMs: DELAY_P99_MAX_MS, worstDelayP99Ms: worst },
      ...{ direct, figures }
    }
    return { figures: all, text: text(all), ok: worst < DELAY_P99_MAX_MS && direct.every(({ ok }) => ok) }
  } finally {
    for (const child of everything) child.end()
  }
}

/** How many times the goodput, and the part of the CPU, of each of those to beat; the worse direction counts. */
function beaten(figures) {
  const of = (name, get) => median(figures[name].map(get))
  const direct = ours.filter(({ subject }) => subject === 'direct')
  return toBeat.map(({ name }) => {
    const goodput = Math.min(...direct.map((row) => of(row.name, speed))) / of(name, speed)
    const cpu = Math.max(...direct.map((row) => of(row.name, cost))) / of(name, cost)
    return { name, goodput, cpu, ok: goodput > 1 && cpu < 1 }
  })
}
const speed = (run) => run.megabytesPerSecond
const cost = (run) => run.cpuSecondsPerGigabyte

/** The medians over the rounds of both ends' p99. */
const delays = (runs) => ['sender', 'receiver'].map((end) => median(runs.map(({ delayMs }) => delayMs[end].p99)))

function text({ megabytes, rounds, figures, direct, worstDelayP99Ms }) {
  const line = ([name, runs]) => {
    const of = (get) => median(runs.map(get))
    const cpu = (child) => (runs[0].cpuByProcess[child] === undefined ? '-' : of((run) => run.cpuByProcess[child]).toFixed(1))
    const [sender, receiver] = delays(runs)
    return (
      `| ${name} | ${of(speed).toFixed(0)} | ${of(cost).toFixed(1)} | ` +
      `${cpu('dialler')} | ${cpu('listener')} | ${cpu('relays')} | ${sender.toFixed(1)} | ${receiver.toFixed(1)} |`
    )
  }
  const idle = median(Object.values(figures).flatMap((runs) => runs.map(({ delayMs }) => delayMs.idle.p99)))
  const others = median(Object.values(figures).flatMap((runs) => runs.map((run) => run.others)))
  return [
    `${rounds} rounds of ${megabytes} MB each, in turn; medians; CPU in seconds a gigabyte; others took ${(others * 100).toFixed(0)} % of the machine`,
    '| one stream, Duplex to Duplex | MB/s | CPU s/GB, all | dialler | listener | relays | loop delay p99 sender, ms | receiver, ms |',
    '|---|---|---|---|---|---|---|---|',
    ...Object.entries(figures).map(line),
    '',
    ...direct.map(
      ({ name, goodput, cpu, ok }) =>
        `direct link against ${name}: goodput ${goodput.toFixed(2)} times, CPU ${cpu.toFixed(2)} times (above and below 1: ${ok ? 'yes' : 'NO'})`
    ),
    `event loop of either end of AnonNet's: p99 ${worstDelayP99Ms.toFixed(1)} ms at full load (below ${DELAY_P99_MAX_MS} ms)`,
    `event loop of a process that did nothing meanwhile: p99 ${idle.toFixed(1)} ms in the middle run, which is the machine's`
  ].join('\n')
}
