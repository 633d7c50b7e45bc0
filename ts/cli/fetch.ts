/** `anonnet fetch URL`: one page through a circuit, by a running client or one of its own. */
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Command } from 'commander'
import { controlPath, defaultStateDir } from '../config/index.js'
import { isAnonNetError } from '../errors/index.js'
import { controlRequest, createNode, type NodeStatus } from '../node/index.js'
import { type Dial, get, parseUrl, throughConnect } from './http.js'
import { CommandFailed, type Io, printJson, say, UsageError } from './io.js'
import { catchEndings, Interrupted, narrate } from './lifecycle.js'
import { loggerOf } from './log.js'
import { bootstrapOf, type CommonFlags, configOf, networkFlags, testNetworkOf } from './settings.js'

interface FetchFlags extends CommonFlags {
  readonly output?: string
}

/** What carries the request. */
interface Carrier {
  readonly dial: Dial
  readonly by: 'running client' | 'own client'
  close(): Promise<void>
}

/** A running client's proxy, when one answers on the control socket. */
async function runningClient(flags: FetchFlags): Promise<Carrier | undefined> {
  const path = flags.control ?? controlPath(flags.stateDir ?? defaultStateDir('client'))
  try {
    const { proxies } = (await controlRequest(path, 'status')) as NodeStatus
    const proxy = proxies[0]
    return proxy === undefined ? undefined : { dial: throughConnect(proxy), by: 'running client', close: () => Promise.resolve() }
  } catch (error) {
    if (isAnonNetError(error) && error.code === 'ERR_ANONNET_NOT_FOUND') return undefined
    throw error
  }
}

/** A client for this one request; nothing of it touches the disk. */
async function ownClient(io: Io, flags: FetchFlags, signal: AbortSignal): Promise<Carrier> {
  const config = configOf(io, flags, {})
  const bootstrap = bootstrapOf(config)
  const node = await createNode({
    bootstrap,
    signal,
    logger: loggerOf(io, { ...config.log, level: flags.logLevel ?? 'error' }),
    testNetwork: testNetworkOf(config)
  })
  return {
    dial: (host, port, abort) => node.connect({ host, port }, { signal: abort }),
    by: 'own client',
    close: () => node.close({ drainMs: 0 })
  }
}

/** Where the bytes go; a closed pipe behind stdout is no failure of ours. */
async function write(io: Io, output: string | undefined, body: NodeJS.ReadableStream, signal: AbortSignal): Promise<number> {
  let bytes = 0
  const counted = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length
      done(null, chunk)
    }
  })
  if (output !== undefined) {
    await pipeline(body, counted, createWriteStream(output), { signal })
  } else {
    await pipeline(
      body,
      counted,
      async (source: AsyncIterable<Buffer>) => {
        for await (const chunk of source) if (!io.stdout.write(chunk)) await once(io.stdout, 'drain', { signal })
      },
      { signal }
    )
  }
  return bytes
}

async function fetchUrl(io: Io, text: string, flags: FetchFlags): Promise<number> {
  const url = parseUrl(text)
  if (flags.json && flags.output === undefined) throw new UsageError('--json prints what happened, so the body needs a file: say -o FILE')
  const quiet = flags.quiet === true || flags.json === true
  const endings = catchEndings()
  const unsubscribe = narrate(io, false, quiet, flags.logLevel ?? 'error')
  try {
    // A network that is named on the command line is the one that is meant, whatever else runs here.
    const named = flags.bootstrap !== undefined || flags.config !== undefined
    const carrier =
      (named && flags.control === undefined && flags.stateDir === undefined ? undefined : await runningClient(flags)) ??
      (await ownClient(io, flags, endings.signal))
    try {
      const began = performance.now()
      const answer = await get(url, carrier.dial, endings.signal)
      const bytes = await write(io, flags.output, answer.body, endings.signal)
      const ms = performance.now() - began
      if (flags.json)
        printJson(io, { status: answer.status, bytes, ttfbMs: Math.round(answer.ttfbMs), totalMs: Math.round(ms), by: carrier.by })
      else if (!quiet && (flags.output !== undefined || io.terminal))
        say(
          io,
          `${answer.status}, ${bytes} bytes, first byte after ${Math.round(answer.ttfbMs)} ms, all after ${Math.round(ms)} ms, by ${carrier.by === 'own client' ? 'a client of its own' : 'the running client'}`
        )
      if (answer.status >= 400) throw new CommandFailed(`the site answered ${answer.status}`, 'ERR_ANONNET_STREAM_REFUSED')
      return 0
    } finally {
      await carrier.close()
    }
  } catch (error) {
    if (error instanceof Interrupted) return 1
    throw error
  } finally {
    unsubscribe()
    endings.release()
  }
}

/** Adds `fetch`. */
export function fetchCommand(program: Command, io: Io, finish: (code: number) => void): void {
  const fetch = program
    .command('fetch <url>')
    .description('fetch a page through a circuit: by the running client, or by one made for it')
    .option('-o, --output <file>', 'write the body there instead of to stdout')
    .option('--state-dir <dir>', 'the state folder of the running client')
    .option('--control <path>', 'its control socket')
    .option('--json', 'print what happened as JSON; needs -o')
  networkFlags(fetch)
    .addHelpText('after', '\nExample:\n  $ anonnet fetch http://example.org/ -o page.html\n')
    .action(async (url: string, flags: FetchFlags) => finish(await fetchUrl(io, url, flags)))
}
