/** Processes of a test: each ended by its id at the end, and the tree below it. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll } from 'vitest'

/** The root of the repository. */
export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
/** The built command. */
export const cli = join(root, 'dist', 'cli.cjs')

export interface Spawned {
  readonly process: ChildProcess
  readonly pid: number
  stdout(): string
  stderr(): string
  /** Resolves with the exit code, or the signal's name. */
  readonly exit: Promise<number | string>
}

/** Starts a program in a process group of its own, with its output kept. */
export function start(command: string, args: readonly string[], environment: Record<string, string> = {}): Spawned {
  const child = spawn(command, args, {
    cwd: root,
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true
  })
  let out = ''
  let err = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    err += text
  })
  const exit = new Promise<number | string>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => resolve(signal ?? code ?? 'gone'))
  })
  const pid = child.pid ?? 0
  afterAll(() => signalGroup(pid, 'SIGKILL'))
  return { process: child, pid, stdout: () => out, stderr: () => err, exit }
}

/** Signals the group that a process of `start` leads, as a terminal does. */
export function signalGroup(pid: number, signal: NodeJS.Signals): void {
  if (pid === 0) return
  try {
    process.kill(-pid, signal)
  } catch {
    // nobody is left in it
  }
}

/** Resolves with what `look` returns once that is not undefined; polls, since what is awaited is another process's doing. */
export async function eventually<T>(what: string, deadlineMs: number, look: () => T | undefined | Promise<T | undefined>): Promise<T> {
  const until = Date.now() + deadlineMs
  for (;;) {
    const found = await look()
    if (found !== undefined) return found
    if (Date.now() > until) throw new Error(`${what}: not within ${deadlineMs} ms`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** Whether a process of that id runs (a zombie does not). */
export function runs(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch {
    return false
  }
  const stat = `/proc/${pid}/stat`
  return !existsSync(stat) || !/^\d+ \(.*\) Z/.test(readFileSync(stat, 'utf8'))
}

/** Ids of the processes that a process started, and theirs; Linux only. */
export function descendants(pid: number): number[] {
  const children = new Map<number, number[]>()
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      const parent = Number(/\) \S (\d+)/.exec(readFileSync(`/proc/${name}/stat`, 'utf8'))?.[1])
      children.set(parent, [...(children.get(parent) ?? []), Number(name)])
    } catch {
      // ended meanwhile
    }
  }
  const below = (id: number): number[] => (children.get(id) ?? []).flatMap((child) => [child, ...below(child)])
  return below(pid)
}

/** Whether a program is on the path. */
export function has(program: string): boolean {
  return spawnSync(program, ['--version'], { stdio: 'ignore' }).status === 0
}

/** A Python that has PySocks, the usual SOCKS client of Python programs; undefined where none has. */
export function pythonWithSocks(): string | undefined {
  return ['python3', '/usr/bin/python3'].find((python) => spawnSync(python, ['-c', 'import socks'], { stdio: 'ignore' }).status === 0)
}
