// Two builds of one commit in two folders: the addon and the packages must be the same bytes.
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { output, root, run, step } from '../lib.mjs'
import { buildAddon } from './addon.mjs'
import { digest } from './inspect.mjs'
import { pack, unpack } from './tar.mjs'
import { addonName, ship } from './targets.mjs'

/** What git knows of, as it lies here, in another folder. */
function copyTo(folder) {
  for (const name of (output('git', ['ls-files']) ?? '').split('\n').filter((file) => file !== '' && existsSync(join(root, file)))) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    cpSync(join(root, name), join(folder, name))
  }
}

/** The first offsets at which two files differ. */
function difference(one, other) {
  let at = 0
  while (at < one.length && one[at] === other[at]) at += 1
  return `${one.length} and ${other.length} bytes, the first difference at ${at}`
}

/** Builds `target` again elsewhere, and dist/, and compares; `{ ok, lines }`. */
export async function repeat(target) {
  const folder = mkdtempSync(join(tmpdir(), 'anonnet-repeat-'))
  try {
    copyTo(folder)
    step(`building a second time in ${folder}`)
    const second = await buildAddon(target, { folder })
    if (!second.ok) return { ok: false, lines: [`the second build failed: ${second.why}`] }
    const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm'
    await run(npm, ['ci', '--loglevel=error', '--no-audit', '--no-fund'], { cwd: folder, quiet: true })
    const dist = await run(process.execPath, [join(folder, 'scripts', 'build-ts.mjs')], { cwd: folder, quiet: true })
    if (dist !== 0) return { ok: false, lines: ['the second dist/ could not be built'] }
    const lines = []
    let ok = true
    const compare = (name, one, other) => {
      const same = digest(one) === digest(other)
      ok &&= same
      lines.push(same ? `${name}: the same bytes, ${digest(one).slice(0, 16)}…` : `${name}: ${difference(one, other)}`)
    }
    const addon = join('addons', target.platform, addonName(target.platform))
    compare(addonName(target.platform), readFileSync(join(ship, addon)), readFileSync(join(folder, 'target', 'ship', addon)))
    for (const name of ['index.js', 'index.js.map', 'cli.cjs', 'THIRD_PARTY_LICENSES'])
      compare(`dist/${name}`, readFileSync(join(root, 'dist', name)), readFileSync(join(folder, 'dist', name)))
    return { ok, lines }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** The same entries packed twice, in another order: the same archive. */
export function archiveRepeats(file) {
  const bytes = readFileSync(file)
  const entries = unpack(bytes).map((entry) => ({ ...entry, name: entry.name.slice(entry.name.indexOf('/') + 1) }))
  const folder = unpack(bytes)[0]?.name.split('/')[0] ?? ''
  return digest(pack(folder, entries.reverse())) === digest(bytes)
}
