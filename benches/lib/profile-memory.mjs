// Memory of idle circuits, from 10 to 10,000: what each process has allocated, and its resident set. Whether the cost of a byte stays the same
// beside them, too.
import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { step } from '../../scripts/lib.mjs'
import { Child, measured, residentBytes, startChain } from './processes.mjs'
import { buildCounter, folder } from './profile-build.mjs'
import { download } from './socks.mjs'

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
/** A client's link carries 1,024 circuits at most. */
const PER_CLIENT = 1000
const DOWNLOAD = 200e6
/** Circuits that idle rest their keys by then. */
const REST_MS = 4000

/** Bytes and blocks in use by pid, as the preloaded library counts them; undefined without it. */
function allocated(counts, pid) {
  if (!counts) return undefined
  const file = readFileSync(join(counts, String(pid)))
  return { bytes: Number(file.readBigInt64LE(0)), blocks: Number(file.readBigInt64LE(8)) }
}

/** The figures of every process at each number of circuits, each as the difference to none, divided by the number. */
export async function profileMemory(port, most = 10_000) {
  const library = buildCounter()
  const counts = library && join(folder, 'counts')
  if (counts) {
    rmSync(counts, { recursive: true, force: true })
    mkdirSync(counts)
    process.env.COUNT_ALLOC = counts
    process.env.LD_PRELOAD = library
  }
  const clients = []
  let nodes
  try {
    nodes = await startChain()
    const build = (client, count) => client.call('build', { path: nodes.path, count, atOnce: 10, keep: true })
    const look = () => nodes.all.map(({ name, pid }) => ({ name, rss: residentBytes(pid), ...allocated(counts, pid) }))
    const cost = async () => {
      const { cpuTotal } = await measured(nodes.all, () => download(proxy, port, DOWNLOAD, '0'))
      return cpuTotal / (DOWNLOAD / 1e9)
    }
    // The first circuit stays and carries the downloads; links, tables and caches are warm before anything is counted.
    const proxy = await nodes.client.call('proxy')
    await build(nodes.client, 1)
    await download(proxy, port, DOWNLOAD, '0')
    const alone = [await cost(), await cost(), await cost()]
    await sleep(REST_MS)
    const before = look()
    const steps = []
    let built = 0
    for (const count of [10, 100, 1000, most]) {
      step(`${count} circuits`)
      while (built < count) {
        // One more client for every further thousand.
        const more = Math.min(count - built, built < PER_CLIENT ? PER_CLIENT - built : PER_CLIENT)
        let client = nodes.client
        if (built >= PER_CLIENT) {
          client = new Child(`client ${clients.length + 2}`, './node-process.mjs', [JSON.stringify({})])
          clients.push(client)
          await client.ready
          await client.call('relays', { relays: nodes.path })
        }
        await build(client, more)
        built += more
      }
      await sleep(REST_MS)
      const now = look()
      const processes = now.map(({ name, rss, bytes, blocks }, at) => {
        // The first client has a thousand of them at most.
        const circuits = name === 'client' ? Math.min(count, PER_CLIENT) : count
        const each = (value, from) => (value === undefined ? undefined : (value - from) / circuits)
        return {
          name,
          rss,
          rssEach: each(rss, before[at].rss),
          bytesEach: each(bytes, before[at].bytes),
          blocksEach: each(blocks, before[at].blocks)
        }
      })
      steps.push({ count, processes })
    }
    const beside = [await cost(), await cost(), await cost()]
    return { counted: counts !== undefined, before, steps, cpuSecondsPerGigabyte: { alone, beside } }
  } finally {
    delete process.env.LD_PRELOAD
    delete process.env.COUNT_ALLOC
    for (const client of clients) client.end()
    nodes?.end()
  }
}
