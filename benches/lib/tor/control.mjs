// Tor's control port: commands are answered in order, events come between the answers.
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

const BUILD_DEADLINE_MS = 60_000

export class TorControl {
  #socket
  #answers = []
  #lines = []
  #data = false
  #circuits = new Map()
  /** What was told of circuits that nobody waits for yet: the answer that names one and its end can come in one packet. */
  #early = new Map()
  #uploads = 0

  /** Connects to the node whose data are in `folder`. */
  static async open(folder) {
    const control = new TorControl()
    control.#socket = connect(join(folder, 'control'))
    await once(control.#socket, 'connect')
    control.#socket.on('error', () => undefined)
    createInterface(control.#socket).on('line', (line) => control.#line(line))
    control.#socket.on('close', () => {
      for (const { reject } of control.#answers.splice(0)) reject(new Error('tor closed its control port'))
    })
    await control.ask(`AUTHENTICATE ${readFileSync(join(folder, 'control_auth_cookie')).toString('hex')}`)
    return control
  }

  #line(line) {
    if (this.#data) {
      if (line === '.') this.#data = false
      else this.#lines.push(line)
      return
    }
    if (line.startsWith('650')) return this.#event(line)
    if (line[3] === '+') this.#data = true
    this.#lines.push(line)
    if (line[3] !== ' ') return
    const lines = this.#lines.splice(0)
    const { resolve, reject, command } = this.#answers.shift()
    if (line.startsWith('250')) resolve(lines)
    else reject(new Error(`tor answered ${command.split(' ')[0]} with ${line}`))
  }

  #event(line) {
    const [, kind, id, state] = line.split(' ')
    if (kind === 'HS_DESC' && id === 'UPLOADED') this.#uploads += 1
    if (kind !== 'CIRC') return
    if (state !== 'BUILT' && state !== 'FAILED' && state !== 'CLOSED') return
    const waiting = this.#circuits.get(id)
    if (!waiting) {
      if (!this.#early.has(id)) this.#early.set(id, line)
      return
    }
    this.#circuits.delete(id)
    if (state === 'BUILT') waiting.resolve(id)
    else waiting.reject(new Error(`circuit: ${line}`))
  }

  /** Resolves when the circuit is built; rejects when it failed, or is not there after a minute. */
  #built(id) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#circuits.delete(id)
        reject(new Error(`circuit ${id} is not built after ${BUILD_DEADLINE_MS} ms`))
      }, BUILD_DEADLINE_MS)
      const settle = (then) => (value) => {
        clearTimeout(timer)
        then(value)
      }
      this.#circuits.set(id, { resolve: settle(resolve), reject: settle(reject) })
      const early = this.#early.get(id)
      this.#early.delete(id)
      if (early) this.#event(early)
    })
  }

  /** Resolves to the lines of the answer. */
  ask(command) {
    return new Promise((resolve, reject) => {
      this.#answers.push({ resolve, reject, command })
      this.#socket.write(`${command}\r\n`)
    })
  }

  /** The flags of every relay in the consensus, by nickname. */
  async relays() {
    const lines = await this.ask('GETINFO ns/all')
    const found = new Map()
    let name
    for (const line of lines) {
      const [kind, ...words] = line.split(' ')
      if (kind === 'r') name = words[0]
      else if (kind === 's') found.set(name, words)
    }
    return found
  }

  /** Builds `count` circuits along `paths` (fingerprints) in turn, `atOnce` at a time; resolves to how long it took, and their numbers. */
  async build({ paths, count, atOnce, keep }) {
    this.#early.clear()
    await this.ask('SETEVENTS CIRC')
    const circuits = []
    const latencies = []
    let next = 0
    const worker = async () => {
      while (next < count) {
        const path = paths[next++ % paths.length]
        const from = performance.now()
        const [answer] = await this.ask(`EXTENDCIRCUIT 0 ${path.join()}`)
        const id = answer.split(' ')[2]
        await this.#built(id)
        latencies.push(performance.now() - from)
        if (keep) circuits.push(id)
        else this.ask(`CLOSECIRCUIT ${id}`).catch(() => undefined)
      }
    }
    const began = performance.now()
    await Promise.all(Array.from({ length: atOnce }, worker))
    const seconds = (performance.now() - began) / 1000
    await this.ask('SETEVENTS')
    return { seconds, latencies, circuits }
  }

  /** Resolves when this node's onion service was stored, and no further store followed for `quiet` milliseconds. */
  async published(seconds, quiet = 3000) {
    await this.ask('SETEVENTS HS_DESC')
    const deadline = performance.now() + seconds * 1000
    for (let before = 0; ; ) {
      await new Promise((resolve) => setTimeout(resolve, quiet))
      if (this.#uploads > 0 && this.#uploads === before) return
      if (performance.now() > deadline) throw new Error(`the onion service is not stored after ${seconds} s`)
      before = this.#uploads
    }
  }

  async drop(circuits) {
    await Promise.all(circuits.map((id) => this.ask(`CLOSECIRCUIT ${id}`).catch(() => undefined)))
  }

  close() {
    this.#socket.destroy()
  }
}
