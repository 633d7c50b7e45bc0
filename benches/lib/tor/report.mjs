// The comparison as text: what is said, and the table in Markdown.
import { median } from '../processes.mjs'
import { OTHERS_MAX } from './marks.mjs'

const digits = (value) =>
  Number.isFinite(value) ? (Math.abs(value) >= 100 ? value.toFixed(0) : Math.abs(value) >= 10 ? value.toFixed(1) : value.toFixed(2)) : '-'
const percent = (value) => `${(value * 100).toFixed(0)} %`
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`
const NAMES = { kist: 'KIST', vanilla: 'Vanilla', 'kist-conflux': 'KIST, conflux', 'vanilla-conflux': 'Vanilla, conflux' }

function tableRow(row) {
  const spread = row.ratios.length === 0 ? '' : ` (${digits(Math.min(...row.ratios))} to ${digits(Math.max(...row.ratios))})`
  const cells = [
    row.name,
    row.unit,
    digits(row.stock),
    Number.isFinite(row.best) ? `${digits(row.best)} (${NAMES[row.bestName]})` : '-',
    digits(row.ours),
    `${digits(row.ratio)}${spread}`,
    row.mark,
    row.held ? 'held' : '**not held**'
  ]
  return `| ${cells.join(' | ')} |`
}

function boundRows({ rounds }) {
  const of = (get) => median(rounds.map(get))
  const ours = (figure, part) => of((round) => round.subjects.ours[figure][part])
  const row = (name, speed, cpu, figure) =>
    `| ${name} | ${digits(speed)} | ${digits(cpu)} | ${percent(ours(figure, 'megabytesPerSecond') / speed)} | ${cpu ? percent(cpu / ours(figure, 'cpuPerGigabyte')) : '-'} |`
  const forwarders = (part, kind) => of((round) => round.bounds.forwarders[kind][part])
  const lines = [
    '| bound | MB/s | CPU s/GB | our goodput of it | it of our CPU |',
    '|---|---|---|---|---|',
    row('TCP through three forwarders, one stream', forwarders('megabytesPerSecond', 'one'), forwarders('cpuPerGigabyte', 'one'), 'down'),
    row(
      'TCP through three forwarders, 8 streams',
      forwarders('megabytesPerSecond', 'eight'),
      forwarders('cpuPerGigabyte', 'eight'),
      'eight'
    ),
    row(
      'one QUIC link of ours, both ends',
      of((round) => round.bounds.link.megabytesPerSecond),
      of((round) => round.bounds.link.cpuPerGigabyte),
      'eight'
    )
  ]
  const aes = of((round) => round.bounds.aes ?? Number.NaN)
  if (aes) lines.push(row('`openssl speed -evp aes-128-ctr`, one processor', aes, 1000 / aes, 'eight'))
  return lines
}

/** Each round's figures of each subject, so that nothing hides behind a median. */
function roundRows({ rounds }) {
  const figures = {
    down: 'megabytesPerSecond',
    up: 'megabytesPerSecond',
    eight: 'megabytesPerSecond',
    eightOnOne: 'megabytesPerSecond',
    cpu: 'cpuPerGigabyte',
    built: 'p50',
    fresh: 'p50',
    circuits: 'perSecond'
  }
  const lines = [
    '| round | subject | down | up | 8 on 8 | 8 on 1 | s/GB of 8 on 8 | first byte built, ms | fresh, ms | circuits/s | most that others took |',
    `|${'---|'.repeat(11)}`
  ]
  rounds.forEach(({ subjects }, at) => {
    for (const [name, all] of Object.entries(subjects)) {
      const cells = Object.entries(figures).map(([figure, part]) => digits(all[figure === 'cpu' ? 'eight' : figure]?.[part]))
      const others = Math.max(...Object.values(all).map((figure) => figure.others))
      lines.push(
        `| ${at + 1} | ${NAMES[name] ?? name} | ${cells.join(' | ')} | ${percent(others)}${others > OTHERS_MAX ? ', disturbed' : ''} |`
      )
    }
  })
  return lines
}

/** The Markdown of a whole run. */
export function markdown(all) {
  const { versions, rows, rounds, once, disk, failures, handshakeMs } = all
  const missed = rows.filter((row) => !row.held)
  const cpuMs = median(rounds.map((round) => round.subjects.ours.circuits.cpuMs))
  const disturbed = rows.filter((row) => row.disturbed > 0)
  return [
    `${rounds.length} rounds, in turn, ${all.settings.seconds} s for each throughput; ${Object.entries(versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(', ')}.`,
    '',
    '| figure | unit | Tor as shipped | Tor best | AnonNet | ratio: median (least to most) | mark | |',
    '|---|---|---|---|---|---|---|---|',
    ...rows.map(tableRow),
    '',
    missed.length === 0
      ? 'Every mark is held.'
      : `Not held: ${missed.map((row) => `${row.name} (${digits(row.ours)} ${row.unit}${Number.isFinite(row.ratio) ? `, ${digits(row.ratio)} times Tor's best` : ''}; ${row.mark})`).join('; ')}.`,
    ...disturbedText(disturbed, rounds.length),
    ...(failures.length === 0 ? [] : [`Measured again: ${failures.join('; ')}.`]),
    '',
    ...boundRows(all),
    '',
    `Cryptography of a circuit: ${handshakeMs === undefined ? 'not measured' : `${digits(handshakeMs)} ms of the ${digits(cpuMs)} ms, ${percent(handshakeMs / cpuMs)} (three handshakes, client and relays, X25519 and ML-KEM; by the benches of the crypto crate)`}.`,
    `Idle circuits, bytes each at 1,000, the relays of the path and the client: ${Object.entries(once)
      .map(
        ([name, { idle }]) => `${NAMES[name] ?? name} ${idle.relays.map((value) => value.toFixed(0)).join(', ')}; ${idle.client.toFixed(0)}`
      )
      .join(' | ')}.`,
    `After the load: ${Object.entries(once)
      .map(([name, { after }]) => `${NAMES[name] ?? name} ${megabytes(after.largestRelay)} after ${(after.bytes / 1e9).toFixed(1)} GB`)
      .join(', ')}.`,
    `On disk: tor ${megabytes(disk.tor)} and ${megabytes(disk.torLibraries)} of libraries; AnonNet's addon ${megabytes(disk.addon)} and its tool ${megabytes(disk.tool)}, in a Node of ${megabytes(disk.node)}.`,
    '',
    ...roundRows(all)
  ].join('\n')
}

function disturbedText(rows, rounds) {
  if (rows.length === 0) return [`Nobody else took more than ${percent(OTHERS_MAX)} of the machine.`]
  const kept = rows.filter((row) => row.dropped === 0)
  const dropped = rows.filter((row) => row.dropped > 0)
  const text = (list, get) => list.map((row) => `${row.name} ${get(row)}`).join(', ')
  return [
    `Others took more than ${percent(OTHERS_MAX)} of the machine in some of the ${rounds} rounds.` +
      (dropped.length > 0 ? ` Dropped: ${text(dropped, (row) => row.dropped)}.` : '') +
      (kept.length > 0 ? ` Kept although disturbed, because too few rounds were quiet: ${text(kept, (row) => row.disturbed)}.` : '')
  ]
}
