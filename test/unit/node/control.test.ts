import { statSync, writeFileSync } from 'node:fs'
import { createConnection, createServer } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { errorFromCode } from '../../../ts/errors/index.js'
import { type ControlServer, controlRequest, MAX_CONTROL_REQUEST_BYTES, serveControl } from '../../../ts/node/control.js'
import { temporaryFolder } from '../../helpers/folder.js'

const folder = temporaryFolder()
let server: ControlServer
let path: string
let count = 0

const handlers = {
  status: () => ({ fine: true }),
  echo: (params: unknown) => params,
  slow: () => new Promise((resolve) => setTimeout(() => resolve('done'), 80)),
  fails: () => {
    throw errorFromCode('ERR_ANONNET_NO_PATH')
  }
}

beforeEach(async () => {
  count += 1
  path = join(folder, `s${count}`)
  server = await serveControl(path, handlers)
})
afterEach(() => server.close())

/** Sends text and collects what comes until the server ends. */
function exchange(text: string, end = true): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = ''
    const socket = createConnection(path, () => (end ? socket.end(text) : socket.write(text)))
    socket.setEncoding('utf8')
    socket.on('data', (data: string) => {
      answer += data
    })
    socket.on('end', () => resolve(answer))
    socket.on('error', reject)
    setTimeout(() => {
      socket.destroy()
      resolve(answer)
    }, 1_000).unref()
  })
}

describe('control socket', () => {
  it('answers, and only its owner may ask', async () => {
    expect(await controlRequest(path, 'status')).toEqual({ fine: true })
    expect(await controlRequest(path, 'echo', { a: [1] })).toEqual({ a: [1] })
    expect(statSync(path).mode & 0o777).toBe(0o600)
  })

  it('fails with the code of the node, of the protocol, of the deadline', async () => {
    await expect(controlRequest(path, 'fails')).rejects.toMatchObject({ code: 'ERR_ANONNET_NO_PATH' })
    await expect(controlRequest(path, 'unknown')).rejects.toMatchObject({ code: 'ERR_ANONNET_UNSUPPORTED' })
    await expect(controlRequest(path, 'constructor')).rejects.toMatchObject({ code: 'ERR_ANONNET_UNSUPPORTED' })
    await expect(controlRequest(path, 'slow', undefined, { timeoutMs: 10 })).rejects.toMatchObject({ code: 'ERR_ANONNET_TIMEOUT' })
    await expect(controlRequest(join(folder, 'nobody'), 'status')).rejects.toMatchObject({ code: 'ERR_ANONNET_NOT_FOUND' })
    const reason = { stop: 1 }
    await expect(controlRequest(path, 'slow', undefined, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    const controller = new AbortController()
    setTimeout(() => controller.abort(reason), 10)
    await expect(controlRequest(path, 'slow', undefined, { signal: controller.signal })).rejects.toBe(reason)
  })

  it('speaks JSON-RPC 2.0: order, notifications, errors', async () => {
    const lines = [
      '{"jsonrpc":"2.0","id":1,"method":"slow"}',
      '{"jsonrpc":"2.0","method":"status"}',
      '{"jsonrpc":"2.0","id":"two","method":"status","params":{}}',
      'not json',
      '{"jsonrpc":"1.0","id":3,"method":"status"}',
      '{"jsonrpc":"2.0","id":{},"method":"status"}',
      '{"jsonrpc":"2.0","id":4,"method":"status","params":7}',
      '[]',
      'null'
    ]
    const answers = (await exchange(`${lines.join('\n')}\n`))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { id: unknown; error?: { code: number } })
    expect(answers.map(({ id, error }) => [id, error?.code])).toEqual([
      [1, undefined],
      ['two', undefined],
      [null, -32700],
      [null, -32600],
      [null, -32600],
      [4, -32602],
      [null, -32600],
      [null, -32600]
    ])
  })

  it('refuses a request that is too long, with and without its end', async () => {
    const long = 'x'.repeat(MAX_CONTROL_REQUEST_BYTES + 1)
    for (const text of [long, `${long}\n`]) expect(JSON.parse(await exchange(text, false))).toMatchObject({ error: { code: -32600 } })
    const fits = `{"jsonrpc":"2.0","id":1,"method":"echo","params":["${'y'.repeat(MAX_CONTROL_REQUEST_BYTES - 100)}"]}`
    expect(JSON.parse(await exchange(`${fits}\n`))).toHaveProperty('result')
  })

  it('takes over from a process that is gone, not from one that answers, not from a file', async () => {
    await expect(serveControl(path, handlers)).rejects.toMatchObject({ code: 'ERR_ANONNET_BIND_FAILED' })
    const file = join(folder, 'file')
    writeFileSync(file, '')
    await expect(serveControl(file, handlers)).rejects.toMatchObject({ code: 'ERR_ANONNET_BIND_FAILED' })
    const stale = join(folder, 'stale')
    const dead = createServer()
    await new Promise<void>((resolve) => dead.listen(join(folder, 'other'), resolve))
    // A name that leads to no listener any more, as a killed process leaves it.
    const { linkSync } = await import('node:fs')
    linkSync(join(folder, 'other'), stale)
    await new Promise((resolve) => dead.close(resolve))
    const taken = await serveControl(stale, handlers)
    expect(await controlRequest(stale, 'status')).toEqual({ fine: true })
    await taken.close()
    await expect(serveControl(join(folder, 'n'.repeat(120)), handlers)).rejects.toMatchObject({ code: 'ERR_ANONNET_BIND_FAILED' })
  })

  it('leaves nothing behind', async () => {
    const open = createConnection(path)
    await new Promise((resolve) => open.once('connect', resolve))
    const closed = new Promise((resolve) => open.once('close', resolve))
    await server.close()
    await closed
    expect(() => statSync(path)).toThrow()
  })
})
