// Installs a release in an empty project, with no Rust on the path, and runs the README's programs there against a network of its own.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { output, root } from '../lib.mjs'
import { program, tail } from './program.mjs'
import { serve } from './registry.mjs'
import { manifest } from './targets.mjs'

const TIME_LIMIT_MS = 120_000

const readme = () => readFileSync(join(root, 'README.md'), 'utf8')

/** The README's program, with the network and the target filled in. */
export function snippet() {
  const code = /## In a program\n\n```js\n([\s\S]*?)```/.exec(readme())?.[1] ?? ''
  const changed = code
    .replace(/createNode\(\{ bootstrap: \[.*?\]\s*\}\)/s, 'createNode(JSON.parse(process.env.NETWORK))')
    .replace("'example.org:80'", 'process.env.TARGET')
  if (!changed.includes('env.NETWORK') || !changed.includes('env.TARGET'))
    throw new Error("README.md: the program below 'In a program' no longer has the two places that are filled in")
  return changed
}

/** The README's service between its two ends: a server of HTTP, and another node that asks it by the name that was printed. */
export function serviceSnippet() {
  const code = /A service is one call[^\n]*\n\n```js\n([\s\S]*?)```/.exec(readme())?.[1] ?? ''
  if (!/\bnode\.listen\(/.test(code) || !/\bservice\.address\b/.test(code))
    throw new Error("README.md: the program below 'A service is one call' no longer listens as `service`")
  return `
import { createServer } from 'node:http'
import { createNode } from 'anonnet'
const network = JSON.parse(process.env.NETWORK)
const server = createServer((request, response) => response.end('served by ' + request.headers.host))
const node = await createNode(network)
${code}
const visitor = await createNode(network)
const socket = await visitor.connect(service.address + ':80')
socket.end('GET / HTTP/1.0\\r\\nHost: ' + service.address + '\\r\\n\\r\\n')
for await (const chunk of socket) process.stdout.write(chunk)
await visitor.close()
await node.close()
`
}

/** Brings up a network out of the same package, a page behind it, and a snippet as a program of its own. */
const harness = `
import { createServer } from 'node:http'
import { execFile } from 'node:child_process'
import { createTestnet } from 'anonnet'
const page = createServer((request, response) => response.end('a page for ' + request.headers.host)).listen(0, '127.0.0.1')
const net = await createTestnet()
const env = {
  ...process.env,
  NETWORK: JSON.stringify({ bootstrap: net.bootstrap, testNetwork: net.testNetwork }),
  TARGET: '127.0.0.1:' + page.address().port
}
execFile(process.execPath, [process.argv[2]], { env, timeout: 60000 }, async (error, out, err) => {
  await net.close()
  page.close()
  process.stdout.write(out)
  process.stderr.write(err)
  process.exitCode = error === null ? 0 : 1
})
`

/** A folder with node, npm and the shell alone. */
function plainPath(folder, node) {
  const bin = join(folder, 'bin')
  mkdirSync(bin)
  symlinkSync(node, join(bin, 'node'))
  for (const shell of ['/bin/sh', '/usr/bin/env']) if (existsSync(shell)) symlinkSync(shell, join(bin, shell.split('/').pop()))
  return bin
}

/**
 * Resolves with what is wrong, one sentence each.
 *
 * @param tarballs as `packAll` returns them.
 * @param node the Node that installs and runs.
 */
export async function tryInEmptyProject(tarballs, { node = process.execPath, expected }) {
  const npmCli = output('npm', ['root', '-g'])?.trim()
  const npm = npmCli === undefined ? undefined : join(npmCli, 'npm', 'bin', 'npm-cli.js')
  if (npm === undefined || !existsSync(npm)) return ['npm was not found beside this Node']
  const folder = mkdtempSync(join(tmpdir(), 'anonnet-project-'))
  const registry = await serve(tarballs)
  try {
    const project = join(folder, 'project')
    mkdirSync(project)
    writeFileSync(join(project, 'package.json'), '{ "name": "project", "private": true }\n')
    writeFileSync(join(project, 'snippet.mjs'), snippet())
    writeFileSync(join(project, 'service.mjs'), serviceSnippet())
    writeFileSync(join(project, 'network.mjs'), harness)
    const env = { PATH: plainPath(folder, node), HOME: folder, TMPDIR: folder }
    const args = ['install', 'anonnet', '--registry', registry.address, '--cache', join(folder, 'cache'), '--no-audit', '--no-fund']
    const start = (list) => program(node, list, { cwd: project, env, limitMs: TIME_LIMIT_MS })
    const installing = await start([npm, ...args])
    if (installing.code !== 0) return [`npm could not install the packages: ${tail(installing.lines)}`]
    const problems = []
    const expect = async (what, list, told) => {
      const { code, lines } = await start(list)
      if (code !== 0 || !lines.some((line) => told.test(line))) problems.push(`${what} (code ${code}): ${tail(lines)}`)
    }
    const modules = join(project, 'node_modules')
    const chosen = existsSync(join(modules, '@anonnet')) ? readdirSync(join(modules, '@anonnet')).join(' and ') : 'no addon'
    if (chosen !== expected) problems.push(`npm chose ${chosen} instead of ${expected}`)
    const others = readdirSync(modules).filter((name) => !['@anonnet', 'anonnet', '.bin', '.package-lock.json'].includes(name))
    if (others.length > 0) problems.push(`anonnet brings ${others.join(', ')} with it`)
    await expect("the README's program did not print the page", ['network.mjs', 'snippet.mjs'], /^a page for example\.org$/)
    await expect("the README's service was not reached", ['network.mjs', 'service.mjs'], /^served by [a-z2-7]{56}\.anon$/)
    await expect(
      'the command does not start',
      [join('node_modules', 'anonnet', 'dist', 'cli.cjs'), '--version'],
      new RegExp(`^anonnet ${manifest.version.replaceAll('.', '\\.')},`)
    )
    await expect("require('anonnet') does not work", ['-e', "console.log(typeof require('anonnet').createNode)"], /^function$/)
    return problems
  } finally {
    registry.close()
    rmSync(folder, { recursive: true, force: true })
  }
}
