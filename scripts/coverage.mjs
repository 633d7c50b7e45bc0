// `npm run coverage`: lines covered in each room, Rust and TypeScript; fails when a room that has a floor is under it.
// `npm run coverage -- rust` and `npm run coverage -- ts` measure one side.
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join, relative, sep } from 'node:path'
import { fail, hostTriple, output, root, run, step } from './lib.mjs'
import { checkTools, setup } from './setup.mjs'

const floor = 90
const guarded = { rust: ['crypto', 'cells', 'circuit', 'relay'], ts: ['routing', 'dht'] }
const folder = join(root, 'coverage')

/** llvm-profdata and llvm-cov that read this compiler's profiles: rustup's component, or a system LLVM from 19 on. */
function findLlvm() {
  const sysroot = output('rustc', ['--print', 'sysroot'])?.trim() ?? ''
  const places = [join(sysroot, 'lib', 'rustlib', hostTriple(), 'bin')]
  for (let version = 30; version >= 19; version -= 1) places.push(`/usr/lib/llvm-${version}/bin`, `/opt/homebrew/opt/llvm@${version}/bin`)
  const found = places.find((place) => ['llvm-profdata', 'llvm-cov'].every((name) => existsSync(join(place, name))))
  if (!found)
    fail(
      'Coverage needs llvm-profdata and llvm-cov from LLVM 19 or later: get them with `rustup component add llvm-tools` or `apt install llvm-19`.'
    )
  return { profdata: join(found, 'llvm-profdata'), cov: join(found, 'llvm-cov') }
}

function add(rooms, room, covered, total) {
  const entry = rooms.get(room) ?? { covered: 0, total: 0 }
  entry.covered += covered
  entry.total += total
  rooms.set(room, entry)
}

/** Line number from which on a Rust file is its tests; Infinity without such. */
function testsBegin(file) {
  const at = readFileSync(file, 'utf8')
    .split('\n')
    .findIndex((line, index, lines) => line.trim() === '#[cfg(test)]' && /^\s*(pub(\(crate\))? )?mod \w+ \{/.test(lines[index + 1] ?? ''))
  return at < 0 ? Number.POSITIVE_INFINITY : at + 1
}

async function rust() {
  const { profdata, cov } = findLlvm()
  const raw = join(folder, 'raw')
  rmSync(raw, { recursive: true, force: true })
  const env = { RUSTC_WORKSPACE_WRAPPER: join(root, 'scripts', 'coverage-rustc.mjs'), LLVM_PROFILE_FILE: join(raw, '%p-%m.profraw') }
  step('building the Rust tests with instruments')
  const binaries = []
  const built = await run('cargo', ['test', '--workspace', '--lib', '--tests', '--no-run', '--message-format=json-render-diagnostics'], {
    env,
    quiet: true,
    onLine: (line) => {
      if (!line.startsWith('{')) return
      const message = JSON.parse(line)
      if (message.reason === 'compiler-artifact' && message.profile.test && message.executable)
        binaries.push({ path: message.executable, cwd: dirname(message.manifest_path) })
    }
  })
  if (built !== 0) fail('Building the Rust tests failed: run `cargo test --workspace --no-run` to see why.')
  for (const { path, cwd } of binaries) {
    step(`running ${relative(root, path).split(sep).pop()}`)
    const said = []
    if ((await run(path, ['--quiet'], { env, cwd, quiet: true, onLine: (line) => said.push(line) })) !== 0)
      fail(`${said.join('\n')}\nA Rust test failed: coverage counts only when all pass.`)
  }
  const profile = join(folder, 'rust.profdata')
  const files = readdirSync(raw).map((name) => join(raw, name))
  if ((await run(profdata, ['merge', '-sparse', '-o', profile, ...files])) !== 0)
    fail('llvm-profdata could not read the profiles: its LLVM is older than the compiler, see `rustup component add llvm-tools`.')
  const objects = binaries.flatMap(({ path }, index) => (index === 0 ? [path] : ['--object', path]))
  const lcov = output(cov, ['export', '--format=lcov', `--instr-profile=${profile}`, ...objects])
  if (lcov === undefined) fail('llvm-cov could not read the profile: see `rustup component add llvm-tools`.')
  rmSync(raw, { recursive: true, force: true })
  return rustRooms(lcov)
}

function rustRooms(lcov) {
  const rooms = new Map()
  for (const record of lcov.split('end_of_record')) {
    const file = /^SF:(.+)$/m.exec(record)?.[1]
    const match = file && /^crates\/([^/]+)\/src\//.exec(relative(root, file).split(sep).join('/'))
    if (!match?.[1] || /\/tests?(\/|\.rs$)|_tests?\.rs$/.test(file)) continue
    const end = testsBegin(file)
    const lines = [...record.matchAll(/^DA:(\d+),(\d+)/gm)].filter(([, line]) => Number(line) < end)
    add(rooms, match[1], lines.filter(([, , count]) => count !== '0').length, lines.length)
  }
  return rooms
}

async function typescript() {
  step('TypeScript tests with coverage')
  const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs')
  const code = await run(process.execPath, [vitest, 'run', '--coverage', '--coverage.reportOnFailure=true', '--reporter=dot'])
  if (code !== 0) {
    process.stdout.write('A TypeScript test failed, so this fails whatever is covered.\n')
    process.exitCode = 1
  }
  const summary = join(folder, 'ts', 'coverage-summary.json')
  if (!existsSync(summary)) fail('vitest wrote no coverage: see its messages above.')
  const rooms = new Map()
  for (const [file, { lines }] of Object.entries(JSON.parse(readFileSync(summary, 'utf8')))) {
    if (file === 'total') continue
    const name = relative(join(root, 'ts'), file).split(sep)
    add(rooms, name.length > 1 ? name[0] : 'index', lines.covered, lines.total)
  }
  return rooms
}

function report(title, rooms, floors) {
  let under = 0
  process.stdout.write(`${title}\n`)
  for (const [room, { covered, total }] of [...rooms].sort(([a], [b]) => a.localeCompare(b, 'en'))) {
    const percent = total === 0 ? 0 : (100 * covered) / total
    const low = floors.includes(room) && percent < floor
    if (low) under += 1
    const note = floors.includes(room) ? `  floor ${floor}${low ? ': under it' : ''}` : ''
    process.stdout.write(`  ${room.padEnd(14)} ${`${covered}/${total}`.padStart(12)} ${percent.toFixed(1).padStart(6)} %${note}\n`)
  }
  for (const room of floors.filter((name) => !rooms.has(name))) {
    process.stdout.write(`  ${room.padEnd(14)} nothing was measured\n`)
    under += 1
  }
  return under
}

const side = process.argv[2]
if (side !== undefined && side !== 'rust' && side !== 'ts') {
  process.stderr.write('usage: npm run coverage [-- rust | ts]\n')
  process.exit(2)
}
if (side === 'rust') checkTools()
else await setup()
let under = 0
if (side !== 'ts') under += report('Rust, lines', await rust(), guarded.rust)
if (side !== 'rust') under += report('TypeScript, lines', await typescript(), guarded.ts)
if (under > 0) process.exitCode = 1
