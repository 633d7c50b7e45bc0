// `npm run build:min [-- --test | --stable]`: the smallest addon, to target/min/anonnet.node. The standard library is built with it, for size,
// and a panic ends the process at once, without a word (`panic = "immediate-abort"`, which once was the feature panic_immediate_abort).
// `--test` runs the TypeScript tests with it. `--stable`: profile minsizerel of the stable compiler, to target/minsizerel/anonnet.node.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { buildLibrary, fail, hostTriple, output, root, run, step } from './lib.mjs'
import { checkTools, setup } from './setup.mjs'

const HOW =
  'No toolchain here can build the standard library: get one with `rustup toolchain install nightly --component rust-src`, or with `apt install rustc-web cargo-web rust-web-src`.'

/** `panic = "immediate-abort"` came with 1.91, and cargo's form of it with it. */
const usable = (rustc, env) => {
  const version = output(rustc[0], [...rustc.slice(1), '-vV'], { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'ignore'] })
  const sysroot = output(rustc[0], [...rustc.slice(1), '--print=sysroot'], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'ignore']
  })
  if (version === undefined || sysroot === undefined) return undefined
  const [, major, minor] = /^release: (\d+)\.(\d+)/m.exec(version) ?? []
  const source = join(sysroot.trim(), 'lib', 'rustlib', 'src', 'rust', 'library', 'Cargo.lock')
  return Number(major) === 1 && Number(minor) >= 92 && existsSync(source) ? version.split('\n', 1)[0] : undefined
}

/** A toolchain that can build the standard library: rustup's nightly with rust-src, else the distribution's. */
export function toolchain() {
  const nightly = usable(['rustc', '+nightly'])
  if (nightly !== undefined) return { what: `rustup's nightly, ${nightly}`, program: 'cargo', first: ['+nightly'], env: {} }
  const env = { RUSTC: '/usr/bin/rustc', RUSTC_BOOTSTRAP: '1' }
  const own = existsSync('/usr/bin/cargo') ? usable(['/usr/bin/rustc'], env) : undefined
  if (own !== undefined) return { what: `the distribution's, ${own}`, program: '/usr/bin/cargo', first: [], env }
  return undefined
}

/**
 * What every size build has besides the flags of .cargo/config.toml: with panics that abort nothing is unwound. All that a node does, with the
 * smaller of the two ML-KEM.
 */
const flags = (...more) => [
  '--no-default-features',
  '--features',
  'exit,metrics,proxy',
  '--config',
  `target."cfg(all())".rustflags=${JSON.stringify(['-Cforce-unwind-tables=no', ...more])}`
]

/**
 * Addresses in the addon as offsets in a bitmap: 20 KB less, for C libraries since glibc 2.36. The linker must know it too, and marks what it
 * links so that an older library refuses it with a sentence.
 */
function relocations() {
  const { header } = process.report.getReport()
  const [major = 0, minor = 0] = (header.glibcVersionRuntime ?? '0.0').split('.').map(Number)
  const here = process.platform === 'linux' && (major > 2 || (major === 2 && minor >= 36))
  return here && (output('cc', ['-Wl,--help']) ?? '').includes('pack-relative-relocs') ? ['-Clink-arg=-Wl,-z,pack-relative-relocs'] : []
}

/** Builds profile minsizerel with the compiler that builds everything else; options as for `buildLibrary`. */
export async function buildStable(target, options = {}) {
  return await buildLibrary(target, ['--profile', 'minsizerel', ...flags()], options)
}

/** Builds the smallest addon; undefined where no toolchain can. */
export async function buildMin(target, options = {}) {
  const found = toolchain()
  if (found === undefined) return undefined
  step(`building the standard library and the addon with ${found.what}`)
  const args = [
    ...['--profile', 'minsizerel', '--target', hostTriple(), '--target-dir', join(root, 'target', 'min')],
    ...['-Z', 'build-std=std,panic_abort', '-Z', 'build-std-features=optimize_for_size'],
    ...['-Z', 'panic-immediate-abort', '--config', 'profile.minsizerel.panic="immediate-abort"'],
    // Nobody sees where a panic was or what `{:?}` would print: such a build says nothing when it ends.
    ...flags('-Zlocation-detail=none', '-Zfmt-debug=none', ...relocations())
  ]
  await buildLibrary(target, args, { ...options, program: found.program, first: found.first, env: found.env })
  return found.what
}

/** The tests that use the addon, with another one. */
async function test(addon) {
  const args = ['scripts/test.mjs', 'ts', 'test/binding', 'test/e2e', 'test/property', 'test/unit']
  return await run(process.execPath, args, { env: { ANONNET_ADDON: addon } })
}

async function main() {
  const [flag, ...rest] = process.argv.slice(2)
  if (rest.length > 0 || (flag !== undefined && flag !== '--test' && flag !== '--stable')) {
    process.stderr.write('usage: npm run build:min [-- --test | --stable]\n')
    process.exit(2)
  }
  checkTools()
  if (flag === '--stable') {
    process.stdout.write(`${await buildStable(join(root, 'target', 'minsizerel', 'anonnet.node'))}\n`)
    return
  }
  const target = join(root, 'target', 'min', 'anonnet.node')
  const used = await buildMin(target)
  if (used === undefined) fail(HOW)
  process.stdout.write(`${target}, built with ${used}\n`)
  if (flag !== '--test') return
  await setup()
  process.exitCode = await test(target)
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main()
