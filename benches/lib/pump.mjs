// Builds `pump.rs` and runs it: the ends of the streams, and the forwarders that are the bound.
import { execFileSync } from 'node:child_process'
import { mkdirSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Process } from './tor/children.mjs'

const source = fileURLToPath(new URL('./pump.rs', import.meta.url))
const folder = fileURLToPath(new URL('../../target/bench/', import.meta.url))
const binary = `${folder}pump`

/** Compiles the program unless it is newer than its source. */
export function buildPump() {
  mkdirSync(folder, { recursive: true })
  const built = statSync(binary, { throwIfNoEntry: false })
  if (built && built.mtimeMs > statSync(source).mtimeMs) return
  execFileSync('rustc', ['--edition', '2021', '-O', '-o', binary, source], { stdio: ['ignore', 2, 2] })
}

/** Where a program runs unless it is said otherwise. */
const here = (command, args) => [command, args]

/** Starts a server or a forwarder; resolves to the process with the `port` on which it listens. */
export async function listening(name, ...args) {
  return listeningInside(here, name, ...args)
}

/** The same, where `inside` makes its command from a command and arguments. */
export async function listeningInside(inside, name, ...args) {
  const child = new Process(name, ...inside(binary, args))
  const { found } = await child.line((line) => /^\d+$/.test(line) && line)
  child.port = Number(found)
  return child
}

/**
 * Moves bytes on one stream for each user, for `seconds` after `warm` seconds; `sample` is called at both ends of the time that counts.
 * Resolves to the two samples, the bytes, and the seconds.
 */
export async function load({ proxy, target, way, users, warm, seconds, sample, inside = here }) {
  const args = ['load', String(proxy), String(target), way, String(warm), String(seconds), users.join()]
  const child = new Process('the load', ...inside(binary, args))
  await child.line((line) => line === 'begin', warm + 60)
  const before = sample()
  const { found } = await child.line((line) => /^end (\d+) ([\d.]+)$/.exec(line), seconds + 60)
  const after = sample()
  child.process.stdin.end()
  await child.gone
  return { before, after, bytes: Number(found[1]), seconds: Number(found[2]) }
}

/** Does `work` while one stream downloads, which began `warm` seconds before; gives what it resolves to. */
export async function besideBulk({ proxy, target, user, warm, inside = here }, work) {
  const child = new Process('the bulk', ...inside(binary, ['load', String(proxy), String(target), 'down', String(warm), '600', user]))
  try {
    await child.line((line) => line === 'begin', warm + 60)
    return await work()
  } finally {
    await child.end('SIGKILL')
  }
}

/** Milliseconds to the first byte of so many requests, one after another; a `#` in the user's name becomes the request's number. */
export async function firstBytes({ proxy, target, count, user, inside = here }) {
  const child = new Process('the requests', ...inside(binary, ['first', String(proxy), String(target), String(count), user]))
  const how = await child.gone
  if (how !== 0 || child.lines.length !== count) throw new Error(`requests failed (${how}): ${child.lines.length} of ${count} answered`)
  return child.lines.map(Number)
}
