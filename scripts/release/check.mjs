// Whether packages are fit for publishing: what is in them, what publint and attw say, and an empty project that installs and runs them.
import { readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { output, root, run, step } from '../lib.mjs'
import { fetchNode } from './archive.mjs'
import { tryInEmptyProject } from './empty-project.mjs'
import { problemsOf } from './inspect.mjs'
import { nodes } from './targets.mjs'

/** The platform of this process, as the loader names it; the built package knows. */
export function hostPlatform() {
  const report = process.report?.getReport()
  const libc = process.platform === 'linux' ? (report?.header?.glibcVersionRuntime === undefined ? '-musl' : '-gnu') : ''
  return `${process.platform}-${process.arch}${process.platform === 'win32' ? '-msvc' : libc}`
}

async function linter(name, args, tarball) {
  const said = []
  const code = await run(process.execPath, [join(root, 'node_modules', ...name), ...args, tarball], {
    quiet: true,
    onLine: (line) => said.push(line)
  })
  return code === 0
    ? []
    : said
        .filter((line) => line.trim() !== '')
        .map((line) => `${basename(tarball)}: ${name[0] === 'publint' ? 'publint' : 'attw'}: ${line.trim()}`)
}

/** Everything but running it; `anonnet` is the first. */
export async function checkTarballs(tarballs) {
  const problems = tarballs.flatMap((file) => problemsOf(readFileSync(file)).map((problem) => `${basename(file)}: ${problem}`))
  step('publint and attw')
  for (const file of tarballs) problems.push(...(await linter(['publint', 'src', 'cli.js'], ['--strict'], file)))
  problems.push(...(await linter(['@arethetypeswrong', 'cli', 'dist', 'index.js'], ['--profile', 'esm-only'], tarballs[0])))
  return problems
}

/** Node's versions to try with: this one, and the other where npm can bring it. Each is `{ version, node }`, or says why it is not there. */
export async function nodesToTry(wanted = [nodes.oldest, nodes.next]) {
  const found = [{ version: process.versions.node, node: process.execPath }]
  for (const version of wanted) {
    if (version.split('.')[0] === process.versions.node.split('.')[0]) continue
    const node = process.platform === 'linux' ? await fetchNode(hostPlatform(), version) : undefined
    found.push(
      node !== undefined && output(node, ['-v']) ? { version, node } : { version, why: `Node ${version} could not be fetched with npm` }
    )
  }
  return found
}

/** The README's program in an empty project, on each Node. */
export async function checkInstalled(tarballs, platform = hostPlatform()) {
  const [problems, done] = [[], []]
  for (const { version, node, why } of await nodesToTry()) {
    if (node === undefined) {
      done.push(`not tried with Node ${version}: ${why}`)
      continue
    }
    step(`an empty project, Node ${version}, no Rust on the path`)
    const found = await tryInEmptyProject(tarballs, { node, expected: platform })
    problems.push(...found.map((problem) => `Node ${version}: ${problem}`))
    if (found.length === 0) done.push(`installed and run with Node ${version}`)
  }
  return { problems, done }
}
