// Makes a fresh clone ready: checks the tools, installs packages, builds the addon and dist/. Each part is skipped while nothing it reads has changed.
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import {
  atLeast,
  fail,
  findCargo,
  hashOf,
  hostTriple,
  minimumNode,
  minimumRust,
  output,
  readStamp,
  root,
  run,
  step,
  tool,
  walk,
  writeStamp
} from './lib.mjs'
import { reproducible } from './release/toolchain.mjs'

/** Says in one sentence what is missing and how to get it, and ends; returns what identifies the compiler. */
export function checkTools() {
  if (!atLeast(process.versions.node, minimumNode)) {
    fail(
      `AnonNet needs Node.js ${minimumNode.join('.')} or later and this is ${process.versions.node}: get it from https://nodejs.org/ or with \`nvm install 20\`.`
    )
  }
  findCargo()
  const rustc = output('rustc', ['-vV'])
  if (!rustc || !output('cargo', ['-V'])) {
    fail('AnonNet needs Rust (cargo and rustc) and there is none on the path: get it from https://rustup.rs/ and run this again.')
  }
  const version = /^release: (.+)$/m.exec(rustc)?.[1] ?? '0'
  if (!atLeast(version, minimumRust)) {
    fail(`AnonNet needs Rust ${minimumRust.join('.')} or later and this is ${version}: get it with \`rustup update stable\`.`)
  }
  if (process.platform !== 'win32' && !['cc', 'gcc', 'clang'].some((name) => output(name, ['--version']))) {
    fail(
      'AnonNet needs a C compiler for linking and there is none on the path: get it with `apt install build-essential`, or on macOS `xcode-select --install`.'
    )
  }
  return rustc
}

/** Installs exactly what package-lock.json says, when it is not installed yet. */
export async function installPackages() {
  const wanted = hashOf(['package-lock.json', '.npmrc'])
  const folder = join(root, 'node_modules')
  if (readStamp('.anonnet', folder) === wanted) return
  step('installing npm packages')
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm'
  const code = await run(npm, ['ci', '--loglevel=error', '--no-audit', '--no-fund'])
  if (code !== 0)
    fail('`npm ci` failed: see its message above; it needs the network once, to fetch the packages that package-lock.json names.')
  writeStamp('.anonnet', wanted, folder)
}

const isAddon = (name) => /^anonnet\..*\.node$/.test(name)
const addonFile = () => readdirSync(root).find(isAddon)

/** Moves what napi made into the root. By rename: a process that has the old addon loaded keeps it, where writing over it would crash it. */
function install(folder) {
  for (const name of readdirSync(folder)) {
    const [from, to] = [join(folder, name), join(root, name)]
    if (!isAddon(name) && existsSync(to) && readFileSync(to).equals(readFileSync(from))) continue
    renameSync(from, to)
  }
}

/** What the addon is made of. */
export const addonSources = () => [
  'Cargo.toml',
  'Cargo.lock',
  'build.rs',
  ...walk('.cargo'),
  ...walk('crates', (name) => name.endsWith('Cargo.toml') || (/\/src\/.*\.rs$/.test(name) && !/\/tests?(\/|\.rs)/.test(name)))
]

/** Builds the addon with napi: anonnet.<platform>.node, index.js and index.d.ts in the root. */
export async function buildAddon(rustc) {
  // What is loaded into other people's programs tells nobody where it was built, and is the same wherever that was.
  const env = reproducible(hostTriple())
  const wanted = hashOf(addonSources(), rustc, 'no paths')
  if (addonFile() && readStamp('addon') === wanted) return
  step('building the addon (the first time takes some minutes)')
  const made = join(root, 'target', 'napi')
  rmSync(made, { recursive: true, force: true })
  mkdirSync(made, { recursive: true })
  let compiled = 0
  const code = await run(
    tool('napi'),
    ['build', '--platform', '--release', '--esm', '--output-dir', made, '--js', 'index.js', '--dts', 'index.d.ts'],
    {
      env,
      quiet: process.env.ANONNET_VERBOSE === undefined,
      onLine: (line) => {
        if (/^\s*Compiling /.test(line)) {
          compiled += 1
          if (compiled % 20 === 0 || line.includes('anonnet')) step(`  ${line.trim().replace(/ \(.*\)$/, '')} (${compiled} crates)`)
        } else if (/^\s*(error|warning: unused|Finished|Blocking)/.test(line) || / error/i.test(line)) {
          step(`  ${line.trim()}`)
        }
      }
    }
  )
  if (code === 0) install(made)
  if (code !== 0 || !addonFile()) fail('Building the addon failed: run `ANONNET_VERBOSE=1 npm run build` to see the compiler at work.')
  writeStamp('addon', wanted)
}

/** Builds dist/: the library, the command, the types. */
export async function buildDist() {
  const sources = [
    ...walk('ts'),
    'package.json',
    'package-lock.json',
    'Cargo.lock',
    'tsconfig.json',
    'tsconfig.build.json',
    'scripts/build-ts.mjs'
  ]
  const wanted = hashOf(sources)
  const made = ['index.js', 'index.d.ts', 'cli.cjs'].every((name) => existsSync(join(root, 'dist', name)))
  if (made && readStamp('dist') === wanted) return
  step('building the library and the command')
  const { buildTypeScript } = await import('./build-ts.mjs')
  await buildTypeScript()
  writeStamp('dist', wanted)
}

/** Everything, in order; quick when there is nothing to do. */
export async function setup() {
  const rustc = checkTools()
  await installPackages()
  await buildAddon(rustc)
  await buildDist()
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  await setup()
  step('ready')
}
