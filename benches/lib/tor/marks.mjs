// The rows of the comparison: where each figure comes from, and the mark that ours has to reach.
import { median } from '../processes.mjs'

/** Rounds in which others took more than this share of the machine are disturbed. */
export const OTHERS_MAX = 0.1
const KIB = 1024
const PLAIN = ['kist', 'vanilla']
const CONFLUX = ['kist-conflux', 'vanilla-conflux']
const TOR = [...PLAIN, ...CONFLUX]

/** Figures of the rounds, of `phase`. `times`: ours over Tor's best at least (at most, when less is better); `value`: an absolute mark. */
const ROUND_ROWS = [
  { name: 'one stream, download', unit: 'MB/s', figure: 'down', part: 'megabytesPerSecond', among: PLAIN, times: 8 },
  { name: 'one stream, download, Tor with conflux', unit: 'MB/s', figure: 'down', part: 'megabytesPerSecond', among: CONFLUX, times: 5 },
  { name: 'one stream, upload', unit: 'MB/s', figure: 'up', part: 'megabytesPerSecond', times: 4 },
  { name: '8 streams on 8 circuits', unit: 'MB/s', figure: 'eight', part: 'megabytesPerSecond', times: 2.5 },
  { name: '8 streams on one circuit', unit: 'MB/s', figure: 'eightOnOne', part: 'megabytesPerSecond', times: 6 },
  { name: 'CPU of 8 streams on 8 circuits, all nodes', unit: 's/GB', figure: 'eight', part: 'cpuPerGigabyte', less: true, times: 1 / 3 },
  { name: 'first byte, circuit built, p50', unit: 'ms', figure: 'built', part: 'p50', less: true, value: 1 },
  { name: 'first byte, circuit built, p95', unit: 'ms', figure: 'built', part: 'p95', less: true, value: 3 },
  { name: 'first byte, fresh circuit, p50', unit: 'ms', figure: 'fresh', part: 'p50', less: true, value: 5 },
  { name: 'first byte, fresh circuit, p95', unit: 'ms', figure: 'fresh', part: 'p95', less: true, value: 10 },
  { name: 'circuits a second, 20 at once', unit: '/s', figure: 'circuits', part: 'perSecond', among: PLAIN, stock: 'kist', value: 600 },
  { name: 'CPU of a circuit, all nodes', unit: 'ms', figure: 'circuits', part: 'cpuMs', among: PLAIN, stock: 'kist', less: true, value: 2 }
].map((row) => ({ phase: 'rounds', ...row }))

/** Services beside Tor's onion services: Tor has no conflux there. */
const SERVICE_ROWS = [
  { name: 'service, download', unit: 'MB/s', figure: 'service', part: 'megabytesPerSecond', times: 10 },
  { name: 'service, download, beside clearnet of the same network', unit: 'times', figure: 'overClearnet', part: 'times', value: 0.5 },
  { name: 'service, first byte, fresh rendezvous, p50', unit: 'ms', figure: 'meeting', part: 'p50', less: true, times: 1 / 5 },
  { name: 'service, first byte, existing rendezvous, p50', unit: 'ms', figure: 'met', part: 'p50', less: true, times: 1 / 5 }
].map((row) => ({ phase: 'services', among: PLAIN, stock: 'kist', ...row }))

/** Figures that are measured once; all of them are better when they are less. What is measured of ours alone has no Tor beside it. */
const ONCE_ROWS = [
  { phase: 'idle', name: 'idle circuit in a relay, at 1,000', unit: 'KiB', scale: KIB, of: (all) => all.idle?.relay, value: 6 },
  { phase: 'crowd', name: 'idle circuit in a relay, at 10,000', unit: 'KiB', scale: KIB, of: (all) => all.crowd?.relay[10_000], value: 6 },
  { phase: 'idle', name: 'idle circuit in the client, at 1,000', unit: 'KiB', scale: KIB, of: (all) => all.idle?.client, value: 12 },
  {
    phase: 'crowd',
    name: 'idle circuit in the client, at 10,000',
    unit: 'KiB',
    scale: KIB,
    of: (all) => all.crowd?.client[10_000],
    value: 12
  },
  { phase: 'idle', name: 'idle relay, RSS', unit: 'MB', scale: 1e6, of: (all) => all.rss?.relay, value: 60 },
  { phase: 'idle', name: 'client, RSS', unit: 'MB', scale: 1e6, of: (all) => all.rss?.client, value: 60 },
  { phase: 'load', name: 'largest relay after the load, RSS', unit: 'MB', scale: 1e6, of: (all) => all.after?.largestRelay, value: 80 },
  { phase: 'startup', name: 'start to ready, cached', unit: 's', scale: 1, of: (all) => all.startup?.cached, value: 1 },
  { phase: 'startup', name: 'start to ready, cold', unit: 's', scale: 1, of: (all) => all.startup?.cold, value: 1.5 }
]

/** Rounds that nobody disturbed, if they are half of them at least; else all. */
function chosenRounds(rounds, figure, subjects) {
  const quiet = rounds.map((_, at) => at).filter((at) => subjects.every((name) => rounds[at].subjects[name][figure].others <= OTHERS_MAX))
  const enough = quiet.length * 2 >= rounds.length
  return {
    used: enough ? quiet : rounds.map((_, at) => at),
    disturbed: rounds.length - quiet.length,
    dropped: enough ? rounds.length - quiet.length : 0
  }
}

const markOf = ({ less, times, value, unit }) =>
  `${less ? 'at most' : 'at least'} ${times === undefined ? `${value} ${unit}` : `${Number(times.toFixed(2))} times`}`

/** A row of a part that failed or has not been run yet. */
const missingRow = (row) => ({ name: row.name, unit: row.unit, missing: true, ratios: [], mark: markOf(row), held: false })

function roundRow(row, rounds) {
  if (rounds.length === 0) return missingRow(row)
  const among = row.among ?? TOR
  const { used, disturbed, dropped } = chosenRounds(rounds, row.figure, [...among, 'ours'])
  const series = (name) => used.map((at) => rounds[at].subjects[name][row.figure][row.part])
  const medians = among.map((name) => [name, median(series(name))])
  const [bestName, best] = medians.reduce((a, b) => ((row.less ? b[1] < a[1] : b[1] > a[1]) ? b : a))
  const values = { ours: series('ours'), best: series(bestName) }
  const ratios = values.ours.map((value, at) => value / values.best[at])
  const ours = median(values.ours)
  // What is shipped uses conflux, where that makes a difference.
  const stock = median(series(row.stock ?? among.find((name) => name === 'kist-conflux') ?? 'kist'))
  const ratio = median(ratios)
  const [measured, mark] = row.times === undefined ? [ours, row.value] : [ratio, row.times]
  return {
    name: row.name,
    unit: row.unit,
    less: Boolean(row.less),
    stock,
    best,
    bestName,
    ours,
    ratio,
    ratios,
    values,
    used: used.map((at) => at + 1),
    disturbed,
    dropped,
    mark: markOf(row),
    held: row.less ? measured <= mark : measured >= mark
  }
}

function onceRow(given, once) {
  const row = { less: true, ...given }
  if (row.of(once.ours) === undefined) return missingRow(row)
  const of = (name) => row.of(once[name]) / row.scale
  const [stock, other, ours] = [of('kist'), of('vanilla'), of('ours')]
  const best = Math.min(stock, other)
  const bestName = best === stock ? 'kist' : 'vanilla'
  return {
    name: row.name,
    unit: row.unit,
    less: true,
    stock,
    best,
    bestName,
    ours,
    ratio: ours / best,
    ratios: [],
    mark: markOf(row),
    held: ours <= row.value
  }
}

/** The rows of the parts that are asked for, in the order of the table; those that are not there yet say so. */
export function rowsOf({ parts, rounds, services, once }) {
  const asked = ({ phase }) => parts.includes(phase)
  return [
    ...ROUND_ROWS.filter(asked).map((row) => roundRow(row, rounds)),
    ...SERVICE_ROWS.filter(asked).map((row) => roundRow(row, services)),
    ...ONCE_ROWS.filter(asked).map((row) => onceRow(row, once))
  ]
}
