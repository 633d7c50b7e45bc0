// A relay for small machines: the command in one file, its addon, a unit for systemd; and the same as one executable, Node included.
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fail, output, root, run, step, tool } from '../lib.mjs'
import { digest } from './inspect.mjs'
import { pack } from './tar.mjs'
import { addonName, manifest, nodes, ship, targets } from './targets.mjs'

const folder = join(ship, 'archives')
const baseName = (platform) => `anonnet-${manifest.version}-${platform}`
const read = (...path) => readFileSync(join(root, ...path))

const readme = (
  platform
) => `AnonNet ${manifest.version} for ${platform}: the command in one file, and its addon. It needs Node ${manifest.engines.node} and nothing else.

  node anonnet.cjs --help
  node anonnet.cjs relay --listen <the address of this machine>:9501 --config anonnet.toml

As a service of systemd:

  install -d /opt/anonnet /etc/anonnet && cp anonnet.cjs *.node /opt/anonnet/
  cp anonnet.toml /etc/anonnet/     # and fill in the bootstrap nodes and the address
  cp anonnet-relay.service /etc/systemd/system/ && systemctl enable --now anonnet-relay
`

/** Packs the relay's archive for a platform; returns its path. The same input gives the same bytes. */
export function packArchive(platform, addon) {
  mkdirSync(folder, { recursive: true })
  const entries = [
    { name: 'anonnet.cjs', body: read('dist', 'cli.cjs'), mode: 0o755 },
    { name: addonName(platform), body: readFileSync(addon), mode: 0o755 },
    { name: 'README.txt', body: Buffer.from(readme(platform)) },
    { name: 'LICENSE', body: read('LICENSE') },
    { name: 'THIRD_PARTY_LICENSES', body: read('dist', 'THIRD_PARTY_LICENSES') },
    { name: 'anonnet.toml', body: read('scripts', 'release', 'relay', 'anonnet.toml') },
    ...(platform.startsWith('linux-')
      ? [{ name: 'anonnet-relay.service', body: read('scripts', 'release', 'relay', 'anonnet-relay.service') }]
      : [])
  ]
  const file = join(folder, `${baseName(platform)}.tar.gz`)
  writeFileSync(file, pack(baseName(platform), entries))
  return file
}

/** A Node of npm's `node-linux-*` packages, fetched once; undefined where npm cannot get it. */
export async function fetchNode(platform, version) {
  const name = `node-${platform.replace(/-gnu$/, '')}`
  const into = join(ship, 'nodes', `${name}-${version}`)
  const node = join(into, 'node_modules', name, 'bin', 'node')
  if (existsSync(node)) return node
  step(`fetching Node ${version} for ${platform}`)
  mkdirSync(into, { recursive: true })
  writeFileSync(join(into, 'package.json'), '{ "private": true }\n')
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm'
  await run(npm, ['install', '--force', '--no-audit', '--no-fund', '--loglevel=error', '--fetch-retries=0', `${name}@${version}`], {
    cwd: into,
    quiet: true
  })
  return existsSync(node) ? node : undefined
}

/** The section that Node looks for, and the mark beside it that says there is one. */
const RESOURCE = 'NODE_SEA_BLOB'
const FUSE = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2'

/**
 * Makes the single executable of a platform; returns its path, or why there is none. Linux with glibc: there npm has a Node to put it in, and
 * nothing has to be signed. It is not stripped: that takes away the section which Node reads itself from.
 */
export async function makeSingle(platform, addon) {
  const target = targets.find((one) => one.platform === platform)
  if (target?.libc !== 'glibc') return { why: 'npm has no Node for this platform that the executable could be made of here' }
  const host = await fetchNode(`linux-${process.arch}`, nodes.oldest)
  const node = await fetchNode(platform, nodes.oldest)
  if (host === undefined || node === undefined) return { why: `Node ${nodes.oldest} for ${platform} could not be fetched` }
  const work = join(ship, 'single', platform)
  rmSync(work, { recursive: true, force: true })
  mkdirSync(work, { recursive: true })
  const blob = join(work, 'blob')
  const config = {
    main: 'cli.cjs',
    output: 'blob',
    disableExperimentalSEAWarning: true,
    useSnapshot: false,
    useCodeCache: false,
    assets: { addon: 'addon' }
  }
  // Relative names, or the folder of this machine would be written into the executable.
  copyFileSync(join(root, 'dist', 'cli.cjs'), join(work, 'cli.cjs'))
  copyFileSync(addon, join(work, 'addon'))
  writeFileSync(join(work, 'sea.json'), JSON.stringify(config))
  if (output(host, ['--experimental-sea-config', 'sea.json'], { cwd: work }) === undefined) return { why: 'Node made no blob of it' }
  const file = join(folder, baseName(platform))
  mkdirSync(folder, { recursive: true })
  copyFileSync(node, file)
  const code = await run(process.execPath, [tool('postject'), file, RESOURCE, blob, '--sentinel-fuse', FUSE], { quiet: true })
  if (code !== 0) return { why: 'postject could not put it into Node' }
  const licence = join(node, '..', '..', 'LICENSE')
  const entries = [
    { name: 'anonnet', body: readFileSync(file), mode: 0o755 },
    { name: 'LICENSE', body: read('LICENSE') },
    { name: 'THIRD_PARTY_LICENSES', body: read('dist', 'THIRD_PARTY_LICENSES') },
    ...(existsSync(licence) ? [{ name: 'LICENSE.node', body: readFileSync(licence) }] : [])
  ]
  const packed = join(folder, `${baseName(platform)}-single.tar.gz`)
  writeFileSync(packed, pack(`${baseName(platform)}-single`, entries))
  return { file, packed, bytes: statSync(file).size, packedBytes: statSync(packed).size }
}

/** The archives that are there, packed. */
export function archivesThere() {
  if (!existsSync(folder)) return []
  return readdirSync(folder)
    .filter((name) => name.endsWith('.tar.gz'))
    .map((name) => join(folder, name))
}

/** SHA256SUMS of everything that is published. */
export function writeSums(files) {
  const lines = files.map((file) => `${digest(readFileSync(file))}  ${file.split(/[/\\]/).pop()}\n`)
  if (lines.length === 0) fail('There is nothing to sum up: build an addon first.')
  writeFileSync(join(ship, 'SHA256SUMS'), lines.sort((a, b) => a.slice(66).localeCompare(b.slice(66), 'en')).join(''))
}
