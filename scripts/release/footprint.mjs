// A relay out of its archive, as a small machine runs it: what it takes on disk and, idle, in memory.
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { unpack } from './tar.mjs'

const READY_LIMIT_MS = 60_000
/** Idle: start-up's garbage has been collected by then. */
const SETTLE_MS = 5_000

/** Writes an archive's files into a folder and returns their sizes together. */
function extract(archive, folder) {
  let bytes = 0
  for (const { name, body, mode } of unpack(readFileSync(archive))) {
    const path = join(folder, name.slice(name.indexOf('/') + 1))
    mkdirSync(join(path, '..'), { recursive: true })
    writeFileSync(path, body, { mode })
    bytes += body.length
  }
  return bytes
}

function started(command, args, cwd) {
  const child = spawn(command, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ANONNET_ADDON: '' } })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      said += text
    })
  }
  const ended = new Promise((resolve) => child.once('close', resolve))
  const until = async (pattern) => {
    for (const late = Date.now() + READY_LIMIT_MS; ; await new Promise((resolve) => setTimeout(resolve, 50))) {
      const match = pattern.exec(said)
      if (match) return match
      if (Date.now() > late || child.exitCode !== null)
        throw new Error(`${args.find((arg) => /^[a-z]+$/.test(arg))}: ${said.trim().split('\n').slice(-3).join(' / ')}`)
    }
  }
  return { pid: child.pid, ended, until, stop: () => child.kill('SIGTERM') }
}

const rss = (pid) => Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024

/**
 * Starts one bootstrap node and one relay out of an archive, on loopback, and reads the relay's resident memory. Linux only.
 *
 * @param command what starts it in the unpacked folder, such as `['node', 'anonnet.cjs']` or `['./anonnet']`.
 */
export async function footprint(archive, command) {
  const folder = mkdtempSync(join(tmpdir(), 'anonnet-relay-'))
  const running = []
  try {
    const bytes = extract(archive, folder)
    const [file, ...before] = command.map((part) => (part.startsWith('./') ? join(folder, part) : part))
    const start = (...args) => {
      const child = started(file, [...before, ...args], folder)
      running.push(child)
      return child
    }
    const key = await start('keys', 'new', '--out', 'b.key').until(/^public key\s+(\S+)/m)
    const config = `[network]\nbootstrap = ["${key[1]}@127.1.0.1:9501"]\n[test_network]\nallow_private = true\nlist_interval_ms = 5000\n`
    writeFileSync(join(folder, 'network.toml'), config)
    const boot = start('bootstrap', '-c', 'network.toml', '--identity', 'b.key', '--listen', '127.1.0.1:9501', '--state-dir', 'b')
    await boot.until(/@127\.1\.0\.1/)
    const relay = start('relay', '-c', 'network.toml', '--listen', '127.11.0.1:9501', '--state-dir', 'r')
    await relay.until(/listens on UDP/)
    await new Promise((resolve) => setTimeout(resolve, SETTLE_MS))
    return { archiveBytes: statSync(archive).size, bytes, rss: rss(relay.pid) }
  } finally {
    for (const child of running) child.stop()
    await Promise.all(running.map(({ ended }) => ended))
    rmSync(folder, { recursive: true, force: true })
  }
}
