// What the profile needs and the product does not ship: the addon of the release profile with its symbols and frame pointers, the flame
// graph's renderer, and a library that counts allocations.
import { copyFileSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fail, output, root, run, step } from '../../scripts/lib.mjs'

export const folder = join(root, 'target', 'profile')
export const results = join(root, 'benches', 'results')

/** Runs cargo and returns the artifact of the target that `wanted` accepts. */
async function cargo(args, wanted, what) {
  step(`building ${what}`)
  let file
  const code = await run('cargo', ['build', '--release', '--quiet', '--message-format=json-render-diagnostics', ...args], {
    quiet: true,
    onLine: (line) => {
      if (!line.startsWith('{')) return
      const message = JSON.parse(line)
      if (message.reason === 'compiler-artifact' && wanted(message)) file = message.executable ?? message.filenames[0]
    }
  })
  if (code !== 0 || !file) fail(`Building ${what} failed: run \`cargo build --release ${args.join(' ')}\` to see why.`)
  return file
}

/** The addon as it is shipped, but with symbols, line tables and frame pointers, by which call graphs are cheap to record. */
export async function buildAddon() {
  const settings = [
    'profile.release.package.anonnet-binding.strip=false',
    'profile.release.strip=false',
    'profile.release.debug="line-tables-only"',
    'target."cfg(all())".rustflags=["-Cforce-frame-pointers=yes"]'
  ].flatMap((setting) => ['--config', setting])
  const library = await cargo(
    ['-p', 'anonnet-binding', '--target-dir', folder, ...settings],
    (message) => message.target.kind.includes('cdylib'),
    'the addon with symbols'
  )
  const addon = join(folder, 'anonnet.profile.node')
  // A process that has the old one loaded keeps it.
  rmSync(addon, { force: true })
  copyFileSync(library, addon)
  return addon
}

export const buildFlame = () =>
  cargo(
    ['--manifest-path', join(root, 'benches', 'flame', 'Cargo.toml'), '--target-dir', join(folder, 'flame')],
    (message) => message.target.name === 'anonnet-flame' && message.executable,
    'the flame graph renderer'
  )

/** The library that counts, or undefined where there is no glibc or no C compiler. */
export function buildCounter() {
  mkdirSync(folder, { recursive: true })
  const library = join(folder, 'count-alloc.so')
  const source = join(root, 'benches', 'lib', 'count-alloc.c')
  return output('cc', ['-O2', '-shared', '-fPIC', '-o', library, source]) === undefined ? undefined : library
}
