/** The demo's web site: a page and a large file of seeded bytes, served by a process of its own. */
import { createCipheriv, createHash } from 'node:crypto'
import { once } from 'node:events'
import { createReadStream, createWriteStream } from 'node:fs'
import { stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import type { Command } from 'commander'
import { splitAddress } from '../../config/index.js'
import { type Io, printJson, UsageError } from '../io.js'
import { catchEndings } from '../lifecycle.js'

/** Size of the large file: 100 MB, in bytes. */
export const LARGE_FILE_BYTES = 100_000_000
/** Its name. */
export const LARGE_FILE = 'large.bin'
const PAGE_FILE = 'index.html'
const PAGE = `<!doctype html>
<title>AnonNet demo</title>
<h1>It works</h1>
<p>This page came through three relays. The site saw the exit's address, the guard saw the client's, and no relay saw both.</p>
<p><a href="${LARGE_FILE}">A file of 100 MB</a></p>
`
const CHUNK_BYTES = 1 << 20
const SEED = 'anonnet demo, seed 1'

/** Writes the site into a folder; resolves with the SHA-256 of the large file, in hex. The bytes are the key stream of a seed: the same each time. */
export async function makeSite(folder: string, signal: AbortSignal): Promise<string> {
  await writeFile(join(folder, PAGE_FILE), PAGE)
  const seed = createHash('sha256').update(SEED).digest()
  const stream = createCipheriv('aes-128-ctr', seed.subarray(0, 16), seed.subarray(16))
  const zeros = Buffer.alloc(CHUNK_BYTES)
  const hash = createHash('sha256')
  const file = createWriteStream(join(folder, LARGE_FILE))
  for (let left = LARGE_FILE_BYTES; left > 0; left -= CHUNK_BYTES) {
    signal.throwIfAborted()
    const chunk = stream.update(left < CHUNK_BYTES ? zeros.subarray(0, left) : zeros)
    hash.update(chunk)
    if (!file.write(chunk)) await once(file, 'drain', { signal })
  }
  file.end()
  await once(file, 'close')
  return hash.digest('hex')
}

async function serveSite(io: Io, folder: string, listen: string): Promise<number> {
  const at = splitAddress(listen)
  if (at === undefined) throw new UsageError('--listen expects ip:port')
  const server = createServer((request, response) => {
    const name = request.url === '/' ? PAGE_FILE : (request.url ?? '').slice(1)
    if (request.method !== 'GET' || (name !== PAGE_FILE && name !== LARGE_FILE)) {
      response.writeHead(404, { 'content-type': 'text/plain' }).end('not here\n')
      return
    }
    const path = join(folder, name)
    stat(path).then(
      ({ size }) => {
        response.writeHead(200, { 'content-type': name === PAGE_FILE ? 'text/html' : 'application/octet-stream', 'content-length': size })
        const file = createReadStream(path, { highWaterMark: 1 << 18 })
        response.on('close', () => file.destroy())
        file.on('error', () => response.destroy())
        file.pipe(response)
      },
      () => response.writeHead(500).end()
    )
  })
  server.listen(at.port, at.host)
  await once(server, 'listening')
  const bound = server.address()
  const port = typeof bound === 'object' && bound !== null ? bound.port : 0
  printJson(io, { event: 'ready', role: 'site', url: `http://${at.host}:${port}/`, pid: process.pid })
  const endings = catchEndings()
  await endings.ended
  server.close()
  server.closeAllConnections()
  endings.release()
  return 0
}

/** Adds the hidden verb that the demo starts as its site. */
export function siteCommand(program: Command, io: Io, finish: (code: number) => void): void {
  program
    .command('demo-site', { hidden: true })
    .requiredOption('--folder <dir>')
    .requiredOption('--listen <ip:port>')
    .action(async (flags: { folder: string; listen: string }) => finish(await serveSite(io, flags.folder, flags.listen)))
}
