// What the machine did while something was measured: the CPU of what is measured, of the rest of the bench, and of everybody else.
import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { cpuSeconds } from '../processes.mjs'
import { ownPids } from './children.mjs'

const TICKS_PER_SECOND = 100

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

/** Between two readings: CPU seconds of what is measured, and the share of the machine that others took. */
export function between(before, after) {
  const cpu = sum(Object.keys(before.measured).map((name) => after.measured[name] - before.measured[name]))
  const seconds = (after.at - before.at) / 1000
  const others = Math.max(0, after.busy - before.busy - (after.own - before.own)) / (seconds * availableParallelism())
  return { cpu, others }
}
