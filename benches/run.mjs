// `npm run bench -- addons FILE|chain|embed|services|soak|tor [--wan|--check] [--only PARTS] [--short]`: macro benchmarks of the addon that the default
// build ships. Ratios and bounds of the same run are what counts: machines are noisy. Results go to benches/results/ and to standard output.
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const benches = ['addons', 'chain', 'embed', 'services', 'soak', 'tor']
const [name, ...rest] = process.argv.slice(2)
const allowed = name === 'tor' ? ['--short', '--wan', '--only', '--check'] : ['--short']
// `addons` has one more word, the file of the other addon; `--only` has one, the parts.
const words = rest.filter((word) => !word.startsWith('--'))
const flags = rest.filter((word) => word.startsWith('--'))
const isPart = flags.includes('--only')
const only = isPart ? (words[0]?.split(',') ?? ['']) : []
const parts = ['idle', 'rounds', 'services', 'load', 'startup', 'crowd']
const isWide = flags.includes('--wan')
const isCheck = flags.includes('--check')
const wordsMost = isPart || name === 'addons' ? 1 : 0
if (
  !benches.includes(name) ||
  words.length > wordsMost ||
  (isPart && (isWide || isCheck)) ||
  [...flags.filter((flag) => !allowed.includes(flag)), ...only.filter((part) => !parts.includes(part))].length > 0
) {
  process.stderr.write(`usage: npm run bench -- ${benches.join('|')} [--short]; tor also has --check, --wan and --only ${parts.join()}\n`)
  process.exit(2)
}
execFileSync(process.execPath, [fileURLToPath(new URL('../scripts/setup.mjs', import.meta.url)), '--build'], { stdio: ['ignore', 2, 2] })
// Only now: what it needs may just have been installed or built.
const module = isCheck ? 'check' : isWide ? 'wan' : name
const { [module]: bench } = await import(isCheck ? './lib/tor/check.mjs' : `./${module}.mjs`)
const folder = new URL('./results/', import.meta.url)
mkdirSync(folder, { recursive: true })
// Chosen parts do not take the place of a whole run.
const file = isWide ? 'tor-wan' : isCheck ? 'tor-check' : isPart ? 'tor-part' : name
/** Long benches save what they have after each part, so that what fails later loses nothing. */
const save = ({ figures, files = {} }) => {
  writeFileSync(new URL(`${file}.json`, folder), `${JSON.stringify(figures, null, 2)}\n`)
  for (const [ending, content] of Object.entries(files)) writeFileSync(new URL(`${file}.${ending}`, folder), content)
}
const report = await bench({ short: flags.includes('--short'), addon: words[0], only, save })
save(report)
process.stdout.write(`${report.text}\n`)
process.exit(report.ok ? 0 : 1)
