// Loads a foreign Linux addon under qemu: the binding's tests, and a page through three relays.
import { chmodSync, copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { output, root, run, step } from '../lib.mjs'
import { fetchNode } from './archive.mjs'
import { program, tail } from './program.mjs'
import { addonName, nodes, ship } from './targets.mjs'

const TESTS_LIMIT_MS = 900_000
const FETCH_LIMIT_MS = 300_000

const emulators = ['qemu-aarch64-static', 'qemu-aarch64']

/** qemu for arm64 on another Linux, installed where apt can; undefined where there is none. */
async function emulator() {
  const find = () => emulators.find((name) => output(name, ['--version']) !== undefined)
  if (find() === undefined && output('apt-get', ['--version']) !== undefined) {
    step('installing qemu-user-static')
    await run('apt-get', ['install', '-y', '-q', '--no-install-recommends', 'qemu-user-static'], { quiet: true })
  }
  return find()
}

/** Node under qemu as one program, which child processes of the tests can be started with as well. */
function wrapper(folder, qemu, node, sysroot) {
  const file = join(folder, 'node')
  writeFileSync(file, `#!/bin/sh\nexec ${qemu} -L '${sysroot}' '${node}' --import '${join(folder, 'exec-path.mjs')}' "$@"\n`)
  chmodSync(file, 0o755)
  // Children are started by this path, and the kernel knows nothing of qemu.
  writeFileSync(join(folder, 'exec-path.mjs'), `process.execPath = ${JSON.stringify(file)}\n`)
  return file
}

/** The C library and libstdc++ of the foreign machine, from Debian's cross packages or the system's own of that kind. */
async function foreignLibraries() {
  const sysroot = '/usr/aarch64-linux-gnu'
  const there = () => ['libc.so.6', 'libstdc++.so.6'].every((name) => existsSync(join(sysroot, 'lib', name)))
  if (!there() && output('apt-get', ['--version']) !== undefined) {
    step('installing the C and C++ libraries of arm64')
    await run('apt-get', ['install', '-y', '-q', '--no-install-recommends', 'libc6-arm64-cross', 'libstdc++6-arm64-cross'], { quiet: true })
  }
  return there() ? sysroot : undefined
}

/** A copy of what the tests read, with the foreign addon as its local build and the test runner's foreign parts. */
async function place(folder, addon, platform) {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  for (const name of ['ts', 'test', 'dist']) cpSync(join(root, name), join(folder, name), { recursive: true })
  for (const name of ['package.json', 'package-lock.json', '.npmrc', 'tsconfig.json', 'vitest.config.ts', 'index.js', 'index.d.ts'])
    copyFileSync(join(root, name), join(folder, name))
  copyFileSync(addon, join(folder, addonName(platform)))
  step('installing the test runner for arm64')
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm'
  return (
    (await run(npm, ['ci', '--cpu=arm64', '--os=linux', '--libc=glibc', '--ignore-scripts', '--prefer-offline', '--loglevel=error'], {
      cwd: folder,
      quiet: true
    })) === 0
  )
}

/** A whole network and a client in one process, and a page through three hops of it. */
const fetchScript = `
import { createServer } from 'node:http'
import { createTestnet } from './dist/index.js'
const page = createServer((request, response) => response.end('x'.repeat(300000))).listen(0, '127.0.0.1')
const net = await createTestnet(4)
const node = await net.createNode()
const socket = await node.connect('127.0.0.1:' + page.address().port)
socket.end('GET / HTTP/1.0\\r\\n\\r\\n')
let bytes = 0
for await (const chunk of socket) bytes += chunk.length
const hops = node.circuits().map((circuit) => circuit.hops?.length ?? circuit.path?.length)
console.log('fetched', bytes > 300000, process.arch, Math.max(...hops))
await net.close()
page.close()
`

/** Runs both; `{ ok, why?, tests?, fetched? }`. */
export async function tryEmulated(platform, addon) {
  const qemu = await emulator()
  if (qemu === undefined) return { ok: false, why: 'there is no qemu-user: `apt install qemu-user-static`' }
  const [node, sysroot] = [await fetchNode(platform, nodes.oldest), await foreignLibraries()]
  if (node === undefined || sysroot === undefined)
    return { ok: false, why: 'Node for arm64, or the C libraries that it needs, could not be fetched' }
  const folder = join(ship, 'emulated')
  if (!(await place(folder, addon, platform))) return { ok: false, why: 'the test runner for arm64 could not be installed' }
  const emulated = wrapper(folder, qemu, node, sysroot)
  const start = (args, limitMs) => program(emulated, args, { cwd: folder, env: { ...process.env, ANONNET_ADDON: '' }, limitMs })
  step('a page through three relays, under qemu')
  writeFileSync(join(folder, 'fetch.mjs'), fetchScript)
  const fetched = await start(['fetch.mjs'], FETCH_LIMIT_MS)
  if (!fetched.lines.some((line) => line === 'fetched true arm64 3')) return { ok: false, why: `no page came: ${tail(fetched.lines)}` }
  step("the binding's tests, under qemu")
  // Not panic.test.ts: it compiles an addon of its own, with panics planted, for the machine that it runs on.
  const args = [
    'run',
    'test/binding/addon.test.ts',
    '--reporter=json',
    '--outputFile=tests.json',
    '--testTimeout=240000',
    '--hookTimeout=240000'
  ]
  const tests = await start([join('node_modules', 'vitest', 'vitest.mjs'), ...args], TESTS_LIMIT_MS)
  const report = existsSync(join(folder, 'tests.json')) ? JSON.parse(readFileSync(join(folder, 'tests.json'), 'utf8')) : undefined
  const counts = `${report?.numPassedTests ?? 0} passed, ${report?.numFailedTests ?? 0} failed`
  if (tests.code !== 0 || !report?.success || report.numPassedTests === 0)
    return { ok: false, why: `the binding's tests: ${counts}; ${tail(tests.lines)}` }
  return { ok: true, tests: counts, fetched: '300 kB through 3 relays' }
}
