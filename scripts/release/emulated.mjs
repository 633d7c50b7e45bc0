// Loads an addon for another Linux, under qemu or with musl: the binding's tests, a page through three relays, and one of a .anon service.
import { chmodSync, copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { output, root, run, step } from '../lib.mjs'
import { fetchNode } from './archive.mjs'
import { muslNode } from './musl.mjs'
import { program, tail } from './program.mjs'
import { addonName, nodes, ship, targetOf } from './targets.mjs'

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

/** The foreign Node as one program, which child processes of the tests can be started with as well. */
function wrapper(folder, words) {
  const file = join(folder, 'node')
  const quoted = words.map((word) => `'${word}'`).join(' ')
  writeFileSync(file, `#!/bin/sh\nexec ${quoted} --import '${join(folder, 'exec-path.mjs')}' "$@"\n`)
  chmodSync(file, 0o755)
  // Children are started by this path, and the kernel knows nothing of qemu or of musl's loader.
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

/** The words that start a Node of the platform here, or why there are none. */
async function starter({ platform, cpu, libc }) {
  const qemu = cpu === process.arch ? [] : [await emulator()]
  if (qemu.includes(undefined)) return { why: 'there is no qemu-user: `apt install qemu-user-static`' }
  if (libc === 'musl') {
    const node = await muslNode(cpu)
    return node === undefined
      ? { why: `Node for musl, ${cpu}, or musl itself could not be fetched`, elsewhere: true }
      : { words: [...qemu, ...node] }
  }
  const [node, sysroot] = [await fetchNode(platform, nodes.oldest), await foreignLibraries()]
  if (node === undefined || sysroot === undefined) return { why: `Node for ${cpu}, or the C libraries that it needs, could not be fetched` }
  return { words: [...qemu, '-L', sysroot, node] }
}

/** A copy of what the tests read, with the foreign addon as its local build and the test runner's foreign parts. */
async function place(folder, addon, { platform, cpu, libc }) {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  for (const name of ['ts', 'test', 'dist']) cpSync(join(root, name), join(folder, name), { recursive: true })
  for (const name of ['package.json', 'package-lock.json', '.npmrc', 'tsconfig.json', 'vitest.config.ts', 'index.js', 'index.d.ts'])
    copyFileSync(join(root, name), join(folder, name))
  copyFileSync(addon, join(folder, addonName(platform)))
  step(`installing the test runner for ${platform}`)
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm'
  return (
    (await run(npm, ['ci', `--cpu=${cpu}`, '--os=linux', `--libc=${libc}`, '--ignore-scripts', '--prefer-offline', '--loglevel=error'], {
      cwd: folder,
      quiet: true
    })) === 0
  )
}

/** The addon of the test runner's bundler, by name: it would look for the C library of /usr/bin/ldd, which is not the one that runs it. */
function runnersAddon(folder, { platform, libc }) {
  const name = join(folder, 'node_modules', '@rolldown', `binding-${platform}`, `rolldown-binding.${platform}.node`)
  return libc === 'musl' && existsSync(name) ? { NAPI_RS_NATIVE_LIBRARY_PATH: name } : {}
}

/** A whole network, a client and a service in one process; a page through three hops of it, and the service's. */
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
const host = await net.createNode()
const service = await host.listen({ port: 80 }, (stream) => stream.end('y'.repeat(300000)))
let served = 0
for await (const chunk of await node.connect(service.address + ':80')) served += chunk.length
console.log('served', served === 300000, service.address.endsWith('.anon'))
await net.close()
page.close()
`

/** What can be tried here: foreign arm64 with glibc, and musl on either. */
export const canTry = ({ os, cpu, libc }, host = process.arch) =>
  process.platform === 'linux' && os === 'linux' && (cpu === host ? libc === 'musl' : cpu === 'arm64')

/** Runs both; `{ ok, why?, elsewhere?, tests?, fetched?, how? }`. `elsewhere`: its parts are only to be had on Debian, which CI need not be. */
export async function tryEmulated(platform, addon) {
  const target = targetOf(platform)
  const { words, ...missing } = await starter(target)
  if (words === undefined) return { ok: false, ...missing }
  const folder = join(ship, 'emulated', platform)
  if (!(await place(folder, addon, target))) return { ok: false, why: `the test runner for ${platform} could not be installed` }
  const emulated = wrapper(folder, words)
  const env = { ...process.env, ANONNET_ADDON: '', ...runnersAddon(folder, target) }
  const start = (args, limitMs) => program(emulated, args, { cwd: folder, env, limitMs })
  const how = `${target.cpu === process.arch ? 'with musl' : 'under qemu'}, Node ${output(emulated, ['-v'])?.trim().slice(1)}`
  step(`a page through three relays, and one of a service, ${how}`)
  writeFileSync(join(folder, 'fetch.mjs'), fetchScript)
  const fetched = await start(['fetch.mjs'], FETCH_LIMIT_MS)
  if (![`fetched true ${target.cpu} 3`, 'served true true'].every((line) => fetched.lines.includes(line)))
    return { ok: false, why: `no page came: ${tail(fetched.lines)}` }
  step(`the binding's tests, ${how}`)
  // Not panic.test.ts: it compiles an addon of its own, with panics planted, for the machine that it runs on.
  const args = [
    'run',
    'test/binding/addon.test.ts',
    'test/binding/services.test.ts',
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
  return { ok: true, how, tests: counts, fetched: '300 kB through 3 relays, and 300 kB of a .anon service' }
}
