// `npm test`: set-up, the Rust tests, the TypeScript tests; the last line is `N passed, N failed, N skipped`.
// `npm test -- rust` and `npm test -- ts [files]` run one side.
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { cacheDir, root, run, step } from './lib.mjs'
import { setup } from './setup.mjs'

const [side, ...rest] = process.argv.slice(2)
if (side !== undefined && side !== 'rust' && side !== 'ts') {
  process.stderr.write('usage: npm test [-- rust | ts [vitest arguments]]\n')
  process.exit(2)
}

const total = { passed: 0, failed: 0, skipped: 0 }

/** Adds one runner's numbers; a runner that ended badly without naming a failure counts as a failure, and so does one that ran nothing. */
function add(name, code, numbers) {
  total.passed += numbers.passed
  total.failed += numbers.failed
  total.skipped += numbers.skipped
  if (code !== 0 && numbers.failed === 0) {
    step(`${name} ended with code ${code}`)
    total.failed += 1
  } else if (numbers.passed + numbers.failed === 0) {
    step(`${name} ran no test`)
    total.failed += 1
  }
}

async function rust() {
  const numbers = { passed: 0, failed: 0, skipped: 0 }
  step('Rust tests')
  const code = await run('cargo', ['test', '--workspace', '--no-fail-fast', ...(side === 'rust' ? rest : [])], {
    onLine: (line) => {
      const result = /^test result: \S+ (\d+) passed; (\d+) failed; (\d+) ignored;/.exec(line)
      if (!result) return
      numbers.passed += Number(result[1])
      numbers.failed += Number(result[2])
      numbers.skipped += Number(result[3])
    }
  })
  add('cargo test', code, numbers)
}

async function typescript() {
  step('TypeScript tests')
  const report = join(cacheDir, 'vitest.json')
  mkdirSync(cacheDir, { recursive: true })
  rmSync(report, { force: true })
  const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs')
  const code = await run(process.execPath, [
    vitest,
    'run',
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${report}`,
    ...(side === 'ts' ? rest : [])
  ])
  const numbers = { passed: 0, failed: 0, skipped: 0 }
  if (existsSync(report)) {
    for (const file of JSON.parse(readFileSync(report, 'utf8')).testResults) {
      const count = (...states) => file.assertionResults.filter((test) => states.includes(test.status)).length
      numbers.passed += count('passed')
      numbers.skipped += count('skipped', 'pending', 'todo', 'disabled')
      // A file that could not be loaded has no tests to name.
      numbers.failed += Math.max(count('failed'), file.status === 'failed' && count('failed', 'passed') === 0 ? 1 : 0)
    }
  }
  add('vitest', code, numbers)
}

await setup()
if (side !== 'ts') await rust()
if (side !== 'rust') await typescript()
process.stdout.write(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped\n`, () =>
  process.exit(total.failed === 0 && total.passed > 0 ? 0 : 1)
)
