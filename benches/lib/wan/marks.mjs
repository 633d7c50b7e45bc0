// The rows of the comparison in a wide-area network: ours beside Tor's best setting, and what each row has to reach.
import { median } from '../processes.mjs'

const TOR = ['kist', 'vanilla']
/** What the delay of small requests beside a bulk stream may be of theirs alone. */
export const MOST_OF_IDLE = 2

/** What is better than Tor's best in every scenario. `less`: a delay. */
const FIGURES = [
  { name: 'one stream, download', unit: 'MB/s', figure: 'one', part: 'megabytesPerSecond' },
  { name: 'one stream, upload', unit: 'MB/s', figure: 'up', part: 'megabytesPerSecond' },
  { name: '8 streams on 8 circuits', unit: 'MB/s', figure: 'eight', part: 'megabytesPerSecond' },
  { name: 'first byte, circuit built, p50', unit: 'ms', figure: 'built', part: 'p50', less: true },
  { name: 'first byte, circuit built, p95', unit: 'ms', figure: 'built', part: 'p95', less: true },
  { name: 'first byte, fresh circuit, p50', unit: 'ms', figure: 'fresh', part: 'p50', less: true },
  { name: 'first byte, fresh circuit, p95', unit: 'ms', figure: 'fresh', part: 'p95', less: true },
  { name: 'small requests beside bulk, same circuit, p95', unit: 'ms', figure: 'besideSame', part: 'p95', less: true },
  { name: 'small requests beside bulk, another circuit, p95', unit: 'ms', figure: 'besideOther', part: 'p95', less: true }
]

/** Small requests beside a bulk stream, and where they are. */
const BESIDE = [
  { figure: 'besideSame', where: 'same circuit' },
  { figure: 'besideOther', where: 'another circuit' }
]

/** Of all the values of all rounds, since one round has few of them. */
function pooled(rounds, scenario, name, figure, part) {
  const found = rounds.map((round) => round[scenario][name][figure])
  if (part === 'megabytesPerSecond') return median(found.map((one) => one[part]))
  const values = found.flatMap((one) => one.values).sort((a, b) => a - b)
  return values[Math.min(values.length - 1, Math.floor(values.length * (part === 'p50' ? 0.5 : 0.95)))]
}

function besideTor(rounds, scenario, row) {
  const of = (name) => pooled(rounds, scenario, name, row.figure, row.part)
  const [kist, vanilla, ours] = [...TOR.map(of), of('ours')]
  const best = row.less ? Math.min(kist, vanilla) : Math.max(kist, vanilla)
  const bestName = best === kist ? 'kist' : 'vanilla'
  const ratios = rounds.map((round) => round[scenario].ours[row.figure][row.part] / round[scenario][bestName][row.figure][row.part])
  return {
    scenario,
    name: row.name,
    unit: row.unit,
    less: Boolean(row.less),
    kist,
    vanilla,
    best,
    bestName,
    ours,
    ratio: ours / best,
    ratios,
    mark: row.less ? 'less than Tor' : 'more than Tor',
    held: row.less ? ours < best : ours > best
  }
}

/** The delay beside a bulk stream, by that alone: a queue of ours must not be what wins. */
function besideIdle(rounds, scenario, figure, where) {
  const of = (name) => pooled(rounds, scenario, name, figure, 'p95') / pooled(rounds, scenario, name, 'built', 'p95')
  const [kist, vanilla, ours] = [of('kist'), of('vanilla'), of('ours')]
  const best = Math.min(kist, vanilla)
  return {
    scenario,
    name: `the same beside bulk by alone, ${where}, p95`,
    unit: 'times',
    less: true,
    kist,
    vanilla,
    best,
    bestName: best === kist ? 'kist' : 'vanilla',
    ours,
    ratio: ours / best,
    ratios: [],
    mark: `at most ${MOST_OF_IDLE} times`,
    held: ours <= MOST_OF_IDLE
  }
}

/** All rows, in the order of the table. */
export function wideRows(rounds) {
  return Object.keys(rounds[0]).flatMap((scenario) => {
    const measured = (figure) => rounds[0][scenario].ours[figure] !== undefined
    return [
      ...FIGURES.filter(({ figure }) => measured(figure)).map((row) => besideTor(rounds, scenario, row)),
      ...BESIDE.filter(({ figure }) => measured(figure)).map(({ figure, where }) => besideIdle(rounds, scenario, figure, where))
    ]
  })
}
