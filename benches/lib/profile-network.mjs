// Packets and system calls a megabyte, bytes on the wire a byte of payload. perf counts calls without slowing anything down; strace sees the
// sizes of datagrams, and makes batches larger than they are, since it slows the receiver more than the wire.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { output, step } from '../../scripts/lib.mjs'
import { folder } from './profile-build.mjs'

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
const CALLS = ['sendmsg', 'recvmmsg', 'epoll_wait', 'sendto', 'recvfrom', 'futex', 'write', 'madvise']
const COUNTED = 500e6
const TRACED = 50e6
/** Datagrams that quinn puts into one send at most. */
const SEGMENTS_MOST = 10
const IP_AND_UDP_HEADERS = 28

/** Starts one observer for each child, runs `work`, ends them; what each said on stderr. */
async function observe(children, command, argsFor, work) {
  const observers = children.map((child) => {
    const observer = spawn(command, argsFor(child), { stdio: ['ignore', 'ignore', 'pipe'] })
    let said = ''
    observer.stderr.setEncoding('utf8').on('data', (text) => (said += text))
    return { observer, ended: once(observer, 'close').then(() => said) }
  })
  await sleep(1500)
  await work()
  for (const { observer } of observers) observer.kill('SIGINT')
  return Promise.all(observers.map(({ ended }) => ended))
}

/** System calls a megabyte by name; undefined where the kernel shows perf no tracepoints. */
async function systemCalls(children, load) {
  const events = ['raw_syscalls:sys_enter', ...CALLS.map((name) => `syscalls:sys_enter_${name}`), 'page-faults', 'context-switches']
  if (output('perf', ['stat', '-e', events.join(','), 'true'], { stdio: 'ignore' }) === undefined) return undefined
  step('counting system calls')
  const said = await observe(
    children,
    'perf',
    ({ pid }) => ['stat', '-x', ',', '-e', events.join(','), '-p', String(pid)],
    () => load(COUNTED)
  )
  const counts = (text) =>
    text
      .split('\n')
      .map((line) => line.split(','))
      .filter((fields) => fields.length > 2)
      .map(([count, , event]) => [
        event.replace(/^.*sys_enter_/, '').replace('raw_syscalls:sys_enter', 'all'),
        Number(count) / (COUNTED / 1e6)
      ])
  return Object.fromEntries(children.map(({ name }, at) => [name, Object.fromEntries(counts(said[at]))]))
}

/** Sends by destination and receives, out of strace's lines. */
function traced(file) {
  const sends = new Map()
  const receives = { calls: 0, empty: 0, messages: 0, bytes: 0 }
  for (const line of readFileSync(file, 'utf8').split('\n')) {
    const sent = /\bsendmsg\(.*sin_port=htons\((\d+)\), sin_addr=inet_addr\("([\d.]+)"\).* = (\d+)$/.exec(line)
    if (sent) {
      const [, port, address, bytes] = sent
      // Clients all have one address, and a port each.
      const to = address === '127.0.0.1' ? `client:${port}` : address
      const entry = sends.get(to) ?? { calls: 0, batches: [], single: 0, bytes: 0, largest: 0 }
      entry.calls += 1
      entry.bytes += Number(bytes)
      if (/UDP_SEGMENT|cmsg_type=0x67/.test(line)) entry.batches.push(Number(bytes))
      else {
        entry.single += 1
        entry.largest = Math.max(entry.largest, Number(bytes))
      }
      sends.set(to, entry)
    } else if (/\brecvmmsg\(|recvmmsg resumed/.test(line) && !line.endsWith('<unfinished ...>')) {
      const count = Number(/ = (-?\d+)/.exec(line)?.[1] ?? -1)
      receives.calls += 1
      if (count <= 0) receives.empty += 1
      else {
        receives.messages += count
        for (const [, length] of line.matchAll(/msg_len=(\d+)/g)) receives.bytes += Number(length)
      }
    }
  }
  for (const entry of sends.values()) {
    // A full batch is ten segments; what is shorter has segments of the same size.
    entry.segment = entry.batches.length > 0 ? Math.max(entry.largest, Math.max(...entry.batches) / SEGMENTS_MOST) : entry.largest
    entry.packets = entry.single + entry.batches.reduce((sum, bytes) => sum + Math.ceil(bytes / entry.segment), 0)
  }
  return { sends, receives }
}

async function datagrams(children, load) {
  if (output('strace', ['-V']) === undefined) return { missing: 'there is no `strace`: get it with `apt install strace`' }
  step('tracing datagrams')
  const file = (name) => join(folder, `strace.${name}`)
  const args = ({ name, pid }) => [
    '-f',
    '-q',
    '-e',
    'trace=sendmsg,recvmmsg',
    '-e',
    'abbrev=none',
    '-s',
    '0',
    '-o',
    file(name),
    '-p',
    String(pid)
  ]
  await observe(children, 'strace', args, () => load(TRACED))
  return Object.fromEntries(children.map(({ name }) => [name, traced(file(name))]))
}

const nodeNames = { '127.1.0.1': 'guard', '127.2.0.1': 'middle', '127.3.0.1': 'exit' }

export async function profileNetwork(children, load) {
  const calls = await systemCalls(children, load)
  const found = await datagrams(children, load)
  if (found.missing) return { calls, missing: found.missing }
  const megabytes = TRACED / 1e6
  const links = []
  for (const { name } of children) {
    for (const [to, { calls: sendCalls, packets, bytes, segment, single }] of found[name].sends) {
      const target = to.startsWith('client') ? 'client' : (nodeNames[to] ?? to)
      links.push({
        link: `${name} to ${target}`,
        packetsPerMegabyte: packets / megabytes,
        packet: segment,
        packetsPerSend: packets / sendCalls,
        sendsWithoutGso: single / sendCalls,
        bytesPerByte: (bytes + packets * IP_AND_UDP_HEADERS) / TRACED
      })
    }
  }
  const receives = Object.fromEntries(
    children.map(({ name }) => {
      const { calls: count, empty, messages, bytes } = found[name].receives
      return [
        name,
        {
          callsPerMegabyte: count / megabytes,
          emptyShare: empty / count,
          messagesPerCall: messages / (count - empty),
          bytesPerMessage: bytes / messages
        }
      ]
    })
  )
  return { calls, links, receives }
}
