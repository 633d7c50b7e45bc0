// The profile as one Markdown report.
import { cpus } from 'node:os'
import { median, quantile } from './processes.mjs'
import { groups } from './profile-cpu.mjs'

const fixed = (value, digits = 1) => (value === undefined || Number.isNaN(value) ? '-' : value.toFixed(digits))
const percent = (share) => (share === undefined ? '-' : `${(share * 100).toFixed(1)} %`)
const table = (head, rows) => [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`)
const escaped = (symbol) =>
  `\`${symbol
    .replace(/_(avx|sse|gfni|vaes|vpclmul|pclmul)[\w]*_version/, '')
    .replaceAll('|', '\\|')
    .slice(0, 90)}\``

function loadPart({ key, title, unit, count, took, latencies, byProcess }, wanted) {
  const share = (name, group) => byProcess[name].byGroup.find(([each]) => each === group)?.[1] ?? 0
  const rows = groups
    .filter((group) => wanted.some((name) => share(name, group) >= 0.001))
    .map((group) => [group, ...wanted.map((name) => percent(share(name, group)))])
  const rate = key === 'download' ? `${fixed((count * 1e3) / took, 0)} MB/s` : `${fixed(count / took, 0)} a second`
  const delays = latencies
    ? `, each took ${fixed(median(latencies), 2)} ms (median), 95 % at most ${fixed(quantile(latencies, 0.95), 2)} ms`
    : ''
  const lines = [
    `### CPU of ${title}`,
    '',
    `${rate}${delays}, while recorded.`,
    '',
    ...table(['', ...wanted], [[unit, ...wanted.map((name) => byProcess[name].cpuEach.toPrecision(3))], ...rows]),
    ''
  ]
  for (const name of wanted) {
    const { samples, bySymbol, copiers } = byProcess[name]
    lines.push(`#### ${name}: top symbols (\`flame-${key}-${name}.svg\`, ${samples} samples)`, '')
    lines.push(
      ...table(
        ['symbol', 'share', 'group'],
        bySymbol.map(([each, value]) => {
          const [symbol, group] = each.split('\t')
          return [escaped(symbol), percent(value), group]
        })
      ),
      '',
      `Who copies: ${copiers.map(([symbol, value]) => `${escaped(symbol)} ${percent(value)}`).join(', ')}.`,
      ''
    )
  }
  return lines
}

function cpuPart({ cpu, wanted }) {
  if (cpu.missing) return ['## CPU', '', `Not measured: ${cpu.missing}.`, '']
  return [
    '## CPU',
    '',
    "Shares of samples of `cpu-clock`, 997 a second of CPU time. Kernel time is told apart by the call it happens in; what loopback delivers is paid by the sender. Copies are those of the program, the kernel's are in its calls.",
    '',
    ...cpu.loads.flatMap((load) => loadPart(load, wanted))
  ]
}

function networkPart({ network, wanted }) {
  const lines = ['## Network of a download, one stream', '']
  if (network.calls) {
    const names = Object.keys(network.calls[wanted[0]])
    lines.push(
      'A megabyte of payload, counted by perf, which slows nothing down:',
      '',
      ...table(
        ['', ...wanted],
        names.map((call) => [call === 'all' ? 'system calls' : call, ...wanted.map((name) => fixed(network.calls[name][call]))])
      ),
      ''
    )
  } else lines.push('System calls not counted: `perf` shows no tracepoints (it needs root and a kernel with them).', '')
  if (network.missing) return [...lines, `Datagrams not traced: ${network.missing}.`, '']
  lines.push(
    'Datagrams, traced with strace; that slows the processes down and so changes the batches a little, not the sizes. With headers of IP and UDP:',
    '',
    ...table(
      ['link', 'packets a MB', 'largest packet, bytes', 'packets a send', 'sends of one packet', 'bytes on the wire a byte of payload'],
      network.links
        .filter((link) => link.packetsPerMegabyte >= 0.5)
        .map((link) => [
          link.link,
          fixed(link.packetsPerMegabyte),
          fixed(link.packet, 0),
          fixed(link.packetsPerSend),
          percent(link.sendsWithoutGso),
          fixed(link.bytesPerByte, 3)
        ])
    ),
    '',
    ...table(
      ['receives', ...wanted],
      [
        ['calls a MB', ...wanted.map((name) => fixed(network.receives[name].callsPerMegabyte))],
        ['calls that found nothing', ...wanted.map((name) => percent(network.receives[name].emptyShare))],
        ['messages a call', ...wanted.map((name) => fixed(network.receives[name].messagesPerCall))],
        ['bytes a message (more than a packet: GRO)', ...wanted.map((name) => fixed(network.receives[name].bytesPerMessage, 0))]
      ]
    ),
    ''
  )
  return lines
}

function memoryPart({ memory, wanted }) {
  const value = (step, name, key) => step.processes.find((process) => process.name === name)[key]
  const row = (name, key, digits) => [name, ...memory.steps.map((step) => fixed(value(step, name, key), digits))]
  const head = ['', ...memory.steps.map(({ count }) => `${count.toLocaleString('en-US')} circuits`)]
  const { alone, beside } = memory.cpuSecondsPerGigabyte
  const most = memory.steps.at(-1).count.toLocaleString('en-US')
  const lines = [
    '## Memory of idle circuits',
    '',
    'Bytes a circuit, as the difference to one circuit after two downloads. The client has 1,000 at most (its link carries 1,024); beyond, other clients build them.',
    ''
  ]
  if (memory.counted) {
    lines.push(
      'Allocated (counted):',
      '',
      ...table(
        head,
        wanted.map((name) => row(name, 'bytesEach', 0))
      ),
      ''
    )
    lines.push(
      'Blocks:',
      '',
      ...table(
        head,
        wanted.map((name) => row(name, 'blocksEach', 1))
      ),
      ''
    )
  } else lines.push('Allocations not counted: that needs glibc and a C compiler (`apt install build-essential`).', '')
  lines.push(
    'Resident set:',
    '',
    ...table(
      head,
      wanted.map((name) => row(name, 'rssEach', 0))
    ),
    ''
  )
  lines.push(
    ...table(
      ['RSS, MB', 'one circuit', ...head.slice(1)],
      wanted.map((name) => [
        name,
        fixed(memory.before.find((process) => process.name === name).rss / 1e6),
        ...memory.steps.map((step) => fixed(value(step, name, 'rss') / 1e6))
      ])
    ),
    '',
    `CPU s/GB of a download beside them, all four processes, with the counting: ${alone.map((cost) => fixed(cost, 2)).join(', ')} alone, ${beside.map((cost) => fixed(cost, 2)).join(', ')} beside ${most} idle circuits (ratio of medians ${fixed(median(beside) / median(alone), 2)}).`,
    ''
  )
  return lines
}

export function report(found) {
  const lines = [
    `# Profile: ${found.part}`,
    '',
    `\`npm run profile -- ${found.part} --seconds ${found.seconds}\` on ${cpus().length} cores (${cpus()[0]?.model.trim()}), Node ${process.versions.node}, Linux ${process.arch}, loopback. The addon of the release profile with symbols and frame pointers.`,
    '',
    ...cpuPart(found),
    ...networkPart(found),
    ...memoryPart(found)
  ]
  return `${lines.join('\n').trimEnd()}\n`
}
