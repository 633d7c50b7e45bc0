// Child processes of a bench, their CPU and memory from /proc, and a bare chain of nodes.
import { fork } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const TICKS_PER_SECOND = 100

/** User and system time of a process so far, in seconds. */
export function cpuSeconds(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(')').at(-1).trim().split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}

/** Resident memory of a process now, in bytes. */
export function residentBytes(pid) {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) * 1024
}

/** A child that answers commands by IPC. */
export class Child {
  #waiting = new Map()
  #next = 1

  constructor(name, script, args, env = {}) {
    this.name = name
    this.process = fork(fileURLToPath(new URL(script, import.meta.url)), args, {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      env: { ...process.env, ...env }
    })
    this.ready = new Promise((resolve, reject) => {
      this.process.on('message', (message) => {
        if (message.ready) resolve(message.ready)
        else {
          const { resolve: done, reject: fail } = this.#waiting.get(message.id)
          this.#waiting.delete(message.id)
          if (message.error) fail(new Error(`${name}: ${message.error}`))
          else done(message.result)
        }
      })
      this.process.on('exit', (code) => {
        const error = new Error(`${name} ended with ${code}`)
        reject(error)
        for (const { reject: fail } of this.#waiting.values()) fail(error)
      })
    })
  }

  get pid() {
    return this.process.pid
  }

  call(command, args) {
    return new Promise((resolve, reject) => {
      const id = this.#next++
      this.#waiting.set(id, { resolve, reject })
      this.process.send({ id, command, args })
    })
  }

  end() {
    this.process.kill('SIGKILL')
  }
}

/** Three relays, the last an exit, and a client; each a process. `addon`: the file of another addon than the one that setup built. */
export async function startChain(addon) {
  const env = addon === undefined ? {} : { ANONNET_ADDON: addon }
  const options = (number) => ({
    listen: `127.${number}.0.1:0`,
    roles: { relay: true, exit: number === 3, bootstrap: false },
    exitPolicy: ['accept *:*'],
    allowPrivate: true,
    // One client builds every circuit here: the limits on prefixes are not what is measured.
    handshakesPerPrefix: { rate: 1e6, burst: 1_000_000 }
  })
  const relays = [1, 2, 3].map(
    (number) => new Child(['guard', 'middle', 'exit'][number - 1], './node-process.mjs', [JSON.stringify(options(number))], env)
  )
  const client = new Child('client', './node-process.mjs', [JSON.stringify({})], env)
  const all = [client, ...relays]
  try {
    const path = await Promise.all(relays.map((relay) => relay.ready))
    await client.ready
    await Promise.all(all.map((child) => child.call('relays', { relays: path })))
    const end = () => {
      for (const child of all) child.end()
    }
    return { client, relays, all, path, end }
  } catch (error) {
    for (const child of all) child.end()
    throw error
  }
}

/** Runs `work` and tells how many CPU seconds each process took meanwhile, and how long it was. */
export async function measured(children, work) {
  const before = children.map((child) => cpuSeconds(child.pid))
  const began = performance.now()
  const result = await work()
  const seconds = (performance.now() - began) / 1000
  const cpu = Object.fromEntries(children.map((child, at) => [child.name, cpuSeconds(child.pid) - before[at]]))
  return { result, seconds, cpu, cpuTotal: Object.values(cpu).reduce((sum, value) => sum + value, 0) }
}

/** The value below which the share `q` of `values` lies. */
export function quantile(values, q) {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))]
}

/** The value in the middle; of an even count, between the two that are. */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b)
  const half = sorted.length / 2
  return (sorted[Math.ceil(half) - 1] + sorted[Math.floor(half)]) / 2
}
