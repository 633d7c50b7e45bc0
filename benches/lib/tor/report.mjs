// The comparison as text: what is said, and the table in Markdown.
import { median } from '../processes.mjs'
import { OTHERS_MAX } from './marks.mjs'

const digits = (value) =>
  Number.isFinite(value) ? (Math.abs(value) >= 100 ? value.toFixed(0) : Math.abs(value) >= 10 ? value.toFixed(1) : value.toFixed(2)) : '-'
const percent = (value) => `${(value * 100).toFixed(0)} %`
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`
const NAMES = { kist: 'KIST', vanilla: 'Vanilla', 'kist-conflux': 'KIST, conflux', 'vanilla-conflux': 'Vanilla, conflux' }

function tableRow(row) {
  if (row.missing) return `| ${[row.name, row.unit, '-', '-', '-', '-', row.mark, '**missing**'].join(' | ')} |`
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
  if (rounds.length === 0) return []
  const of = (get) => median(rounds.map(get))
  const ours = (figure, part) => of((round) => round.subjects.ours[figure][part])
  const row = (name, speed, cpu, figure) =>
    `| ${name} | ${digits(speed)} | ${digits(cpu)} | ${percent(ours(figure, 'megabytesPerSecond') / speed)} | ${cpu ? percent(cpu / ours(figure, 'cpuPerGigabyte')) : '-'} |`
  const forwarders = (part, kind) => of((round) => round.bounds.forwarders[kind][part])
  const lines = [
    '',
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
  if (rounds.length === 0) return []
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
    '',
    '| round | subject | down | up | 8 on 8 | 8 on 1 | s/GB of 8 on 8 | first byte built, ms | fresh, ms | circuits/s | most that others took | most that the rest of the bench took |',
    `|${'---|'.repeat(12)}`
  ]
  rounds.forEach(({ subjects }, at) => {
    for (const [name, all] of Object.entries(subjects)) {
      const cells = Object.entries(figures).map(([figure, part]) => digits(all[figure === 'cpu' ? 'eight' : figure]?.[part]))
      const others = Math.max(...Object.values(all).map((figure) => figure.others))
      const besides = Math.max(...Object.values(all).map((figure) => figure.besides ?? 0))
      lines.push(
        `| ${at + 1} | ${NAMES[name] ?? name} | ${cells.join(' | ')} | ${percent(others)}${others > OTHERS_MAX ? ', disturbed' : ''} | ${percent(besides)} |`
      )
    }
  })
  return lines
}

/** The same of services. */
function serviceRows({ services }) {
  if (services.length === 0) return []
  const lines = [
    '',
    '| round | subject | service, MB/s | clearnet, MB/s | fresh rendezvous p50, p95, ms | existing p50, p95, ms | most that others took |',
    `|${'---|'.repeat(7)}`
  ]
  services.forEach(({ subjects }, at) => {
    for (const [name, { service, clearnet, meeting, met }] of Object.entries(subjects)) {
      const speeds = [service, clearnet].map(({ megabytesPerSecond }) => digits(megabytesPerSecond))
      const times = [meeting, met].map(({ p50, p95 }) => `${digits(p50)}, ${digits(p95)}`)
      const others = Math.max(...[service, clearnet, meeting, met].map((figure) => figure.others))
      lines.push(`| ${[at + 1, NAMES[name] ?? name, ...speeds, ...times, percent(others)].join(' | ')} |`)
    }
  })
  return lines
}

const namesAnd = (once, part, text) =>
  Object.entries(once)
    .filter(([, all]) => all[part] !== undefined)
    .map(([name, all]) => `${NAMES[name] ?? name} ${text(all[part])}`)

/** What was measured once, each sentence where there is something to say. */
function onceText({ once, disk }) {
  const bytes = (series) =>
    Object.entries(series)
      .map(([count, value]) => `${value.toFixed(0)} at ${Number(count).toLocaleString('en')}`)
      .join(', ')
  const idle = namesAnd(once, 'idle', ({ relays, client }) => `${relays.map((value) => value.toFixed(0)).join(', ')}; ${client.toFixed(0)}`)
  const after = namesAnd(
    once,
    'after',
    ({ largestRelay, bytes: moved }) => `${megabytes(largestRelay)} after ${(moved / 1e9).toFixed(1)} GB`
  )
  const crowd = once.ours.crowd
  return [
    ...(idle.length === 0 ? [] : [`Idle circuits, bytes each at 1,000, the relays of the path and the client: ${idle.join(' | ')}.`]),
    ...(crowd === undefined
      ? []
      : [`Bytes of an idle circuit of ours by their number: median relay ${bytes(crowd.relay)}; client ${bytes(crowd.client)}.`]),
    ...(after.length === 0 ? [] : [`After the load: ${after.join(', ')}.`]),
    `On disk: tor ${megabytes(disk.tor)} and ${megabytes(disk.torLibraries)} of libraries; AnonNet's addon ${megabytes(disk.addon)} and its tool ${megabytes(disk.tool)}, in a Node of ${megabytes(disk.node)}.`
  ]
}

function cryptographyText({ rounds, handshakeMs }) {
  if (rounds.length === 0) return []
  const cpuMs = median(rounds.map((round) => round.subjects.ours.circuits.cpuMs))
  const share =
    handshakeMs === undefined ? 'not measured' : `${digits(handshakeMs)} ms of the ${digits(cpuMs)} ms, ${percent(handshakeMs / cpuMs)}`
  return [
    `Cryptography of a circuit: ${share} (three handshakes, client and relays, X25519 and ML-KEM; by the benches of the crypto crate).`
  ]
}

function marksText(rows) {
  const missed = rows.filter((row) => !row.held && !row.missing)
  const missing = rows.filter((row) => row.missing)
  const figure = (row) =>
    `${row.name} (${digits(row.ours)} ${row.unit}${Number.isFinite(row.ratio) ? `, ${digits(row.ratio)} times Tor's best` : ''}; ${row.mark})`
  return [
    ...(missed.length + missing.length === 0 ? ['Every mark is held.'] : []),
    ...(missed.length === 0 ? [] : [`Not held: ${missed.map(figure).join('; ')}.`]),
    ...(missing.length === 0 ? [] : [`Missing: ${missing.map(({ name }) => name).join('; ')}.`])
  ]
}

/** The Markdown of a run, also of one that is not complete. */
export function markdown(all) {
  const { versions, rows, settings, failures, parts, done } = all
  const turns = ['rounds', 'services']
    .filter((part) => parts.includes(part))
    .map((part) => `${part}: ${all[part].length} of ${settings.rounds} in turn`)
  const left = parts.filter((part) => !done.includes(part))
  return [
    `${[...turns, `${settings.seconds} s for each throughput`].join(', ')}; ${Object.entries(versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(', ')}.`,
    ...(left.length === 0 ? [] : [`**Not complete: ${left.join(', ')}.**`]),
    '',
    '| figure | unit | Tor as shipped | Tor best | AnonNet | ratio: median (least to most) | mark | |',
    '|---|---|---|---|---|---|---|---|',
    ...rows.map(tableRow),
    '',
    ...marksText(rows),
    ...disturbedText(rows, settings.rounds),
    `Load of the machine, one minute's mean, at the beginning, and after each part: ${all.load.map((value) => value.toFixed(1)).join(', ')}.`,
    ...(failures.length === 0 ? [] : [`Failed or measured again: ${failures.join('; ')}.`]),
    ...boundRows(all),
    '',
    ...cryptographyText(all),
    ...onceText(all),
    ...roundRows(all),
    ...serviceRows(all)
  ].join('\n')
}

function disturbedText(all, rounds) {
  if (!all.some((row) => row.disturbed !== undefined)) return []
  const rows = all.filter((row) => row.disturbed > 0)
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
