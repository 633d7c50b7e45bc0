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

/** Resident memory in bytes, and the part of it that is not pages of files, which the system drops when it needs them. */
function memory(pid) {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const bytes = (name) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) * 1024
  return { rss: bytes('VmRSS'), own: bytes('RssAnon') }
}

/**
 * Starts bootstrap nodes and a relay out of an archive, on loopback, and reads the relay's resident memory. Linux only.
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
    const addresses = [1, 2, 3].map((index) => `127.${index}.0.1:9501`)
    const keys = await Promise.all(
      addresses.map((_, index) => start('keys', 'new', '--out', `b${index}.key`).until(/^public key\s+(\S+)/m))
    )
    const entries = keys.map(([, key], index) => `"${key}@${addresses[index]}"`)
    const config = `[network]\nbootstrap = [${entries}]\n[test_network]\nallow_private = true\nlist_interval_ms = 5000\n`
    writeFileSync(join(folder, 'network.toml'), config)
    const common = ['-c', 'network.toml', '--state-dir']
    await Promise.all(
      addresses.map((address, index) =>
        start('bootstrap', ...common, `b${index}`, '--identity', `b${index}.key`, '--listen', address).until(/listens on UDP/)
      )
    )
    const relay = start('relay', ...common, 'r', '--listen', '127.11.0.1:9501')
    await relay.until(/listens on UDP/)
    await new Promise((resolve) => setTimeout(resolve, SETTLE_MS))
    return { archiveBytes: statSync(archive).size, bytes, ...memory(relay.pid) }
  } finally {
    for (const child of running) child.stop()
    await Promise.all(running.map(({ ended }) => ended))
    rmSync(folder, { recursive: true, force: true })
  }
}
