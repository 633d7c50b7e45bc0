/**
 * The addon inside a single executable: an asset, since the system's loader takes a file and nothing else.
 */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** The name of the asset; scripts/release/single.mjs puts it there. */
const ASSET = 'addon'

interface Sea {
  isSea(): boolean
  getRawAsset(key: string): ArrayBuffer
}

/** The part of Node that knows single executables; undefined in a process that is none. */
function executable(): Sea | undefined {
  const sea = process.getBuiltinModule('node:sea') as Sea | undefined
  return sea?.isSea() === true ? sea : undefined
}

/** Whether this process is a single executable, which has no script beside it. */
export function isSingleExecutable(): boolean {
  return executable() !== undefined
}

/**
 * Loads the addon out of this executable. It lies in a folder of its own, which nobody else may enter, until it is loaded.
 *
 * @param file the name that it gets there.
 */
export function loadInside(require: NodeJS.Require, file: string, sea: Pick<Sea, 'getRawAsset'> | undefined = executable()): unknown {
  if (sea === undefined) throw new Error('no single executable')
  const folder = mkdtempSync(join(tmpdir(), 'anonnet-'))
  try {
    const path = join(folder, file)
    writeFileSync(path, Buffer.from(sea.getRawAsset(ASSET)), { mode: 0o500, flag: 'wx' })
    return require(path)
  } finally {
    try {
      rmSync(folder, { recursive: true, force: true })
    } catch {
      // Windows keeps a library that is loaded: the system's own cleaning takes it.
    }
  }
}
