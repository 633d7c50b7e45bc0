// `npm run release`: everything of a release that can be made on this machine, then what was proven and what was not. The verbs are its steps,
// and docs/releasing.md tells them: addon [platform...], link [platform...], adopt, pack, check, prove, load, archive, repeat [platform], licences, sums, folders.
import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fail, root, step } from '../lib.mjs'
import { buildDist, checkTools, installPackages } from '../setup.mjs'
import { addonFile, adopt, buildAddon, madeWith } from './addon.mjs'
import { archivesThere, makeSingle, packArchive, writeSums } from './archive.mjs'
import { checkInstalled, checkTarballs, hostPlatform } from './check.mjs'
import { canTry, tryEmulated } from './emulated.mjs'
import { footprint } from './footprint.mjs'
import { checkLicences } from './licences.mjs'
import { archiveRepeats, repeat } from './repeat.mjs'
import { packAll, readTarballs, writePlatformFolders } from './stage.mjs'
import { addonName, ship, targetOf, targets } from './targets.mjs'

const say = (text = '') => process.stdout.write(`${text}\n`)
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(2)} MB`
const memory = (rss, own) => `${megabytes(rss)} resident, ${megabytes(own)} of it not pages of files`
/** Platform -> what is known of it, in words; the table at the end. */
const known = new Map()
const learn = (platform, text) => known.set(platform, [...(known.get(platform) ?? []), text])
const problems = []
const complain = (list) => {
  problems.push(...list)
  for (const problem of list) say(`  ${problem}`)
}

const built = () => targets.map(({ platform }) => platform).filter((platform) => madeWith(platform) !== undefined)
const addons = () => Object.fromEntries(built().map((platform) => [platform, addonFile(platform)]))

function targetNamed(platform) {
  return targetOf(platform) ?? fail(`There is no platform ${platform}: ${targets.map((target) => target.platform).join(', ')}.`)
}

async function addonStep(platforms) {
  for (const target of platforms.length === 0 ? targets : platforms.map(targetNamed)) {
    const { ok, why, made } = await buildAddon(target)
    if (ok) step(`${target.platform}: ${megabytes(made.bytes)}, sha256 ${made.sha256.slice(0, 16)}…`)
    else {
      learn(target.platform, `not built here: ${why}`)
      step(`${target.platform}: not built: ${why}`)
      // A platform that was asked for by name has to come out.
      if (platforms.length > 0) problems.push(`${target.platform}: ${why}`)
    }
  }
}

/** Whether a platform links at all, without waiting for the optimiser; nothing of it is kept. */
async function linkStep(platforms) {
  for (const target of platforms.length === 0 ? targets : platforms.map(targetNamed)) {
    const { ok, why } = await buildAddon(target, { trial: true })
    say(`${target.platform}: ${ok ? 'links' : `does not link: ${why}`}`)
    if (!ok) problems.push(`${target.platform}: ${why}`)
  }
}

function packStep() {
  if (built().length === 0) fail('There is no addon to pack: `npm run release -- addon` first.')
  const tarballs = packAll(addons())
  for (const file of tarballs) say(`${relative(root, file)}  ${megabytes(statSync(file).size)}`)
  return tarballs
}

const tarballsOf = (folder) => readTarballs(folder).map(({ file }) => file)

/** The short form: packages made of what `npm run build` made here. In CI. */
async function checkStep() {
  const platform = hostPlatform()
  const local = join(root, addonName(platform))
  if (!existsSync(local)) fail('There is no addon: run `npm run build` first.')
  const tarballs = packAll({ [platform]: local }, join(ship, 'short'))
  complain(await checkTarballs(tarballs))
  const { problems: found, done } = await checkInstalled(tarballs, platform)
  complain(found)
  const { problems: licences, how } = await checkLicences()
  complain(licences)
  for (const line of [...done, `licences by ${how}`]) say(line)
}

/** The packages of this release, as `pack` left them. */
async function proveStep() {
  const tarballs = tarballsOf()
  if (tarballs.length === 0) fail('There are no packages: `npm run release -- pack` first.')
  const main = tarballs.filter((file) => /anonnet-\d[^/\\]*\.tgz$/.test(file))
  const ordered = [...main, ...tarballs.filter((file) => !main.includes(file))]
  complain(await checkTarballs(ordered))
  const host = hostPlatform()
  if (built().includes(host)) {
    const { problems: found, done } = await checkInstalled(ordered, host)
    complain(found)
    for (const line of done) learn(host, line)
  }
  for (const platform of built().filter((name) => name !== host && canTry(targetOf(name)))) await loadOne(platform, false)
}

async function loadOne(platform, wanted) {
  const { ok, why, elsewhere, how, tests, fetched } = await tryEmulated(platform, addonFile(platform))
  if (ok) learn(platform, `${how}: the binding's tests (${tests}), ${fetched}`)
  else if (elsewhere && !wanted) learn(platform, `linked, never loaded: ${why}`)
  else complain([`${platform}: ${why}`])
}

/** Addons for another Linux, loaded: under qemu, or with musl. */
async function loadStep(platforms) {
  for (const platform of platforms) {
    if (!canTry(targetNamed(platform))) complain([`${platform}: it cannot be loaded on this machine`])
    else if (!built().includes(platform)) complain([`${platform}: there is no addon of these sources`])
    else await loadOne(platform, true)
  }
}

async function archiveStep() {
  const host = hostPlatform()
  const files = []
  for (const platform of built()) {
    const archive = packArchive(platform, addonFile(platform))
    if (!archiveRepeats(archive)) complain([`${platform}: its archive, packed again, is another one`])
    files.push(archive)
    say(`${relative(root, archive)}  ${megabytes(statSync(archive).size)}`)
    if (platform === host && process.platform === 'linux') {
      const { bytes, rss, own } = await footprint(archive, [process.execPath, 'anonnet.cjs'])
      say(`  unpacked ${megabytes(bytes)}; an idle relay on Node ${process.versions.node}: ${memory(rss, own)}`)
      learn(platform, 'the archive runs a relay')
    }
    const single = await makeSingle(platform, addonFile(platform))
    if (single.why !== undefined) {
      step(`${platform}: no single executable: ${single.why}`)
      continue
    }
    files.push(single.packed)
    say(`${relative(root, single.packed)}  ${megabytes(single.packedBytes)}, the executable ${megabytes(single.bytes)}`)
    if (platform === host) {
      const { rss, own } = await footprint(single.packed, ['./anonnet'])
      say(`  an idle relay: ${memory(rss, own)}`)
      learn(platform, 'the single executable runs a relay')
    }
  }
  return files
}

async function repeatStep(platform = hostPlatform()) {
  if (!built().includes(platform)) await addonStep([platform])
  if (problems.length > 0) return
  const { ok, lines } = await repeat(targetNamed(platform))
  for (const line of lines) say(line)
  if (!ok) complain([`${platform}: two builds of one commit differ`])
  else learn(platform, 'built twice, in two folders, with the same bytes')
}

/** Takes what `npm run build` made on this system into the release: macOS and Windows build their own addons in CI. */
function adoptStep() {
  const { ok, why, made } = adopt(targetNamed(hostPlatform()))
  if (!ok) fail(`The addon cannot be taken: ${why}.`)
  step(`${made.platform}: ${megabytes(made.bytes)}, sha256 ${made.sha256.slice(0, 16)}…`)
}

async function licencesStep() {
  const { problems: found, how } = await checkLicences()
  complain(found)
  say(
    `licences, bans and sources by ${how}: ${found.length === 0 ? 'as deny.toml says' : `${found.length} problems`}; advisories were not looked at`
  )
}

function table() {
  say('\nplatform           addon      made with           what was done with it here')
  for (const { platform } of targets) {
    const made = madeWith(platform)
    const how = made === undefined ? '' : `Rust ${made.rust}${made.buildStd ? ' + std' : ''}`
    const done = known.get(platform) ?? (made === undefined ? ['not built'] : ['linked, never loaded'])
    say(`${platform.padEnd(18)} ${(made === undefined ? '-' : megabytes(made.bytes)).padEnd(10)} ${how.padEnd(19)} ${done.join('; ')}`)
  }
}

async function everything() {
  await addonStep([])
  const tarballs = packStep()
  await proveStep()
  const archives = await archiveStep()
  await repeatStep()
  await licencesStep()
  mkdirSync(ship, { recursive: true })
  writeSums([...tarballs, ...archives])
  writeFileSync(join(ship, 'platforms.json'), `${JSON.stringify(Object.fromEntries(known), null, 2)}\n`)
  table()
  say(
    `\n${readdirSync(join(ship, 'tarballs')).length} packages and ${archives.length} archives in ${relative(root, ship)}, with SHA256SUMS`
  )
}

const verbs = {
  addon: (platforms) => addonStep(platforms),
  link: (platforms) => linkStep(platforms),
  adopt: adoptStep,
  pack: packStep,
  check: checkStep,
  prove: () => proveStep().then(table),
  load: (platforms) => loadStep(platforms).then(table),
  archive: archiveStep,
  repeat: ([platform]) => repeatStep(platform),
  licences: licencesStep,
  sums: () => writeSums([...tarballsOf(), ...archivesThere()]),
  folders: writePlatformFolders,
  refuse: () => fail('Packages are published out of target/ship/tarballs, where `npm run release` puts them: see docs/releasing.md.')
}

const [verb, ...rest] = process.argv.slice(2)
if (verb !== undefined && !Object.hasOwn(verbs, verb)) {
  process.stderr.write(`usage: npm run release [-- ${Object.keys(verbs).join(' | ')}]\n`)
  process.exit(2)
}
if (!['folders', 'refuse'].includes(verb)) {
  checkTools()
  await installPackages()
  await buildDist()
}
await (verb === undefined ? everything() : verbs[verb](rest))
if (problems.length > 0) say(`release: ${problems.length} problem${problems.length === 1 ? '' : 's'}`)
process.exitCode = problems.length > 0 ? 1 : 0
