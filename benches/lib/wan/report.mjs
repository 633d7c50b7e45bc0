// The comparison in a wide-area network as text.
import { OTHERS_MAX } from '../tor/marks.mjs'

const digits = (value) =>
  Number.isFinite(value) ? (Math.abs(value) >= 100 ? value.toFixed(0) : Math.abs(value) >= 10 ? value.toFixed(1) : value.toFixed(2)) : '-'
const percent = (value) => `${(value * 100).toFixed(0)} %`
const NAMES = { kist: 'Tor, KIST', vanilla: 'Tor, Vanilla', ours: 'AnonNet' }

function tableRow(row) {
  const spread = row.ratios.length > 1 ? ` (${digits(Math.min(...row.ratios))} to ${digits(Math.max(...row.ratios))})` : ''
  const cells = [
    row.scenario,
    row.name,
    row.unit,
    digits(row.kist),
    digits(row.vanilla),
    digits(row.ours),
    `${digits(row.ratio)}${spread}`,
    row.mark,
    row.held ? 'held' : '**not held**'
  ]
  return `| ${cells.join(' | ')} |`
}

const LOADS = ['one', 'up', 'eight']

/** What each turn cost, and what the shaper did meanwhile. */
function turnRows(rounds) {
  const lines = [
    '| round | links | subject | CPU s/GB of the last load | shaper, CPU s/GB | packets lost as asked | dropped by the queue | longest wait for the rate, ms | latest departure, ms | most that others took |',
    `|${'---|'.repeat(10)}`
  ]
  rounds.forEach((round, at) => {
    for (const [scenario, subjects] of Object.entries(round)) {
      for (const [name, all] of Object.entries(subjects)) {
        const { packets } = all
        const loads = LOADS.filter((load) => all[load]).map((load) => all[load])
        const last = loads.at(-1)
        const others = Math.max(...loads.map((load) => load.others))
        const cells = [
          at + 1,
          scenario,
          NAMES[name],
          digits(last.cpu / last.gigabytes),
          digits(last.shaperCpu / last.gigabytes),
          packets.lost,
          packets.dropped,
          digits(packets.waitedMs),
          digits(packets.lateMs),
          `${percent(others)}${others > OTHERS_MAX ? ', disturbed' : ''}`
        ]
        lines.push(`| ${cells.join(' | ')} |`)
      }
    }
  })
  return lines
}

/** The Markdown of a whole run. */
export function wideMarkdown({ versions, settings, rows, rounds, failures, links }) {
  const missed = rows.filter((row) => !row.held)
  return [
    `${rounds.length} rounds, in turn, ${settings.seconds} s for each throughput, ${settings.requests} requests for each delay; ${Object.entries(
      versions
    )
      .map(([name, version]) => `${name} ${version}`)
      .join(', ')}.`,
    '',
    ...Object.entries(links).map(([name, text]) => `- **${name}**: ${text}`),
    '',
    '| links | figure | unit | Tor, KIST | Tor, Vanilla | AnonNet | ratio to the best: all (least to most of a round) | mark | |',
    `|${'---|'.repeat(9)}`,
    ...rows.map(tableRow),
    '',
    missed.length === 0
      ? 'Every mark is held.'
      : `Not held: ${missed.map((row) => `${row.scenario}, ${row.name} (${digits(row.ours)} ${row.unit}, Tor ${digits(row.best)}; ${row.mark})`).join('; ')}.`,
    ...(failures.length === 0 ? [] : [`Measured again: ${failures.join('; ')}.`]),
    '',
    ...turnRows(rounds)
  ].join('\n')
}
