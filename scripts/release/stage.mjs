// The npm packages of a release: staged in target/ship/npm, packed by npm into target/ship/tarballs.
import { copyFileSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fail, output, root, step } from '../lib.mjs'
import { addonName, packageName, platformManifest, publishedManifest, ship, targets } from './targets.mjs'

const json = (value) => `${JSON.stringify(value, null, 2)}\n`
const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm'

/** Writes npm/<platform>/ for every target; committed, and a test compares. */
export function writePlatformFolders() {
  for (const target of targets) {
    const folder = join(root, 'npm', target.platform)
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, 'package.json'), json(platformManifest(target)))
    writeFileSync(join(folder, 'README.md'), platformReadme(target))
  }
}

export function platformReadme({ platform }) {
  return `# ${packageName(platform)}\n\nThe addon of anonnet for ${platform}. Install \`anonnet\`, which brings it.\n`
}

/**
 * Stages and packs `anonnet` and the packages of the given platforms.
 *
 * @param addons platform -> file of its addon. Only these become optional dependencies: what was not built is not promised.
 * @returns the tarballs' paths, `anonnet` first.
 */
export function packAll(addons, folder = ship) {
  const [staged, tarballs] = [join(folder, 'npm'), join(folder, 'tarballs')]
  for (const made of [staged, tarballs]) {
    rmSync(made, { recursive: true, force: true })
    mkdirSync(made, { recursive: true })
  }
  const platforms = targets.map(({ platform }) => platform).filter((platform) => addons[platform] !== undefined)
  const main = join(staged, 'anonnet')
  mkdirSync(main)
  cpSync(join(root, 'dist'), join(main, 'dist'), { recursive: true })
  for (const name of ['README.md', 'LICENSE', 'CHANGELOG.md', 'SECURITY.md']) copyFileSync(join(root, name), join(main, name))
  writeFileSync(join(main, 'package.json'), json(publishedManifest(platforms)))
  for (const platform of platforms) {
    const own = join(staged, platform)
    cpSync(join(root, 'npm', platform), own, { recursive: true })
    copyFileSync(addons[platform], join(own, addonName(platform)))
    copyFileSync(join(root, 'LICENSE'), join(own, 'LICENSE'))
    copyFileSync(join(root, 'dist', 'THIRD_PARTY_LICENSES'), join(own, 'THIRD_PARTY_LICENSES'))
  }
  step(`packing anonnet and ${platforms.length} addon${platforms.length === 1 ? '' : 's'}`)
  return ['anonnet', ...platforms].map((name) => {
    const told = output(npm, ['pack', '--json', '--ignore-scripts', '--pack-destination', tarballs], { cwd: join(staged, name) })
    const file = told === undefined ? undefined : JSON.parse(told)[0]?.filename
    if (file === undefined) return fail(`\`npm pack\` failed in ${join('target', 'ship', 'npm', name)}: run it there to see why.`)
    return join(tarballs, file.replace('@', '').replace('/', '-'))
  })
}

/** The tarballs that are there, with their manifests, by the names of the packages. */
export function readTarballs(folder = ship) {
  const tarballs = join(folder, 'tarballs')
  if (!existsSync(tarballs)) return []
  return readdirSync(tarballs)
    .filter((name) => name.endsWith('.tgz'))
    .sort()
    .map((name) => ({ file: join(tarballs, name), bytes: readFileSync(join(tarballs, name)) }))
}
