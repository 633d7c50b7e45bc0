// `npm run regress`: instructions a cell on every step of its way, counted by callgrind, against benches/baseline.json. The same build repeats
// exactly, on a busy machine too. valgrind hides AVX-512 and VPCLMULQDQ from the program, so the onion layers are counted in the path of
// processors that lack them. `npm run regress -- --update` writes the baseline anew.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { arch, platform } from 'node:os'
import { join } from 'node:path'
import { fail, output, root, run, step } from './lib.mjs'
import { checkTools } from './setup.mjs'

const CELLS_A_RUN = 32
/** Counted twice, so that what start-up costs drops out. */
const RUNS = [10, 110]
/** Other compilers and C libraries make other code: a difference then says little of ours. */
const TOLERANCE_ELSEWHERE = 0.1
const baselineFile = join(root, 'benches', 'baseline.json')
const folder = join(root, 'target', 'regress')

const rustc = checkTools()
const update = process.argv.slice(2).includes('--update')
const skip = (why) => {
  process.stdout.write(`regress: skipped, ${why}\n`)
  process.exit(0)
}
if (platform() !== 'linux' || arch() !== 'x64') skip('the baseline is of Linux x64')
const valgrind = output('valgrind', ['--version'])?.trim()
if (!valgrind) skip('there is no valgrind: get it with `apt install valgrind`')
const flags = new Set(/^flags\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1].trim().split(' '))
const lacks = ['aes', 'pclmulqdq', 'avx2'].filter((name) => !flags.has(name))
if (lacks.length > 0) skip(`the baseline is of processors with AES, PCLMULQDQ and AVX2, and this one lacks ${lacks.join(', ')}`)

const where = {
  compiler: /^release: (.+)$/m.exec(rustc)?.[1] ?? '',
  libc: output('getconf', ['GNU_LIBC_VERSION'])?.trim() ?? '',
  valgrind
}

async function build() {
  step('building the cell path')
  let binary
  // Its own folder: the release profile strips the names by which callgrind tells the steps apart.
  const args = [
    'build',
    '--release',
    '-p',
    'anonnet-relay',
    '--example',
    'cell_path',
    '--quiet',
    '--message-format=json-render-diagnostics'
  ]
  const code = await run('cargo', [...args, '--config', 'profile.release.strip=false', '--target-dir', folder], {
    quiet: true,
    onLine: (line) => {
      if (!line.startsWith('{')) return
      const message = JSON.parse(line)
      if (message.reason === 'compiler-artifact' && message.executable) binary = message.executable
    }
  })
  if (code !== 0 || !binary) fail('Building the cell path failed: run `cargo build --release -p anonnet-relay --example cell_path`.')
  return binary
}

/** Calls and instructions of every step, with all that it calls, out of callgrind's file. */
function steps(file) {
  const [names, found] = [new Map(), new Map()]
  let calls
  let callee = ''
  for (const line of readFileSync(file, 'utf8').split('\n')) {
    const called = /^cfn=\((\d+)\)(?: (.*))?$/.exec(line)
    const own = /^fn=\((\d+)\) (.*)$/.exec(line)
    if (own) names.set(own[1], own[2])
    if (called) {
      if (called[2]) names.set(called[1], called[2])
      callee = /stage_([a-z_]+?)(?:17h|::|$)/.exec(names.get(called[1]) ?? '')?.[1] ?? ''
    } else if (line.startsWith('calls=')) {
      calls = Number(line.slice(6).split(' ')[0])
    } else if (calls !== undefined) {
      const entry = found.get(callee) ?? { calls: 0, instructions: 0 }
      entry.calls += calls
      entry.instructions += Number(line.split(' ').at(-1))
      found.set(callee, entry)
      calls = undefined
    }
  }
  found.delete('')
  return found
}

/** A program of its own for each count: the two run beside each other, which changes nothing that is counted. */
async function count(binary) {
  step(`counting ${RUNS.join(' and ')} runs of ${CELLS_A_RUN} cells with ${valgrind}`)
  mkdirSync(folder, { recursive: true })
  const [few, many] = await Promise.all(
    RUNS.map(async (runs) => {
      const file = join(folder, `callgrind.${runs}`)
      const code = await run('valgrind', ['--tool=callgrind', `--callgrind-out-file=${file}`, binary, String(runs)], { quiet: true })
      if (code !== 0) fail(`callgrind failed: run \`valgrind --tool=callgrind ${binary} ${runs}\` to see why.`)
      return steps(file)
    })
  )
  const perCell = [...many].map(([name, { calls, instructions }]) => {
    const before = few.get(name)
    if (!before) return fail(`callgrind saw no step ${name} in the short run.`)
    return [name, Math.round((instructions - before.instructions) / (calls - before.calls) / CELLS_A_RUN)]
  })
  return Object.fromEntries(perCell.sort(([a], [b]) => a.localeCompare(b)))
}

const measured = await count(await build())
if (update) {
  const made = `npm run regress -- --update; ${RUNS.join(' and ')} runs of ${CELLS_A_RUN} cells, subtracted`
  const baseline = { made, ...where, tolerance: 0.03, instructionsPerCell: measured }
  writeFileSync(baselineFile, `${JSON.stringify(baseline, null, 2)}\n`)
}
const baseline = JSON.parse(readFileSync(baselineFile, 'utf8'))
const same = baseline.compiler === where.compiler && baseline.libc === where.libc
const tolerance = same ? baseline.tolerance : Math.max(baseline.tolerance, TOLERANCE_ELSEWHERE)
const names = [...new Set([...Object.keys(baseline.instructionsPerCell), ...Object.keys(measured)])].sort()
let [worse, better] = [0, 0]
process.stdout.write('instructions a cell       baseline      now   change\n')
for (const name of names) {
  const [was, is] = [baseline.instructionsPerCell[name], measured[name]]
  const change = was === undefined || is === undefined ? Number.NaN : is / was - 1
  // A step that came or went is a change of the list, which has to be made on purpose.
  const verdict = !(change <= tolerance) ? 'WORSE' : change < -tolerance ? 'better' : ''
  if (verdict === 'WORSE') worse += 1
  if (verdict === 'better') better += 1
  const shown = Number.isNaN(change) ? 'no match' : `${(change * 100).toFixed(2)} %`
  process.stdout.write(
    `${`${name.replaceAll('_', ' ').padEnd(24)} ${String(was ?? '-').padStart(9)} ${String(is ?? '-').padStart(8)} ${shown.padStart(8)}  ${verdict}`.trimEnd()}\n`
  )
}
if (!same)
  process.stdout.write(
    `made with rustc ${baseline.compiler} and ${baseline.libc}, here ${where.compiler} and ${where.libc}: ${tolerance * 100} % are allowed instead of ${baseline.tolerance * 100} %\n`
  )
if (better > 0 && worse === 0) process.stdout.write('it became better: lower the baseline with `npm run regress -- --update`\n')
process.stdout.write(
  worse > 0
    ? `regress: ${worse} of ${names.length} steps cost more than ${tolerance * 100} % above the baseline, or match none\n`
    : `regress: all ${names.length} steps within ${tolerance * 100} % of the baseline\n`
)
process.exitCode = worse > 0 ? 1 : 0
