// `npm run size`: the stripped addon in both profiles against its budget; 1 MB = 10^6 bytes.
import { copyFileSync, mkdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fail, output, root, run, step } from './lib.mjs'
import { checkTools } from './setup.mjs'

const budgets = [
  // Without the larger, faster ML-KEM.
  { profile: 'minsizerel', megabytes: 2.3, features: ['--no-default-features'] },
  { profile: 'release', megabytes: 2.8 }
]
// Measured from the packages on the npm registry, Linux x64.
const others = [
  { name: '@number0/iroh', megabytes: 20.7 },
  { name: '@chainsafe/libp2p-quic', megabytes: 3.9 }
]

async function build(profile, features = []) {
  step(`building profile ${profile}`)
  let library
  const args = [
    'build',
    '-p',
    'anonnet-binding',
    '--lib',
    '--profile',
    profile,
    ...features,
    '--message-format=json-render-diagnostics',
    '--quiet'
  ]
  const code = await run('cargo', args, {
    quiet: true,
    onLine: (line) => {
      if (!line.startsWith('{')) return
      const message = JSON.parse(line)
      if (message.reason === 'compiler-artifact' && message.target.kind.includes('cdylib')) library = message.filenames[0]
    }
  })
  if (code !== 0 || library === undefined)
    fail(`Building profile ${profile} failed: run \`cargo build -p anonnet-binding --profile ${profile}\` to see why.`)
  const folder = join(root, 'target', 'size')
  mkdirSync(folder, { recursive: true })
  const copy = join(folder, `anonnet.${profile}.node`)
  rmSync(copy, { force: true })
  copyFileSync(library, copy)
  // The profiles strip already; a strip that is at hand makes sure of it.
  output('strip', [process.platform === 'darwin' ? '-x' : '--strip-unneeded', copy])
  return statSync(copy).size
}

checkTools()
const rows = []
let over = false
for (const { profile, megabytes, features } of budgets) {
  const bytes = await build(profile, features)
  const ok = bytes <= megabytes * 1e6
  over ||= !ok
  rows.push({
    name: `anonnet, ${profile}`,
    bytes: String(bytes),
    megabytes: (bytes / 1e6).toFixed(2),
    budget: megabytes.toFixed(1),
    verdict: ok ? 'within' : 'over'
  })
}
for (const other of others) rows.push({ name: other.name, bytes: '', megabytes: other.megabytes.toFixed(1), budget: '', verdict: '' })
const line = (row) =>
  `${row.name.padEnd(26)} ${row.bytes.padStart(10)} ${row.megabytes.padStart(8)} ${row.budget.padStart(8)}  ${row.verdict}`
process.stdout.write(`${line({ name: 'addon, stripped', bytes: 'bytes', megabytes: 'MB', budget: 'budget', verdict: '' }).trimEnd()}\n`)
for (const row of rows) process.stdout.write(`${line(row).trimEnd()}\n`)
process.exitCode = over ? 1 : 0
