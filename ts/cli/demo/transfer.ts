/** Fetches a URL by an ordinary client: curl, or a small client of our own where curl is missing. */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createReadStream, createWriteStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { connectTo, type Dial, get, parseUrl, throughConnect, throughSocks } from '../http.js'
import { CommandFailed } from '../io.js'
import { joinHost } from './addresses.js'

/** The ways to the site. */
export type Way = 'direct' | 'socks5' | 'connect'

/** What one transfer came to. */
export interface Transfer {
  readonly way: Way
  readonly client: 'curl' | 'built-in'
  readonly status: number
  readonly bytes: number
  /** Milliseconds from the start of the request to the first byte of the answer. */
  readonly ttfbMs: number
  /** Milliseconds altogether. */
  readonly totalMs: number
  /** Bytes a second from the first byte on. */
  readonly goodput: number
  readonly sha256: string
}

/** Longest transfer, in milliseconds. */
const TRANSFER_DEADLINE_MS = 180_000

/** Whether there is a curl. */
export async function hasCurl(): Promise<boolean> {
  const child = spawn('curl', ['--version'], { stdio: 'ignore' })
  return new Promise((resolve) => {
    child.once('error', () => resolve(false))
    child.once('exit', (code) => resolve(code === 0))
  })
}

/** The flags with which curl takes a way. */
export function curlFlags(way: Way, proxy: string): string[] {
  if (way === 'direct') return ['--noproxy', '*']
  return way === 'socks5' ? ['--socks5-hostname', proxy] : ['--proxytunnel', '--proxy', `http://${proxy}`]
}

async function sha256Of(path: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), hash)
  return hash.digest('hex')
}

interface Raw {
  readonly status: number
  readonly bytes: number
  readonly ttfbMs: number
  readonly totalMs: number
}

async function byCurl(url: string, way: Way, proxy: string, file: string, signal: AbortSignal): Promise<Raw> {
  const format = '%{http_code} %{size_download} %{time_starttransfer} %{time_total}'
  const child = spawn(
    'curl',
    ['-sS', '--max-time', String(TRANSFER_DEADLINE_MS / 1_000), ...curlFlags(way, proxy), '-o', file, '-w', format, url],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
      signal
    }
  )
  let said = ''
  let complaint = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint += text
  })
  const [code] = (await once(child, 'close')) as [number | null]
  if (code !== 0)
    throw new CommandFailed(`curl failed on its way ${way}: ${complaint.trim() || `code ${code}`}`, 'ERR_ANONNET_STREAM_REFUSED')
  const [status = 0, bytes = 0, first = 0, total = 0] = said.split(' ').map(Number)
  return { status, bytes, ttfbMs: first * 1_000, totalMs: total * 1_000 }
}

async function byOwnClient(url: string, way: Way, proxy: string, file: string, signal: AbortSignal): Promise<Raw> {
  const direct: Dial = (host, port, abort) => connectTo(joinHost(host, port), abort)
  const dial = way === 'direct' ? direct : way === 'socks5' ? throughSocks(proxy) : throughConnect(proxy)
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(TRANSFER_DEADLINE_MS)])
  const began = performance.now()
  const answer = await get(parseUrl(url), dial, deadline)
  let bytes = 0
  answer.body.on('data', (chunk: Buffer) => {
    bytes += chunk.length
  })
  await pipeline(answer.body, createWriteStream(file), { signal: deadline })
  return { status: answer.status, bytes, ttfbMs: answer.ttfbMs, totalMs: performance.now() - began }
}

/** Fetches into a file and hashes it. */
export async function transfer(url: string, way: Way, proxy: string, file: string, curl: boolean, signal: AbortSignal): Promise<Transfer> {
  const raw = await (curl ? byCurl : byOwnClient)(url, way, proxy, file, signal)
  const seconds = Math.max((raw.totalMs - raw.ttfbMs) / 1_000, 0.000_1)
  return { way, client: curl ? 'curl' : 'built-in', ...raw, goodput: raw.bytes / seconds, sha256: await sha256Of(file) }
}
