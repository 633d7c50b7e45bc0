// One stream each way, 1 GiB, its hash checked; no process may grow while it runs.
import { createHash } from 'node:crypto'
import { Child, residentBytes, startChain } from './lib/processes.mjs'
import { socks } from './lib/socks.mjs'

const MIB = 1 << 20
/** What a process may have more at the end than when a tenth was done. */
const GROWTH_MAX_BYTES = 16 * MIB

export async function soak({ short }) {
  const bytes = (short ? 128 : 1024) * MIB
  const endpoint = new Child('endpoint', './endpoint.mjs', [])
  const nodes = await startChain()
  const memory = () => Object.fromEntries(nodes.all.map((node) => [node.name, residentBytes(node.pid)]))
  try {
    const { port } = await endpoint.ready
    await nodes.client.call('build', { path: nodes.path, count: 1, atOnce: 1, keep: true })
    const proxy = await nodes.client.call('proxy')
    const runs = {}
    for (const [name, transfer] of Object.entries({ download, upload })) {
      let atTenth
      const hashOk = await transfer(proxy, port, bytes, (done) => {
        if (!atTenth && done >= bytes / 10) atTenth = memory()
      })
      const atEnd = memory()
      const growth = Object.fromEntries(Object.keys(atEnd).map((process) => [process, atEnd[process] - atTenth[process]]))
      runs[name] = { hashOk, atTenth, atEnd, growth }
    }
    const ok = Object.values(runs).every((run) => run.hashOk && Object.values(run.growth).every((value) => value <= GROWTH_MAX_BYTES))
    const lines = Object.entries(runs).flatMap(([name, run]) => [
      `${name} of ${bytes / MIB} MiB through one stream: SHA-256 ${run.hashOk ? 'right' : 'WRONG'}`,
      ...Object.keys(run.growth).map((process) => {
        const [tenth, end] = [run.atTenth[process] / MIB, run.atEnd[process] / MIB]
        return `  ${process}: RSS ${tenth.toFixed(1)} MiB at 10 %, ${end.toFixed(1)} MiB at the end (${(end - tenth).toFixed(1)}; at most ${GROWTH_MAX_BYTES / MIB})`
      })
    ])
    return { figures: { bytes, runs }, text: lines.join('\n'), ok }
  } finally {
    nodes.end()
    endpoint.end()
  }
}

/** The endpoint sends the hash behind the bytes. */
async function download(proxy, port, bytes, onProgress) {
  const socket = await socks(proxy, port)
  socket.write(`GET ${bytes} hashed\n`)
  const hash = createHash('sha256')
  const tail = []
  let got = 0
  for await (const chunk of socket) {
    const body = chunk.subarray(0, Math.max(0, bytes - got))
    hash.update(body)
    if (body.length < chunk.length) tail.push(chunk.subarray(body.length))
    got += chunk.length
    onProgress(Math.min(got, bytes))
  }
  return got === bytes + 32 && Buffer.concat(tail).equals(hash.digest())
}

/** The endpoint answers with the hash of what it got. */
async function upload(proxy, port, bytes, onProgress) {
  const socket = await socks(proxy, port)
  const block = Buffer.alloc(MIB)
  const hash = createHash('sha256')
  socket.write(`PUT ${bytes}\n`)
  for (let sent = 0; sent < bytes; sent += block.length) {
    block.writeUInt32BE(sent / MIB)
    const copy = Buffer.from(block)
    hash.update(copy)
    if (!socket.write(copy)) await new Promise((resolve) => socket.once('drain', resolve))
    onProgress(sent)
  }
  const answer = []
  socket.resume()
  for await (const chunk of socket) answer.push(chunk)
  return Buffer.concat(answer).equals(hash.digest())
}
