// What the machine did while something was measured: the CPU of what is measured, of the rest of the bench, and of everybody else.
import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { cpuSeconds } from '../processes.mjs'
import { ownPids } from './children.mjs'

const TICKS_PER_SECOND = 100
/** Processes that take no more than this share of the machine rest. */
const REST_MOST = 0.03
const REST_LOOK_MS = 1_000
const REST_WAIT_MS = 6_000

/** User and system time of all processes since the start of the machine, in seconds. Interrupts are left out: no process is charged for them. */
function busySeconds() {
  const [user, nice, system] = /^cpu +(.+)$/m.exec(readFileSync('/proc/stat', 'utf8'))[1].split(' ').map(Number)
  return (user + nice + system) / TICKS_PER_SECOND
}

const sum = (values) => values.reduce((total, value) => total + value, 0)

/** A reading: `processes` are what is measured, `more` are ids of the bench that `ownPids` does not know. */
export function sampler(processes, more = []) {
  return () => {
    // One that ended in between has no line any more.
    const used = (pid) => {
      try {
        return cpuSeconds(pid)
      } catch {
        return 0
      }
    }
    return {
      at: performance.now(),
      measured: Object.fromEntries(processes.map((child) => [child.name, used(child.pid)])),
      own: sum([...ownPids(), ...more].map(used)),
      busy: busySeconds()
    }
  }
}

/**
 * Between two readings: CPU seconds of what is measured, and the shares of the machine that others took, and what else the bench runs: the
 * ends of the streams, and the networks whose turn it is not.
 */
export function between(before, after) {
  const cpu = sum(Object.keys(before.measured).map((name) => after.measured[name] - before.measured[name]))
  const all = ((after.at - before.at) / 1000) * availableParallelism()
  const others = Math.max(0, after.busy - before.busy - (after.own - before.own)) / all
  return { cpu, others, besides: Math.max(0, after.own - before.own - cpu) / all }
}

/**
 * Waits until the bench's processes rest, or for so long: a network works off what a load has left in its queues, in the time of the figure that
 * comes next, of its own or of another network.
 */
export async function atRest() {
  const deadline = performance.now() + REST_WAIT_MS
  const reading = sampler([])
  for (;;) {
    const before = reading()
    await new Promise((resolve) => setTimeout(resolve, REST_LOOK_MS))
    if (between(before, reading()).besides <= REST_MOST || performance.now() >= deadline) return
  }
}
