// Builds the addon for one target into target/ship/addons/<platform>/.
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { hashOf, output, root, run, step } from '../lib.mjs'
import { addonSources } from '../setup.mjs'
import { digest, findTraces, glibcNeeded } from './inspect.mjs'
import { addonName, ship } from './targets.mjs'
import { before, provideObjcopy, reproducible, rustFor, zigTools } from './toolchain.mjs'

export const addonFile = (platform) => join(ship, 'addons', platform, addonName(platform))

/** What an addon was made with, as written beside it; undefined when there is none, or one of other sources. */
export function madeWith(platform) {
  const file = join(ship, 'addons', platform, 'made.json')
  if (!existsSync(file) || !existsSync(addonFile(platform))) return undefined
  const made = JSON.parse(readFileSync(file, 'utf8'))
  return made.sources === hashOf(addonSources()) ? made : undefined
}

/** The names that Node exports and the addon imports, as an import library; and the library that napi-build looks for beside it, empty. */
async function windowsLibraries(zig, cargoRoot) {
  const folder = join(cargoRoot, 'target', 'ship', 'libnode')
  mkdirSync(folder, { recursive: true })
  const names = napiNames()
  writeFileSync(join(folder, 'node.def'), `LIBRARY node.exe\nEXPORTS\n${names.join('\n')}\n`)
  const made = await run(zig.python, ['-m', 'ziglang', 'dlltool', '-m', 'i386:x86-64', '-d', 'node.def', '-l', 'libnode.dll.a'], {
    cwd: folder
  })
  if (made !== 0) throw new Error('zig dlltool made no import library')
  copyFileSync(join(folder, 'libnode.dll.a'), join(folder, 'libnode.a'))
  copyFileSync(join(folder, 'libnode.dll.a'), join(folder, 'node.lib'))
  writeFileSync(join(folder, 'libnode.dll'), '')
  // Debian's standard library asks for GCC's stack protector, which nothing here uses and zig does not have.
  for (const name of ['libssp.a', 'libssp_nonshared.a']) writeFileSync(join(folder, name), '!<arch>\n')
  return { LIBNODE_PATH: folder }
}

/** Node-API's functions, out of the crate that declares them. */
function napiNames() {
  const metadata = JSON.parse(output('cargo', ['metadata', '--format-version', '1', '--locked']) ?? '{"packages":[]}')
  const crate = metadata.packages.find(({ name }) => name === 'napi-sys')
  if (crate === undefined) throw new Error('napi-sys is not among the dependencies')
  const source = readFileSync(join(crate.manifest_path, '..', 'src', 'functions.rs'), 'utf8')
  return [...new Set([...source.matchAll(/\bfn (napi_\w+|node_api_\w+)/g)].map(([, name]) => name))].sort()
}

/** For a trial: cargo's own profile for development, which optimises nothing here, stripped as a release is. It takes a third of the time. */
const UNOPTIMISED = ['opt-level=0', 'debug=false', 'strip=true', 'package."*".opt-level=0'].flatMap((setting) => [
  '--config',
  `profile.dev.${setting}`
])

/**
 * Builds, and says what came of it: `{ ok, why?, made? }`.
 *
 * @param options `folder` is the clone that is built; `trial` links only, unoptimised, and keeps nothing.
 */
export async function buildAddon(target, { folder = root, trial = false } = {}) {
  const { platform, triple } = target
  const zig = await zigTools()
  if (zig === undefined) return { ok: false, why: 'zig and cargo-zigbuild could not be installed from PyPI' }
  const rust = rustFor(triple)
  if (rust === undefined)
    return { ok: false, why: `no Rust here has the standard library of ${triple} or its source: \`rustup target add ${triple}\`` }
  if (target.os === 'darwin') provideObjcopy(zig.bin)
  step(`building the addon for ${platform} with Rust ${rust.version}${rust.buildStd ? ' and its standard library from source' : ''}`)
  const env = {
    ...reproducible(triple, rust, target.flags, folder),
    ...target.env,
    ...(target.os === 'win32' ? await windowsLibraries(zig, folder) : {}),
    ...(rust.buildStd ? { RUSTC_BOOTSTRAP: '1' } : {}),
    CARGO: rust.cargo,
    RUSTC: rust.rustc,
    CARGO_INCREMENTAL: '0',
    SOURCE_DATE_EPOCH: '0',
    PATH: before(zig.bin)
  }
  let library
  let compiled = 0
  const args = ['build', '--lib', '-p', 'anonnet-binding', '--locked', '--message-format=json-render-diagnostics']
  const code = await run(
    'cargo-zigbuild',
    [
      ...args,
      ...['--target', target.glibc === undefined ? triple : `${triple}.${target.glibc}`],
      ...['--target-dir', join(folder, 'target', 'cross')],
      ...(rust.buildStd ? ['-Z', 'build-std=std,panic_unwind'] : []),
      ...(trial ? UNOPTIMISED : ['--release'])
    ],
    {
      cwd: folder,
      env,
      quiet: true,
      onLine: (line) => {
        if (line.startsWith('{')) {
          const message = JSON.parse(line)
          if (message.reason !== 'compiler-artifact') return
          compiled += 1
          if (compiled % 40 === 0) step(`  ${compiled} crates`)
          if (message.target.kind.includes('cdylib') && message.package_id.includes('anonnet-binding')) library = message.filenames[0]
        } else if (!/^\s*(Compiling|Finished|Fresh|Blocking)/.test(line)) process.stderr.write(`  ${line}\n`)
      }
    }
  )
  if (code !== 0 || library === undefined) return { ok: false, why: 'it did not compile or link: see the messages above' }
  if (trial) return { ok: true, made: { platform, bytes: statSync(library).size } }
  return take(target, library, { rust: rust.version, buildStd: rust.buildStd, tools: zig.versions }, folder)
}

/** Puts a built addon in its place, if it tells nothing of this machine. */
function take({ platform, os, glibc }, library, how, folder = root) {
  const file = join(folder, 'target', 'ship', 'addons', platform, addonName(platform))
  const body = readFileSync(library)
  const traces = findTraces(body)
  if (traces.length > 0) return { ok: false, why: `it holds paths of this machine: ${traces.slice(0, 3).join(', ')}` }
  const needed = glibcNeeded(body)
  if (os === 'linux' && (glibc === undefined ? needed !== undefined : Number(needed?.slice(2)) > Number(glibc.slice(2))))
    return { ok: false, why: `it needs glibc ${needed}, and the platform has ${glibc ?? 'musl'}` }
  mkdirSync(dirname(file), { recursive: true })
  rmSync(file, { force: true })
  copyFileSync(library, file)
  const made = {
    platform,
    bytes: body.length,
    sha256: digest(body),
    sources: hashOf(addonSources()),
    ...(needed === undefined ? {} : { glibc: needed }),
    ...how
  }
  writeFileSync(join(dirname(file), 'made.json'), `${JSON.stringify(made, null, 2)}\n`)
  return { ok: true, made }
}

/** Takes the local build; the same result as `buildAddon`. */
export function adopt(target) {
  const local = join(root, addonName(target.platform))
  if (!existsSync(local)) return { ok: false, why: 'there is none: `npm run build` first' }
  return take(target, local, {
    rust: /^rustc (\S+)/.exec(output('rustc', ['-V']) ?? '')?.[1] ?? '',
    buildStd: false,
    tools: 'npm run build'
  })
}
