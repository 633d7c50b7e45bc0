/** Two hundred requests at once, 1 KB to 10 MB, through both proxies. */

import { createHash } from 'node:crypto'
import { request as httpRequest } from 'node:http'
import type { Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type AnonNode, createTestnet, type Testnet } from '../../ts/index.js'
import { http, socks5 } from '../helpers/proxy-client.js'
import { bytesOf, hashOf, type Target, web } from '../helpers/servers.js'

const REQUESTS = 200
const SMALLEST = 1_000
const LARGEST = 10_000_000

let net: Testnet
let node: AnonNode
let proxy: string
let site: Target

beforeAll(async () => {
  net = await createTestnet(6)
  node = await net.createNode({ proxy: '127.0.0.1:0' })
  proxy = node.proxies[0]!.address
  site = await web()
})
afterAll(async () => {
  await net?.close()
  await site?.close()
})

const sizeOf = (index: number): number => Math.round(SMALLEST * (LARGEST / SMALLEST) ** (index / (REQUESTS - 1)))
const expected = (index: number): string =>
  createHash('sha256')
    .update(bytesOf(index, sizeOf(index)))
    .digest('hex')

/** GET over a connection that is there, or by naming the whole URL to the proxy. */
function get(path: string, connection: Socket | undefined): Promise<string> {
  return new Promise((resolve, reject) => {
    const [host, port] = proxy.split(':') as [string, string]
    const request =
      connection === undefined
        ? httpRequest({ host, port, path: `http://127.0.0.1:${site.port}${path}`, agent: false })
        : httpRequest({ host: '127.0.0.1', port: site.port, path, createConnection: () => connection })
    request.once('error', reject)
    request.once('response', (response) => {
      if (response.statusCode === 200) hashOf(response).then(resolve, reject)
      else reject(new Error(`status ${response.statusCode}`))
    })
    request.end()
  })
}

async function fetch(index: number): Promise<string> {
  const path = `/${index}/${sizeOf(index)}`
  const user = `user ${index % 3}`
  switch (index % 3) {
    case 0:
      return get(path, (await socks5(proxy, '127.0.0.1', site.port, { user })).socket)
    case 1:
      return get(path, (await http(proxy, `CONNECT 127.0.0.1:${site.port} HTTP/1.1\r\n\r\n`)).socket)
    default:
      return get(path, undefined)
  }
}

describe('two hundred requests at once', () => {
  it('all arrive whole', { timeout: 120_000 }, async () => {
    const results = await Promise.all(Array.from({ length: REQUESTS }, (_, index) => fetch(index)))
    const wrong = results.flatMap((hash, index) => (hash === expected(index) ? [] : [index]))
    expect(wrong).toEqual([])
    expect(node.status().proxy.requests).toBe(REQUESTS)
    const deadline = Date.now() + 10_000
    while (node.status().circuits.streams > 0) {
      if (Date.now() > deadline) throw new Error('streams were left open')
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  })
})
