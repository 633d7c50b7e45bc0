// `npm run features [-- --short]`: builds what operators can leave out (Cargo features exit, metrics, proxy) in each of the 8 combinations:
// clippy without a warning, the engine's own tests, and an addon that Node loads, which says what it has and which part a call lacks.
// --short: clippy for all of them, tests and addon for the smallest only (the largest is what `npm test` runs).
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { buildLibrary, fail, output, root, run, step } from './lib.mjs'
import { checkTools } from './setup.mjs'

export const FEATURES = ['exit', 'metrics', 'proxy']
const combinations = Array.from({ length: 2 ** FEATURES.length }, (_, bits) => FEATURES.filter((_, index) => bits & (1 << index)))
const name = (features) => (features.length === 0 ? 'none' : features.join('+'))

/** Cargo's arguments for a combination. */
export const flags = (features) => ['--no-default-features', ...(features.length > 0 ? ['--features', features.join(',')] : [])]
const ofEngine = (features) => flags(features.map((feature) => `anonnet-engine/${feature}`))
const ofBoth = (features) => flags(features.flatMap((feature) => [`anonnet-engine/${feature}`, `anonnet-binding/${feature}`]))

async function main() {
  const rest = process.argv.slice(2)
  if (rest.some((flag) => flag !== '--short')) {
    process.stderr.write('usage: npm run features [-- --short]\n')
    process.exit(2)
  }
  checkTools()
  const folder = join(root, 'target', 'features')
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const whole = ({ length }) => !rest.includes('--short') || length === 0
  const failures = []
  const attempt = async (what, ok) => {
    if (!(await ok)) failures.push(what)
  }
  const cargo = async (...args) => (await run('cargo', args)) === 0
  for (const features of combinations) {
    step(`${name(features)}: clippy`)
    const linted = ['clippy', '--quiet', '-p', 'anonnet-engine', '-p', 'anonnet-calls', '-p', 'anonnet-binding', ...ofBoth(features)]
    await attempt(`clippy, ${name(features)}`, cargo(...linted, '--lib', '--', '-D', 'warnings'))
    if (!whole(features)) continue
    step(`${name(features)}: tests of the engine, and an addon`)
    await attempt(`tests, ${name(features)}`, cargo('test', '--quiet', '-p', 'anonnet-engine', '--lib', ...ofEngine(features)))
    const addon = join(folder, `${name(features)}.node`)
    await buildLibrary(addon, ['--profile', 'dev', ...flags(features)])
    const checked = output(process.execPath, [join(root, 'scripts', 'features-addon.mjs'), addon, ...features], { stdio: ['ignore', 1, 2] })
    await attempt(`addon, ${name(features)}`, checked !== undefined)
  }
  for (const failure of failures) process.stdout.write(`failed: ${failure}\n`)
  if (failures.length > 0) fail(`features: ${failures.length} failed`)
  process.stdout.write(`features: all ${combinations.length} combinations compile, ${combinations.filter(whole).length} tested\n`)
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main()
