// A wide-area network on one machine: a namespace for each node, and `shaper.rs` as everything between them.
import { execFileSync } from 'node:child_process'
import { accessSync, constants, mkdirSync, readdirSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Process } from '../tor/children.mjs'

const source = fileURLToPath(new URL('../shaper.rs', import.meta.url))
const folder = fileURLToPath(new URL('../../../target/bench/', import.meta.url))
const binary = `${folder}shaper`
const PREFIX = 'anwan-'
const MTU = 1500
/** Packets that the kernel keeps for the shaper: enough that only the shaper drops any. */
const TRANSMIT_QUEUE = 10_000
const SEED = '1'

/** The name of what is missing here for such a network, or nothing. */
export function missing() {
  if (process.platform !== 'linux') return 'Linux'
  if (process.getuid() !== 0) return 'root'
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK)
  } catch {
    return '/dev/net/tun'
  }
  try {
    execFileSync('ip', ['netns', 'list'], { stdio: 'ignore' })
  } catch {
    return 'ip of iproute2, with network namespaces'
  }
  return undefined
}

function build() {
  mkdirSync(folder, { recursive: true })
  const built = statSync(binary, { throwIfNoEntry: false })
  if (built && built.mtimeMs > statSync(source).mtimeMs) return
  execFileSync('rustc', ['--edition', '2021', '-O', '-o', binary, source], { stdio: ['ignore', 2, 2] })
}

/** Removes what a bench left that was killed. */
function sweep() {
  const isGone = (pid) => statSync(`/proc/${pid}`, { throwIfNoEntry: false }) === undefined
  let names = []
  try {
    names = readdirSync('/run/netns')
  } catch {
    // There never was one.
  }
  for (const name of names) {
    const [, pid] = new RegExp(`^${PREFIX}(\\d+)-`).exec(name) ?? []
    if (pid && isGone(pid)) execFileSync('ip', ['netns', 'del', name], { stdio: 'ignore' })
  }
}

export class WideNetwork {
  #names = []
  #answers = 0

  static async open() {
    build()
    sweep()
    const network = new WideNetwork()
    network.shaper = new Process('the shaper', binary, [SEED])
    process.on('exit', () => network.#remove())
    return network
  }

  /** The shaper answers in order. */
  async #tell(line) {
    const number = this.#answers++
    this.shaper.process.stdin.write(`${line}\n`)
    await this.shaper.line(() => this.shaper.lines.length > number, 20)
    return this.shaper.lines[number].split(' ').slice(1)
  }

  #full(name) {
    return name === '*' ? name : `${PREFIX}${process.pid}-${name}`
  }

  /** A node: its address, in a /16 of its own, and how a command is run there. */
  async node(name) {
    const full = this.#full(name)
    const address = `10.${this.#names.length + 1}.0.1`
    execFileSync('ip', ['netns', 'add', full])
    this.#names.push(full)
    await this.#tell(`node ${full} ${address}`)
    const lines = ['link set lo up', `addr add ${address}/8 dev wan0`, `link set wan0 mtu ${MTU} txqueuelen ${TRANSMIT_QUEUE} up`]
    execFileSync('ip', ['-n', full, '-batch', '-'], { input: `${lines.join('\n')}\n` })
    return { address, inside: (command, args) => ['ip', ['netns', 'exec', full, command, ...args]] }
  }

  /** Sets the links from one node to another (`*`: from or to all); milliseconds, a share of packets, bits a second. */
  async link(from, to, { delayMs = 0, jitterMs = 0, loss = 0, bitsPerSecond = 0, queueMs = 0 }) {
    const micros = (ms) => Math.round(ms * 1000)
    const numbers = [micros(delayMs), micros(jitterMs), Math.round(loss * 1e6), bitsPerSecond, micros(queueMs)]
    const [count] = await this.#tell(`link ${this.#full(from)} ${this.#full(to)} ${numbers.join(' ')}`)
    if (count === '0') throw new Error(`no link from ${from} to ${to}`)
  }

  /** Packets so far, and the longest wait for a rate and the latest departure since the last call, in milliseconds. */
  async stats() {
    const [passed, lost, dropped, refused, waited, late] = (await this.#tell('stats')).map(Number)
    return { passed, lost, dropped, refused, waitedMs: waited / 1000, lateMs: late / 1000 }
  }

  async end() {
    await this.shaper.end('SIGKILL')
    this.#remove()
  }

  #remove() {
    for (const name of this.#names.splice(0)) {
      try {
        execFileSync('ip', ['netns', 'del', name], { stdio: 'ignore' })
      } catch {
        // The next bench sweeps it.
      }
    }
  }
}
