// The short form for CI: what does not depend on how busy the machine is, with room for what still does. The marks themselves are the long form's.
import { loadavg } from 'node:os'
import { buildPump, listening } from '../pump.mjs'
import { temporaryFolder } from './children.mjs'
import { idleCircuits, resident } from './footprint.mjs'
import { throughput } from './measure.mjs'
import { findTor, TorNetwork } from './network.mjs'
import { OurNetwork } from './ours.mjs'
import { idlePart } from './subjects.mjs'

const KIB = 1024
const ROUNDS = 3
const WINDOW = { warm: 1, seconds: 3 }
const CIRCUITS = 1000
/** The marks for circuits, of which a fifth or more is left; of the rest a tenth or more above what is measured on a busy machine. */
const BUDGETS = [
  { name: 'idle circuit in a relay', unit: 'KiB', most: 6, of: ({ idle }) => idle.relay / KIB },
  { name: 'idle circuit in the client', unit: 'KiB', most: 12, of: ({ idle }) => idle.client / KIB },
  { name: 'idle relay, RSS', unit: 'MB', most: 70, of: ({ rss }) => rss.relay / 1e6 },
  { name: 'client, RSS', unit: 'MB', most: 70, of: ({ rss }) => rss.client / 1e6 },
  {
    name: "CPU of a byte by Tor's, least of the rounds",
    unit: 'times',
    most: 0.8,
    of: ({ cpu }) => Math.min(...cpu.map(({ ours, tor }) => ours / tor))
  }
]

/** Measures and compares; one of Tor's schedulers, the one that costs least a byte. */
export async function check() {
  findTor()
  buildPump()
  const folder = temporaryFolder()
  const [server, tor, ours] = await Promise.all([
    listening('the server', 'serve'),
    TorNetwork.start('Vanilla', folder),
    OurNetwork.start(folder)
  ])
  const builder = await ours.builder()
  const rss = resident(ours.relays, ours.client)
  const idle = await idleCircuits(idlePart(ours, builder, CIRCUITS))
  const subjects = {
    tor: { processes: tor.subject(tor.client), proxy: tor.socks.plain },
    ours: { processes: ours.all, proxy: ours.socks }
  }
  const cpu = []
  for (let round = 0; round < ROUNDS; round++) {
    const figures = {}
    for (const [name, subject] of Object.entries(subjects)) {
      figures[name] = (await throughput(subject, server.port, 'eight', WINDOW)).cpuPerGigabyte
    }
    cpu.push(figures)
  }
  builder.end()
  await Promise.all([server, tor, ours].map((child) => child.end()))
  const figures = { rss, idle, cpu, load: loadavg()[0] }
  const rows = BUDGETS.map(({ of, ...row }) => ({ ...row, measured: of(figures) }))
  const text = rows.map(({ name, unit, most, measured }) => `${name}: ${measured.toFixed(2)} ${unit} (at most ${most})`)
  return { figures: { ...figures, rows }, text: text.join('\n'), ok: rows.every(({ most, measured }) => measured <= most) }
}
