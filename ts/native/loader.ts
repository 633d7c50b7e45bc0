/**
 * Finds and loads the addon: an explicit path; what a single executable or an archive brings along, where this is one; the local build; the
 * platform package; else one error that says why each try failed.
 */

import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { errorFromCode } from '../errors/index.js'
import { isSingleExecutable, loadInside } from './inside.js'
import type { NativeAddon } from './types.js'

const PACKAGE_NAME = 'anonnet'
const BINARY_NAME = 'anonnet'
/** An error message has room for the reasons of two tries. */
const MAX_REASON_CHARS = 60

/** This file. The build gives the CommonJS bundle of the command an `import.meta.url`; `__filename` is a global of `node -e`, and not ours. */
function thisFile(): string {
  return fileURLToPath(import.meta.url)
}

/** The C library that this Node was built for; Linux only. */
function isMusl(): boolean {
  // Without this the report looks up the names of all open sockets' peers, which can take seconds.
  const report = process.report as NodeJS.ProcessReport & { excludeNetwork?: boolean }
  const before = report.excludeNetwork
  report.excludeNetwork = true
  try {
    return (report.getReport() as { header?: { glibcVersionRuntime?: string } }).header?.glibcVersionRuntime === undefined
  } finally {
    report.excludeNetwork = before ?? false
  }
}

/** The suffix of platform packages and binaries, as napi-rs names them: 'linux-x64-gnu', 'darwin-arm64', 'win32-x64-msvc'. */
export function platformName(platform: string = process.platform, arch: string = process.arch, musl: () => boolean = isMusl): string {
  if (platform === 'linux') return `${platform}-${arch}-${musl() ? 'musl' : 'gnu'}`
  if (platform === 'win32') return `${platform}-${arch}-msvc`
  return `${platform}-${arch}`
}

/** The folder of the package that this file belongs to; undefined when it was bundled away from it. */
export function packageRoot(from: string = thisFile()): string | undefined {
  for (let folder = dirname(from); ; folder = dirname(folder)) {
    const file = join(folder, 'package.json')
    if (existsSync(file)) {
      try {
        if ((JSON.parse(readFileSync(file, 'utf8')) as { name?: unknown }).name === PACKAGE_NAME) return folder
      } catch {
        // A broken package.json of somebody else on the way up is not ours to complain about.
      }
    }
    if (dirname(folder) === folder) return undefined
  }
}

interface Try {
  what: string
  id: string
  /** Default: what `require` does. */
  load?: (require: NodeJS.Require) => unknown
}

function tries(env: NodeJS.ProcessEnv, root: string | undefined, here: string): Try[] {
  const explicit = env.ANONNET_ADDON
  // An explicit path is an order: falling back to another binary would hide that it is wrong.
  if (explicit !== undefined && explicit !== '') return [{ what: 'ANONNET_ADDON', id: explicit }]
  const platform = platformName()
  const file = `${BINARY_NAME}.${platform}.node`
  if (isSingleExecutable()) return [{ what: 'the addon inside', id: file, load: (require) => loadInside(require, file) }]
  // A relay's archive has the command and its addon in one folder, and no packages around them.
  const beside = join(here, file)
  if (existsSync(beside)) return [{ what: 'the addon beside the command', id: beside }]
  const list: Try[] = []
  if (root !== undefined) list.push({ what: 'the local build', id: join(root, file) })
  const id = `@${PACKAGE_NAME}/${platform}`
  list.push({ what: `the package ${id}`, id })
  return list
}

function reason(error: unknown, id: string): string {
  const code = (error as NodeJS.ErrnoException).code
  if (code === 'MODULE_NOT_FOUND' || (id.startsWith('/') && !existsSync(id))) return 'not there'
  // The first line only: the rest of a MODULE_NOT_FOUND or dlopen message is a list of paths of this machine.
  const text = String((error as Error).message ?? error).split('\n', 1)[0] ?? ''
  return text.slice(0, MAX_REASON_CHARS)
}

/**
 * Loads the addon without a cache; `loadAddon` is what others use.
 *
 * @throws ERR_ANONNET_UNSUPPORTED when nothing could be loaded; the message names the package, each try and the command that mends it.
 */
export function findAddon(
  env: NodeJS.ProcessEnv = process.env,
  root: string | undefined = packageRoot(),
  here: string = dirname(thisFile())
): NativeAddon {
  const require = createRequire(thisFile())
  const failures: string[] = []
  let last: unknown
  for (const { what, id, load } of tries(env, root, here)) {
    try {
      return (load === undefined ? require(id) : load(require)) as NativeAddon
    } catch (error) {
      failures.push(`${what}: ${reason(error, id)}`)
      last = error
    }
  }
  throw errorFromCode('ERR_ANONNET_UNSUPPORTED', {
    detail: `no addon of ${PACKAGE_NAME} for ${platformName()}; to mend it: ${mend(root, here)}; tried ${failures.join(', ')}`,
    cause: last
  })
}

/** What to do about it, by how this came here. */
function mend(root: string | undefined, here: string): string {
  if (isSingleExecutable()) return 'set TMPDIR to a folder from which programs may run'
  if (existsSync(join(here, `${BINARY_NAME}.${platformName()}.node`))) return 'unpack the archive of this version again'
  return root !== undefined && existsSync(join(root, 'Cargo.toml')) ? 'npm run build' : `npm install ${PACKAGE_NAME} --include=optional`
}

let loaded: NativeAddon | undefined

/** The addon, loaded once a thread. Throws as `findAddon`. */
export function loadAddon(): NativeAddon {
  loaded ??= findAddon()
  return loaded
}
