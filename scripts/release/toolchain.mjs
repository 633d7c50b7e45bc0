// Finds what compiles for a target: zig with cargo-zigbuild, and a Rust that has the target's standard library or its source.
import { existsSync, mkdirSync, realpathSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'
import { output, root, run, step } from '../lib.mjs'
import { pythonTools, ship } from './targets.mjs'

/** The folder with cargo-zigbuild and a python that has ziglang, installed there once; undefined where neither is to be had. */
export async function zigTools() {
  const folder = join(ship, 'tools')
  const bin = join(folder, 'bin')
  const wanted = Object.entries(pythonTools).map(([name, version]) => `${name}==${version}`)
  if (!existsSync(join(bin, 'cargo-zigbuild'))) {
    step(`installing ${wanted.join(' and ')} from PyPI`)
    mkdirSync(ship, { recursive: true })
    const made = await run('python3', ['-m', 'venv', folder], { quiet: true })
    if (made !== 0 || (await run(join(bin, 'pip'), ['install', '--quiet', '--disable-pip-version-check', ...wanted])) !== 0)
      return undefined
  }
  return { bin, python: join(bin, 'python3'), versions: wanted.join(', ') }
}

const version = (rustc, env) => /^rustc (\S+)/.exec(output(rustc, ['-V'], { env }) ?? '')?.[1] ?? ''

/**
 * A Rust for the target. In turn: the one on the path, if it has the target's standard library; the same with the library's source, which is
 * then built along; a distribution's in /usr/bin, likewise. `undefined` where nothing fits.
 */
export function rustFor(triple) {
  const places = [
    { rustc: 'rustc', cargo: 'cargo' },
    { rustc: '/usr/bin/rustc', cargo: '/usr/bin/cargo' }
  ]
  for (const { rustc, cargo } of places) {
    const sysroot = output(rustc, ['--print', 'sysroot'])?.trim()
    if (sysroot === undefined || output(cargo, ['-V']) === undefined) continue
    const found = { rustc, cargo, version: version(rustc), source: join(sysroot, 'lib', 'rustlib', 'src', 'rust') }
    if (existsSync(join(sysroot, 'lib', 'rustlib', triple, 'lib'))) return { ...found, buildStd: false }
    if (existsSync(join(found.source, 'library', 'Cargo.lock'))) return { ...found, buildStd: true }
  }
  return undefined
}

/**
 * What rustc strips a Mach-O file with, put beside cargo-zigbuild where the Rust that compiles has none (Debian's): the one of another Rust on
 * the path, or LLVM's, which it is. It renews the signature that macOS on arm64 asks for.
 */
export function provideObjcopy(bin) {
  const file = join(bin, 'rust-objcopy')
  if (existsSync(file) || output('rust-objcopy', ['--version']) !== undefined) return
  const sysroot = output('rustc', ['--print', 'sysroot'])?.trim() ?? ''
  const host = /^host: (\S+)/m.exec(output('rustc', ['-vV']) ?? '')?.[1] ?? ''
  const own = join(sysroot, 'lib', 'rustlib', host, 'bin', 'rust-objcopy')
  const found = [own, ...(process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, 'llvm-objcopy'))].find((one) =>
    existsSync(one)
  )
  // rustup's finds its LLVM through rustc alone.
  if (found !== undefined)
    writeFileSync(file, `#!/bin/sh\nexec env LD_LIBRARY_PATH='${join(sysroot, 'lib')}' '${found}' "$@"\n`, { mode: 0o755 })
}

/** Folders of this machine that a compiler would write into an addon, and what stands there instead. */
function remapped(rust, folder) {
  const cargoHome = process.env.CARGO_HOME ?? join(homedir(), '.cargo')
  const library =
    rust?.source !== undefined && existsSync(rust.source)
      ? [
          [rust.source, 'rust'],
          [realpathSync(rust.source), 'rust']
        ]
      : []
  return [[folder, 'anonnet'], [join(cargoHome, 'registry', 'src'), 'registry'], ...library]
}

/** The environment in which cargo writes no path of this machine. Given for the target, so that it adds to what .cargo/config.toml says. */
export function reproducible(triple, rust, flags = [], folder = root) {
  const all = [...flags, ...remapped(rust, folder).map(([from, to]) => `--remap-path-prefix=${from}=${to}`)]
  return { [`CARGO_TARGET_${triple.toUpperCase().replaceAll('-', '_')}_RUSTFLAGS`]: all.join(' ') }
}

/** PATH with a folder in front. */
export const before = (folder) => `${folder}${delimiter}${process.env.PATH ?? ''}`
