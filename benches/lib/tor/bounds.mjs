// What nothing here can be faster than, in the same rounds: TCP through three forwarders, one link of ours, AES of OpenSSL.
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { listening } from '../pump.mjs'
import { throughput } from './measure.mjs'

const FORWARDERS = 3
const LINK_MEGABYTES = 500
const root = fileURLToPath(new URL('../../../', import.meta.url))
const linkArguments = ['--release', '-q', '-p', 'anonnet-transport', '--example', 'link_bench']

/** Builds what the bounds need. */
export function buildBounds() {
  execFileSync('cargo', ['build', ...linkArguments], { cwd: root, stdio: ['ignore', 2, 2] })
}

/** A chain of forwarders to the server, as a subject: the last one started is where the client connects. */
export async function startForwarders(server) {
  const processes = []
  let port = server.port
  for (let number = 0; number < FORWARDERS; number++) {
    const forwarder = await listening(`forwarder ${number}`, 'forward', String(port))
    processes.push(forwarder)
    port = forwarder.port
  }
  return { processes, port, end: () => Promise.all(processes.map((child) => child.end('SIGKILL'))) }
}

/** One round of the bounds. */
export async function measureBounds(chain, settings) {
  const subject = { proxy: '-', processes: chain.processes }
  const forwarders = {
    one: await throughput(subject, chain.port, 'down', settings),
    eight: await throughput(subject, chain.port, 'eight', settings)
  }
  const said = execFileSync('cargo', ['run', ...linkArguments, '--', String(LINK_MEGABYTES), '8', 'node', '1'], {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 2]
  })
  const number = (name) => Number(new RegExp(`^${name} +([\\d.]+)`, 'm').exec(said)[1])
  return { forwarders, link: { megabytesPerSecond: number('goodput'), cpuPerGigabyte: number('cpu') }, aes: aes() }
}

/** MB/s of AES-128-CTR on one processor; absent where there is no openssl. */
function aes() {
  try {
    const said = execFileSync('openssl', ['speed', '-mr', '-seconds', '1', '-bytes', '1024', '-evp', 'aes-128-ctr'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore']
    })
    return Number(/^\+F:\d+:[^:]+:([\d.]+)/m.exec(said)[1]) / 1e6
  } catch {
    return undefined
  }
}

/** Milliseconds of cryptography in one circuit of three hops, client and relays together, by the benches of the crypto crate. */
export function handshakeMs() {
  try {
    const args = [
      'bench',
      '-q',
      '-p',
      'anonnet-crypto',
      '--bench',
      'handshake',
      '--',
      '--warm-up-time',
      '0.5',
      '--measurement-time',
      '1',
      '--noplot'
    ]
    const said = execFileSync('cargo', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
    const unit = { ns: 1e-6, µs: 1e-3, us: 1e-3, ms: 1 }
    const time = (name) => {
      const [, value, of] = new RegExp(`handshake/${name}\\s+time:\\s+\\[\\S+ \\S+ ([\\d.]+) (\\S+)`).exec(said)
      return Number(value) * unit[of]
    }
    return 3 * (time('client-start') + time('relay-respond') + time('client-finish'))
  } catch {
    return undefined
  }
}
