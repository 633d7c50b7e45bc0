// `npm run size [-- --short]`: the stripped addon of each profile against its budget, and where the bytes are, by crate; 1 MB = 10^6 bytes.
// The two small ones are without the larger, faster ML-KEM. --short: the addon that is there already and build:min, without the table of crates.
import { copyFileSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { buildMin, buildStable } from './build-min.mjs'
import { buildLibrary, output, root, step } from './lib.mjs'
import { setup } from './setup.mjs'

const rest = process.argv.slice(2)
if (rest.some((flag) => flag !== '--short')) {
  process.stderr.write('usage: npm run size [-- --short]\n')
  process.exit(2)
}
const short = rest.includes('--short')
const folder = join(root, 'target', 'size')
mkdirSync(folder, { recursive: true })

// Each is linked with its symbols, which tell of the crates; what is measured is a copy without.
const release = async (target, options) => await buildLibrary(target, ['--profile', 'release'], options)
const profiles = [
  { name: 'release', megabytes: 2.8, build: release },
  { name: 'minsizerel', megabytes: 2.3, build: buildStable },
  { name: 'build:min', megabytes: 1.6, build: buildMin }
]
// Measured from the packages on the npm registry, Linux x64.
const others = [
  { name: '@number0/iroh', megabytes: 20.7 },
  { name: '@chainsafe/libp2p-quic', megabytes: 3.9 }
]

/** Bytes of a copy without symbols. */
function stripped(file) {
  const copy = `${file}.stripped`
  rmSync(copy, { force: true })
  copyFileSync(file, copy)
  output('strip', [process.platform === 'darwin' ? '-x' : '--strip-unneeded', copy])
  const { size } = statSync(copy)
  rmSync(copy)
  return size
}

/** The crate of a symbol that `nm` has made readable; what is no Rust is ring's C and assembler, for the most part. */
function crateOf(symbol) {
  if (/^_?ring_core|^(aes|vpaes|gcm|bn|ecp|x25519|chacha20|sha\d+|fe|ge|sc|GFp|LIMBS)_/.test(symbol)) return 'ring'
  const name = /^<*(?:&|\*const |\*mut |mut |dyn |\(|\[)*([A-Za-z_]\w*)(?:::|\[| as )/.exec(symbol)?.[1]
  return name === undefined || /^[ui](8|16|32|64|128|size)$|^(str|bool|char|f64|impl)$/.test(name) ? 'other' : name
}

/** Bytes of code and constants by crate; undefined without nm. */
function crates(file) {
  const listed = output('nm', ['--defined-only', '--print-size', '--demangle', file])
  if (!listed) return undefined
  const [found, seen] = [new Map(), new Set()]
  for (const line of listed.split('\n')) {
    const [, address, size, kind, symbol] = /^([0-9a-f]+) ([0-9a-f]+) (\w) (.+)$/.exec(line) ?? []
    // Memory that starts empty has no bytes in the file, and one place may have several names.
    if (address === undefined || /[bB]/.test(kind) || seen.has(address)) continue
    seen.add(address)
    const name = crateOf(symbol)
    found.set(name, (found.get(name) ?? 0) + Number.parseInt(size, 16))
  }
  return found.size > 0 ? found : undefined
}

const number = (text, width) => String(text).padStart(width)
function showCrates(tables) {
  const names = [...new Set(tables.flatMap(({ found }) => [...found.keys()]))]
  const largest = (name) => Math.max(...tables.map(({ found }) => found.get(name) ?? 0))
  const shown = names.filter((name) => largest(name) >= 4000).sort((a, b) => largest(b) - largest(a))
  process.stdout.write(`\n${'bytes of code and constants'.padEnd(28)}${tables.map(({ name }) => number(name, 12)).join('')}\n`)
  for (const name of shown)
    process.stdout.write(`${name.padEnd(28)}${tables.map(({ found }) => number(found.get(name) ?? '', 12)).join('')}\n`)
  const less = tables.map(({ found }) => [...found].reduce((sum, [name, bytes]) => sum + (shown.includes(name) ? 0 : bytes), 0))
  process.stdout.write(`${'smaller ones'.padEnd(28)}${less.map((bytes) => number(bytes, 12)).join('')}\n`)
}

await setup()
const [rows, tables] = [[], []]
let over = false
for (const { name, megabytes, build } of profiles) {
  let file = join(folder, `anonnet.${name.replace(':', '-')}.node`)
  if (short && name === 'minsizerel') continue
  if (short && name === 'release')
    file = join(
      root,
      readdirSync(root).find((entry) => /^anonnet\..*\.node$/.test(entry))
    )
  else {
    step(`building ${name}`)
    if ((await build(file, { symbols: !short })) === undefined) {
      rows.push({ name: `anonnet, ${name}`, bytes: '', megabytes: '', budget: megabytes.toFixed(1), verdict: 'no toolchain for it here' })
      continue
    }
  }
  const bytes = stripped(file)
  const ok = bytes <= megabytes * 1e6
  over ||= !ok
  const verdict = ok ? 'within' : 'over'
  rows.push({ name: `anonnet, ${name}`, bytes, megabytes: (bytes / 1e6).toFixed(2), budget: megabytes.toFixed(1), verdict })
  const found = short ? undefined : crates(file)
  if (found !== undefined) tables.push({ name, found })
}
for (const other of others) rows.push({ name: other.name, bytes: '', megabytes: other.megabytes.toFixed(1), budget: '', verdict: '' })
const line = (row) =>
  `${row.name.padEnd(26)} ${number(row.bytes, 10)} ${number(row.megabytes, 8)} ${number(row.budget, 8)}  ${row.verdict}`.trimEnd()
process.stdout.write(`${line({ name: 'addon, stripped', bytes: 'bytes', megabytes: 'MB', budget: 'budget', verdict: '' })}\n`)
for (const row of rows) process.stdout.write(`${line(row)}\n`)
if (tables.length > 0) showCrates(tables)
process.exitCode = over ? 1 : 0
