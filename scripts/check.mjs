// `npm run lint`: formatting, lints and types of both languages, and the laws of the house that no other tool knows.
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'
import { output, root, run, step, walk } from './lib.mjs'
import { checkTools, installPackages } from './setup.mjs'

const maximumLines = 400
const problems = []
const complain = (text) => problems.push(text)
const read = (name) => readFileSync(join(root, name), 'utf8')

// ---- arrows, Rust: crate -> crates it may use at run time (development dependencies are free) ----
const crateArrows = {
  errors: [],
  crypto: ['errors'],
  cells: ['crypto', 'errors'],
  circuit: ['cells', 'crypto', 'errors'],
  relay: ['circuit', 'cells', 'crypto', 'errors'],
  transport: ['cells', 'crypto', 'errors'],
  engine: ['circuit', 'relay', 'transport', 'cells', 'crypto', 'errors'],
  calls: ['engine', 'circuit', 'relay', 'transport', 'cells', 'crypto', 'errors'],
  binding: ['calls']
}
// Tools above the house: nothing may depend on them except as a development dependency.
const crateTools = ['testkit', 'xtask', 'benches', 'bench']

function rustArrows() {
  const text = output('cargo', ['metadata', '--format-version', '1', '--no-deps'])
  if (text === undefined) return complain('cargo metadata failed')
  const short = (name) => name.replace(/^anonnet-/, '')
  for (const item of JSON.parse(text).packages) {
    const from = short(item.name)
    if (crateTools.includes(from)) continue
    const allowed = crateArrows[from]
    if (allowed === undefined) {
      complain(`crate ${item.name} has no place in the arrows of scripts/check.mjs`)
      continue
    }
    for (const dependency of item.dependencies) {
      if (dependency.kind === 'dev' || !dependency.name.startsWith('anonnet-')) continue
      if (!allowed.includes(short(dependency.name))) complain(`arrow up: crate ${from} uses ${short(dependency.name)}`)
    }
  }
}

// ---- arrows, TypeScript: a room may use lower rooms only; of a room beside it, the types of its types.ts ----
const roomLevel = {
  cli: 5,
  index: 4,
  node: 3,
  services: 2,
  routing: 2,
  churn: 2,
  dht: 2,
  directory: 2,
  native: 1,
  wire: 1,
  config: 1,
  diagnostics: 1,
  errors: 0
}
const roomOf = (name) => (name === 'ts/index.ts' ? 'index' : (name.split('/')[1] ?? ''))

function typeScriptArrows() {
  for (const name of walk('ts', (file) => file.endsWith('.ts'))) {
    const from = roomOf(name)
    if (roomLevel[from] === undefined) {
      complain(`${name}: room '${from}' has no place in the arrows of scripts/check.mjs`)
      continue
    }
    const text = read(name)
    for (const [statement, , target] of text.matchAll(
      /^\s*(?:import|export)\b([^'"`;]*?\bfrom\s+)?['"]([^'"]+)['"]|\bimport\(['"][^'"]+['"]\)/gm
    )) {
      const specifier = target ?? /['"]([^'"]+)['"]/.exec(statement)?.[1] ?? ''
      if (!specifier.startsWith('.')) continue
      const file = posix.normalize(posix.join(dirname(name), specifier))
      if (!file.startsWith('ts/')) {
        if (specifier.endsWith('.json') || (from === 'native' && file === 'index.js')) continue
        complain(`${name}: imports ${specifier} from outside ts/`)
        continue
      }
      const to = roomOf(file.replace(/\.js$/, '.ts'))
      if (to === from) continue
      const typesOnly = /^\s*(import|export)\s+type\b/.test(statement) && file.endsWith('/types.js')
      const beside = roomLevel[to] === roomLevel[from] && typesOnly
      if (!(roomLevel[to] < roomLevel[from] || beside)) complain(`arrow up: ${name} imports ${specifier}`)
    }
    if (from !== 'native' && /\.node['"`]/.test(text)) complain(`${name}: only ts/native loads the addon`)
  }
}

// ---- one #[napi] room, short files, no traces of a machine ----
const sourceFiles = () =>
  [
    ...['crates', 'ts', 'test', 'scripts', 'xtask', 'benches', 'examples'].flatMap((folder) => walk(folder)),
    ...walk('fuzz'),
    'build.rs'
  ].filter((name) => /\.(rs|ts|mjs|js)$/.test(name))

function houseRules() {
  for (const name of sourceFiles()) {
    const text = read(name)
    const lines = text.split('\n').length - 1
    if (lines > maximumLines) complain(`${name}: ${lines} lines, ${maximumLines} is the limit`)
    if (name.endsWith('.rs') && !name.startsWith('crates/binding/') && /#!?\[(cfg_attr\(.*)?napi\b/.test(text))
      complain(`${name}: #[napi] belongs in crates/binding`)
  }
  const listed = output('git', ['ls-files'])
  const files = listed === undefined ? sourceFiles() : listed.split('\n').filter((name) => name && existsSync(join(root, name)))
  const traces = new RegExp(
    ['/ho' + 'me/\\w', '/Us' + 'ers/\\w', '/ro' + 'ot/', '/wo' + 'rk/', '/t' + 'mp/(plan|target-|bash)', 'C:\\\\Us' + 'ers'].join('|')
  )
  for (const name of files) {
    if (/^test\/fixtures\//.test(name) || /\.(png|ico|node)$/.test(name)) continue
    const at = read(name)
      .split('\n')
      .findIndex((line) => traces.test(line))
    if (at >= 0) complain(`${name}:${at + 1}: a path of somebody's machine`)
  }
  if (/"resolved"/.test(read('package-lock.json')))
    complain('package-lock.json names registry addresses: run `npm install` with the .npmrc of this repository')
}

async function command(title, program, args) {
  step(title)
  const code = await run(program, args)
  if (code !== 0) complain(`${title}: failed`)
}

checkTools()
await installPackages()
step('arrows and house rules')
rustArrows()
typeScriptArrows()
houseRules()
const module = (path) => join(root, 'node_modules', path)
await command('cargo fmt', 'cargo', ['fmt', '--all', '--check'])
await command('biome', process.execPath, [module('@biomejs/biome/bin/biome'), 'ci', '--error-on-warnings'])
await command('tsc', process.execPath, [module('typescript/bin/tsc'), '--noEmit', '-p', 'tsconfig.json'])
await command('cargo clippy', 'cargo', ['clippy', '--workspace', '--all-targets', '--quiet', '--', '-D', 'warnings'])
for (const text of problems) process.stdout.write(`${text}\n`)
process.stdout.write(problems.length === 0 ? 'lint: all clean\n' : `lint: ${problems.length} problem${problems.length === 1 ? '' : 's'}\n`)
process.exitCode = problems.length === 0 ? 0 : 1
