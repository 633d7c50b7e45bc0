// `npm run demo`: set-up, then `anonnet demo` with the same arguments.
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { root } from './lib.mjs'
import { setup } from './setup.mjs'

await setup()
const child = spawn(process.execPath, [join(root, 'dist', 'cli.cjs'), 'demo', ...process.argv.slice(2)], { stdio: 'inherit' })
// The terminal sends Ctrl-C to the whole group; the demo ends its processes and then itself.
process.on('SIGINT', () => undefined)
process.on('SIGTERM', () => child.kill('SIGTERM'))
process.on('SIGHUP', () => child.kill('SIGTERM'))
child.on('error', (error) => {
  process.stderr.write(`The demo could not be started: ${error.message}\n`)
  process.exit(1)
})
child.on('exit', (code) => process.exit(code ?? 1))
