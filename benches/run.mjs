// `npm run bench -- addons FILE|chain|embed|services|soak|tor [--wan] [--short]`: macro benchmarks of the addon that the default build ships. Ratios and bounds of
// the same run are what counts: machines are noisy. Results go to benches/results/ and to standard output.
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const benches = ['addons', 'chain', 'embed', 'services', 'soak', 'tor']
const [name, ...rest] = process.argv.slice(2)
const allowed = name === 'tor' ? ['--short', '--wan'] : ['--short']
// `addons` has one more word: the file of the other addon.
const [addon] = name === 'addons' ? rest.filter((word) => !allowed.includes(word)) : []
const flags = rest.filter((word) => word !== addon)
if (!benches.includes(name) || flags.some((flag) => !allowed.includes(flag))) {
  process.stderr.write(`usage: npm run bench -- ${benches.join('|')} [--short]; tor also has --wan\n`)
  process.exit(2)
}
execFileSync(process.execPath, [fileURLToPath(new URL('../scripts/setup.mjs', import.meta.url)), '--build'], { stdio: ['ignore', 2, 2] })
// Only now: what it needs may just have been installed or built.
const isWide = flags.includes('--wan')
const module = isWide ? 'wan' : name
const { [module]: bench } = await import(`./${module}.mjs`)
const report = await bench({ short: flags.includes('--short'), addon })
const folder = new URL('./results/', import.meta.url)
mkdirSync(folder, { recursive: true })
writeFileSync(new URL(`${isWide ? 'tor-wan' : name}.json`, folder), `${JSON.stringify(report.figures, null, 2)}\n`)
for (const [file, content] of Object.entries(report.files ?? {})) writeFileSync(new URL(file, folder), content)
process.stdout.write(`${report.text}\n`)
process.exit(report.ok ? 0 : 1)
