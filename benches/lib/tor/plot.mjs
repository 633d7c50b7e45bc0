// The comparison as a picture: how many times better than Tor's best each figure of ours is, every round a dot, on a logarithmic scale.
import { scaleLinear, scaleLog, scalePoint } from 'd3-scale'

const WIDTH = 900
const ROW_HEIGHT = 30
const MARGIN = { top: 64, right: 190, bottom: 40, left: 350 }
const COLOURS = { held: '#1b7837', missed: '#b2182b', grid: '#dddddd', text: '#222222' }
const escaped = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
const digits = (value) => (Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3))

/** Above 1 ours is better, whether more or less is. */
const better = (row, ratio) => Math.max(0.01, row.less ? 1 / Math.max(ratio, 0.001) : ratio)

/** The SVG of a run's rows. */
export function plot(all, title) {
  const rows = all.filter((row) => Number.isFinite(row.ratio))
  const height = MARGIN.top + rows.length * ROW_HEIGHT + MARGIN.bottom
  const ratios = rows.flatMap((row) => [row.ratio, ...row.ratios].map((ratio) => better(row, ratio)))
  const x = scaleLog([Math.min(0.1, ...ratios), Math.max(10, ...ratios)], [MARGIN.left, WIDTH - MARGIN.right]).nice()
  const y = scalePoint(
    rows.map((row) => row.name),
    [MARGIN.top, height - MARGIN.bottom]
  ).padding(0.5)
  const fade = scaleLinear([1, 10], [0.6, 0.3]).clamp(true)
  const text = (at, down, value, more = '') =>
    `<text x="${at.toFixed(1)}" y="${down.toFixed(1)}" fill="${COLOURS.text}" ${more}>${escaped(value)}</text>`
  const line = (at, colour, dash = '') =>
    `<line x1="${at.toFixed(1)}" x2="${at.toFixed(1)}" y1="${MARGIN.top}" y2="${height - MARGIN.bottom}" stroke="${colour}" ${dash}/>`
  const ticks = x.ticks().filter((tick) => Math.abs(Math.log10(tick) % 1) < 1e-9 || Math.abs((Math.log10(tick) % 1) - 1) < 1e-9)
  const parts = [
    `<rect width="${WIDTH}" height="${height}" fill="white"/>`,
    text(16, 24, title, 'font-size="15" font-weight="bold"'),
    text(16, 44, "times better than Tor's best setting; above 1 AnonNet is better; each dot is a round, the bar is the median"),
    ...ticks.flatMap((tick) => [
      line(x(tick), COLOURS.grid),
      text(x(tick), height - MARGIN.bottom + 18, `${tick}×`, 'text-anchor="middle"')
    ]),
    line(x(1), COLOURS.text, 'stroke-dasharray="4 3"'),
    ...rows.flatMap((row) => {
      const [at, down] = [x(better(row, row.ratio)), y(row.name)]
      const colour = row.held ? COLOURS.held : COLOURS.missed
      return [
        text(MARGIN.left - 10, down + 4, row.name, 'text-anchor="end"'),
        `<rect x="${Math.min(at, x(1)).toFixed(1)}" y="${(down - 7).toFixed(1)}" width="${Math.abs(at - x(1)).toFixed(1)}" height="14" fill="${colour}" opacity="0.55"/>`,
        ...row.ratios.map(
          (ratio) =>
            `<circle cx="${x(better(row, ratio)).toFixed(1)}" cy="${down.toFixed(1)}" r="3.5" fill="${colour}" opacity="${fade(row.ratios.length)}"/>`
        ),
        text(WIDTH - MARGIN.right + 12, down + 4, `${digits(row.ours)} : ${digits(row.best)} ${row.unit}${row.held ? '' : ', mark missed'}`)
      ]
    })
  ]
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" font-family="sans-serif" font-size="12">\n${parts.join('\n')}\n</svg>\n`
}
