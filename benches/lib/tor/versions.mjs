// What was measured, and on what.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus, release } from 'node:os'

const root = new URL('../../../', import.meta.url)

/** Versions by name; `tor` is Tor's. */
export function versionsOf(tor) {
  const output = (...command) => {
    try {
      return execFileSync(command[0], command.slice(1), { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
    } catch {
      return 'unknown'
    }
  }
  const { version } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8'))
  return {
    tor,
    anonnet: `${version} (${output('git', 'rev-parse', '--short', 'HEAD')})`,
    node: process.version,
    rust: output('rustc', '--version').split(' ')[1] ?? 'unknown',
    linux: release(),
    processors: `${cpus().length} of ${cpus()[0]?.model}`
  }
}
