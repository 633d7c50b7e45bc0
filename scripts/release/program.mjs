// One program with exactly the environment it is given, and a deadline.
import { spawn } from 'node:child_process'

/** Resolves with the exit code (1 for a signal, 124 for the deadline) and what it wrote, both streams by line. */
export function program(command, args, { cwd, env, limitMs }) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
    let said = ''
    let late = false
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => {
        said += text
      })
    }
    const timer = setTimeout(() => {
      late = true
      child.kill('SIGKILL')
    }, limitMs)
    const done = (code) => {
      clearTimeout(timer)
      resolve({ code: late ? 124 : code, lines: said.split('\n').filter((line) => line !== '') })
    }
    child.once('error', (error) => {
      said += error.message
      done(127)
    })
    child.once('close', (code) => done(code ?? 1))
  })
}

/** The last lines, as one. */
export const tail = (lines, count = 5) => lines.slice(-count).join(' / ')
