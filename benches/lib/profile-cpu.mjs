// CPU of a load, by perf's clock: no hardware counters are needed. Flame graphs, folded stacks, and shares by what the time is spent on.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fail, output, root, step } from '../../scripts/lib.mjs'
import { measured } from './processes.mjs'
import { buildFlame, folder, results } from './profile-build.mjs'

const HERTZ = 997
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** Kernel time by the first of these that the stack holds, from the call on: the softirq that delivers on loopback runs in the sender. */
const kernel = [
  ['kernel: page faults, heap trimmed', /page_fault|madvise|munmap|_brk|mprotect|_mmap/],
  ['kernel: UDP send, with loopback delivery', /sys_sendmsg|sys_sendmmsg|udp_sendmsg/],
  ['kernel: UDP receive', /sys_recvmmsg|sys_recvmsg|udp_recvmsg/],
  ['kernel: TCP', /tcp_|sys_sendto|sys_recvfrom|sock_write_iter|sock_read_iter/],
  ['kernel: scheduling, waiting, waking', /epoll|futex|schedule|finish_task_switch|nanosleep|eventfd|poll/]
]
/** A program's time by the innermost frame that tells. */
const own = [
  ['TLS records', /ring_core|\bring::|rustls/],
  ['X25519', /curve25519_dalek|x25519_dalek/],
  ['ML-KEM, SHA-3', /libcrux|ml_kem|keccak|sha3::|anonnet_crypto::kem/],
  ['the rest of handshakes', /anonnet_crypto::(handshake|keys)|^<?(sha2|hkdf|hmac|digest)::/],
  ['onion layers', /anonnet_crypto|^<?(aes|polyval|cipher|ctr|universal_hash)::/],
  ['QUIC', /quinn|tracing::instrument|<anonnet_transport/],
  ['circuits, streams, cells', /anonnet_/],
  ['runtime', /tokio|mio::|core::|std::|alloc::|start_thread/],
  ['Node', /node::|v8::|uv_|napi/]
]
/** How many of them come before copies in the table. */
const OWN_FIRST = 6
const copies = /^(__)?mem(move|cpy|set|cmp)|^memmove|_chk_fail/
const allocator =
  /^_?_?(libc_)?(int_)?(malloc|free|realloc|calloc|memalign)|^(sysmalloc|unlink_chunk|heap_trim|systrim|cfree)|tcache|^_int_/

export const groups = [
  ...own.slice(0, OWN_FIRST).map(([name]) => name),
  'copies',
  'allocator',
  ...own.slice(OWN_FIRST).map(([name]) => name),
  ...kernel.map(([name]) => name),
  'kernel: other',
  'other'
]

function groupOf(frames) {
  const leaf = frames.at(-1)
  if (leaf.endsWith('_[k]')) {
    const inKernel = frames.filter((frame) => frame.endsWith('_[k]')).join(';')
    return kernel.find(([, pattern]) => pattern.test(inKernel))?.[0] ?? 'kernel: other'
  }
  if (copies.test(leaf)) return 'copies'
  if (allocator.test(leaf)) return 'allocator'
  for (const frame of frames.toReversed()) {
    const group = own.find(([, pattern]) => pattern.test(frame))
    if (group) return group[0]
  }
  return 'other'
}

/** Shares of a process' samples: by group, by symbol, and the copies by who copies. */
function tables(folded) {
  const [byGroup, bySymbol, copiers] = [new Map(), new Map(), new Map()]
  let total = 0
  const add = (map, key, count) => map.set(key, (map.get(key) ?? 0) + count)
  for (const line of folded.split('\n')) {
    const at = line.lastIndexOf(' ')
    if (at < 0) continue
    const [frames, count] = [line.slice(0, at).split(';').slice(1), Number(line.slice(at + 1))]
    if (frames.length === 0) continue
    const group = groupOf(frames)
    total += count
    add(byGroup, group, count)
    add(bySymbol, `${frames.at(-1)}\t${group}`, count)
    if (group === 'copies') add(copiers, frames.toReversed().find((frame) => /quinn|anonnet|tokio/.test(frame)) ?? 'unknown', count)
  }
  const shares = (map, most) =>
    [...map]
      .sort(([, a], [, b]) => b - a)
      .slice(0, most)
      .map(([name, count]) => [name, count / total])
  return { samples: total, byGroup: shares(byGroup), bySymbol: shares(bySymbol, 15), copiers: shares(copiers, 5) }
}

async function record(children, data, work) {
  const args = [
    'record',
    '-q',
    '-e',
    'cpu-clock',
    '-F',
    String(HERTZ),
    '-g',
    '-o',
    data,
    '-p',
    children.map((child) => child.pid).join(',')
  ]
  const perf = spawn('perf', args, { stdio: ['ignore', 'ignore', 'inherit'] })
  const ended = once(perf, 'exit')
  await sleep(700)
  if (perf.exitCode !== null) fail(`perf ended with ${perf.exitCode}: it may need root, or \`sysctl kernel.perf_event_paranoid=1\`.`)
  const result = await work()
  perf.kill('SIGINT')
  await ended
  return result
}

/** Whether there is a perf; what is missing where there is none. */
export const lacksPerf = () =>
  output('perf', ['--version']) === undefined
    ? 'there is no `perf`: get it with `apt install linux-perf` (Debian) or `apt install linux-tools-generic` (Ubuntu)'
    : undefined

/** Records all processes at once while `work()` runs, which resolves to how often it did what is counted, and perhaps how long each took. */
export async function profileCpu(children, { key, title, unit, scale, work }) {
  const flame = await buildFlame()
  const data = join(folder, 'perf.data')
  step(`recording ${title}`)
  const { result, seconds: took, cpu } = await record(children, data, () => measured(children, work))
  const byProcess = {}
  for (const { name, pid } of children) {
    const script = join(folder, `${name}.perf`)
    const text = output('perf', ['script', '-i', data, '--pid', String(pid), '-F', 'comm,pid,tid,time,event,ip,sym,dso'], {
      stdio: ['ignore', 'pipe', 'ignore']
    })
    if (!text) fail('`perf script` could not read what `perf record` wrote.')
    writeFileSync(script, text)
    const [folded, svg] = ['folded', 'svg'].map((end) => join(results, `flame-${key}-${name}.${end}`))
    const cpuEach = (cpu[name] / result.count) * scale
    const head = `${name}, ${title}, ${cpuEach.toPrecision(3)} ${unit}`
    if (output(flame, [head, script, folded, svg], { cwd: root }) === undefined) fail('The flame graph could not be drawn.')
    byProcess[name] = { cpuEach, ...tables(readFileSync(folded, 'utf8')) }
  }
  return { key, title, unit, ...result, took, byProcess }
}
