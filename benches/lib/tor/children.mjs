// Every process and folder of the bench: each is ended by its id and removed, also after an error or a signal.
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

const running = new Set()
const folders = new Set()
const SIGNALS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 }
/** Last lines that are kept of what a process says, for the error message. */
const KEPT_LINES = 12

process.on('exit', () => {
  for (const child of running) child.process.kill('SIGKILL')
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
})
for (const [signal, code] of Object.entries(SIGNALS)) process.on(signal, () => process.exit(code))

/** The ids of everything that was started here and runs, and of this process. */
export function ownPids() {
  return [process.pid, ...[...running].map((child) => child.pid)]
}

/** A folder that is gone when the bench is. */
export function temporaryFolder() {
  const folder = mkdtempSync(join(tmpdir(), 'anonnet-bench-'))
  folders.add(folder)
  return folder
}

/** A running program whose lines of standard output can be waited for. */
export class Process {
  #lines = []
  #said = []
  #waiting = new Set()
  #ended

  constructor(name, command, args, { ipc = false, env } = {}) {
    this.name = name
    const stdio = [ipc ? 'ignore' : 'pipe', 'pipe', 'pipe', ...(ipc ? ['ipc'] : [])]
    this.began = performance.now()
    this.process = spawn(command, args, { stdio, env: { ...process.env, ...env } })
    running.add(this)
    // A program that is gone does not read any more.
    this.process.stdin?.on('error', () => undefined)
    const note = (line, kept) => {
      this.#said.push(line)
      if (this.#said.length > KEPT_LINES) this.#said.shift()
      if (kept) this.#lines.push({ line, at: performance.now() })
      for (const wake of this.#waiting) wake()
    }
    createInterface(this.process.stdout).on('line', (line) => note(line, true))
    createInterface(this.process.stderr).on('line', (line) => note(line, false))
    this.gone = new Promise((resolve) => {
      const end = (how) => {
        running.delete(this)
        this.#ended ??= how
        for (const wake of this.#waiting) wake()
        resolve(how)
      }
      this.process.once('error', (error) => end(error.message))
      this.process.once('close', (code, signal) => end(signal ?? code))
    })
  }

  get pid() {
    return this.process.pid
  }

  /** The first line, past or to come, that `fits` gives something for; resolves to that and when the line came. */
  async line(fits, seconds = 60) {
    const deadline = performance.now() + seconds * 1000
    for (;;) {
      for (const { line, at } of this.#lines) {
        const found = fits(line)
        if (found) return { found, at }
      }
      if (this.#ended !== undefined) throw new Error(`${this.name} ended (${this.#ended}): ${this.#said.join('\n')}`)
      const left = deadline - performance.now()
      if (left <= 0) throw new Error(`${this.name} said nothing for ${seconds} s: ${this.#said.join('\n')}`)
      await new Promise((resolve) => {
        const timer = setTimeout(done, left)
        const waiting = this.#waiting
        function done() {
          clearTimeout(timer)
          waiting.delete(done)
          resolve()
        }
        waiting.add(done)
      })
    }
  }

  /** All lines so far. */
  get lines() {
    return this.#lines.map(({ line }) => line)
  }

  async end(signal = 'SIGTERM') {
    if (this.#ended !== undefined) return
    this.process.kill(signal)
    const timer = setTimeout(() => this.process.kill('SIGKILL'), 3000)
    await this.gone
    clearTimeout(timer)
  }
}
