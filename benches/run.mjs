// `npm run bench -- chain|soak [--short]`: macro benchmarks of the addon that the default build ships. Ratios and bounds of the same run
// are what counts: machines are noisy. Results go to benches/results/ and to standard output.
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { chain } from './chain.mjs'
import { soak } from './soak.mjs'

const benches = { chain, soak }
const [name, ...flags] = process.argv.slice(2)
const bench = benches[name]
if (!bench || flags.some((flag) => flag !== '--short')) {
  process.stderr.write(`usage: npm run bench -- ${Object.keys(benches).join('|')} [--short]\n`)
  process.exit(2)
}
execFileSync(process.execPath, [fileURLToPath(new URL('../scripts/setup.mjs', import.meta.url)), '--build'], { stdio: ['ignore', 2, 2] })
const report = await bench({ short: flags.includes('--short') })
const folder = new URL('./results/', import.meta.url)
mkdirSync(folder, { recursive: true })
writeFileSync(new URL(`${name}.json`, folder), `${JSON.stringify(report.figures, null, 2)}\n`)
process.stdout.write(`${report.text}\n`)
process.exit(report.ok ? 0 : 1)
