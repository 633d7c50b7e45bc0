// What a release is made for. One row a platform: npm's words for it, the compiler's, and what it takes to link it.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../lib.mjs'

/** The oldest glibc that Node 20 itself runs on. */
const GLIBC = '2.28'
/** musl's C library is the system's, shared with Node: a plug-in cannot bring its own. */
const MUSL = ['-Ctarget-feature=-crt-static']
/** The oldest macOS that Node 20 runs on. */
const MACOS = { MACOSX_DEPLOYMENT_TARGET: '11.0' }

/**
 * `platform` is the name of the package and of the addon, `triple` what is compiled here.
 * Windows: Microsoft's SDK cannot be fetched everywhere, so the addon is built with the GNU tools. Node-API is plain C, so Node does not see
 * the difference; the name stays napi's.
 */
export const targets = [
  { platform: 'linux-x64-gnu', triple: 'x86_64-unknown-linux-gnu', glibc: GLIBC, os: 'linux', cpu: 'x64', libc: 'glibc' },
  { platform: 'linux-arm64-gnu', triple: 'aarch64-unknown-linux-gnu', glibc: GLIBC, os: 'linux', cpu: 'arm64', libc: 'glibc' },
  { platform: 'linux-x64-musl', triple: 'x86_64-unknown-linux-musl', flags: MUSL, os: 'linux', cpu: 'x64', libc: 'musl' },
  { platform: 'linux-arm64-musl', triple: 'aarch64-unknown-linux-musl', flags: MUSL, os: 'linux', cpu: 'arm64', libc: 'musl' },
  { platform: 'darwin-x64', triple: 'x86_64-apple-darwin', env: MACOS, os: 'darwin', cpu: 'x64' },
  { platform: 'darwin-arm64', triple: 'aarch64-apple-darwin', env: MACOS, os: 'darwin', cpu: 'arm64' },
  { platform: 'win32-x64-msvc', triple: 'x86_64-pc-windows-gnu', os: 'win32', cpu: 'x64' }
]

export const targetOf = (platform) => targets.find((target) => target.platform === platform)
export const packageName = (platform) => `@anonnet/${platform}`
export const addonName = (platform) => `anonnet.${platform}.node`

/** The Nodes that a release is tried with and that single executables are made of; npm's packages `node-linux-*` bring them. */
export const nodes = { oldest: '20.20.2', next: '22.23.3' }
/** For loading what was built for musl: the Node that PyPI has for it, and a release of Debian whose musl is new enough for that Node. */
export const muslParts = { node: '22.20.0', debian: 'trixie' }
/** From PyPI: zig is the linker and C compiler for every target. */
export const pythonTools = { ziglang: '0.17.1', 'cargo-zigbuild': '0.24.1' }

/** Where everything goes that a release consists of. */
export const ship = join(root, 'target', 'ship')
export const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

/** npm/<platform>/package.json, as it has to be. */
export function platformManifest({ platform, os, cpu, libc }) {
  return {
    name: packageName(platform),
    version: manifest.version,
    description: `The addon of anonnet for ${platform}.`,
    license: manifest.license,
    // npm's provenance compares it with where the package was built.
    ...(manifest.repository === undefined ? {} : { repository: manifest.repository }),
    main: addonName(platform),
    files: [addonName(platform), 'THIRD_PARTY_LICENSES'],
    engines: manifest.engines,
    os: [os],
    cpu: [cpu],
    ...(libc === undefined ? {} : { libc: [libc] })
  }
}

/** The package.json of `anonnet` that is published: what users need, and the platform packages of this very version. */
export function publishedManifest(platforms) {
  const { scripts: _scripts, devDependencies: _development, overrides: _overrides, napi: _napi, ...rest } = manifest
  return { ...rest, optionalDependencies: Object.fromEntries(platforms.map((platform) => [packageName(platform), manifest.version])) }
}
