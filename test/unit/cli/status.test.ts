import { once } from 'node:events'
import { createServer } from 'node:net'
import { describe, expect, it } from 'vitest'
import { main } from '../../../ts/cli/program.js'
import { circuitLines, duration, size, statusLines } from '../../../ts/cli/status.js'
import { controlPath } from '../../../ts/config/index.js'
import { serveControl } from '../../../ts/node/control.js'
import type { CircuitStatus, NodeStatus } from '../../../ts/node/index.js'
import { temporaryFolder } from '../../helpers/folder.js'
import { testIo } from '../../helpers/io.js'

const folder = temporaryFolder()

const status: NodeStatus = {
  role: 'client',
  nodeId: 'cd'.repeat(32),
  version: '0.1.0',
  protocol: 1,
  uptimeMs: 90_000,
  pid: 7,
  address: null,
  bootstrap: { percent: 100, phase: 'done', summary: 'a circuit is ready' },
  list: { interval: 3600, validAfter: 0, freshUntil: 3600, validUntil: 10800, relays: 6, digest: 'ef' },
  circuits: { ready: 2, building: 1, streams: 3 },
  proxies: ['127.0.0.1:9550'],
  relay: null,
  proxy: { requests: 0, open: 0, refused: 0 },
  links: 1
}
const circuits: CircuitStatus[] = [
  {
    id: 4,
    hops: [
      { nodeId: '11'.repeat(32), address: '127.1.0.1:1' },
      { nodeId: '22'.repeat(32), address: null }
    ],
    ready: true,
    ageMs: 1_000,
    streams: 1,
    bytesRead: 1_500_000,
    bytesWritten: 10
  }
]

describe('status and circuits', () => {
  it('ask the running node over its socket', async () => {
    const server = await serveControl(controlPath(folder), { status: () => status, circuits: () => circuits })
    try {
      const json = testIo()
      expect(await main(['status', '--json', '--state-dir', folder], json)).toBe(0)
      expect(JSON.parse(json.out())).toEqual(status)
      const plain = testIo()
      expect(await main(['circuits', '--control', controlPath(folder)], plain)).toBe(0)
      expect(plain.out().trimEnd().split('\n')).toEqual(circuitLines(circuits))
      const list = testIo()
      expect(await main(['circuits', '--json', '--state-dir', folder], list)).toBe(0)
      expect(JSON.parse(list.out())).toEqual(circuits)
    } finally {
      await server.close()
    }
  })

  it('say a failure of the node by its code, and do not look further', async () => {
    const path = controlPath(folder)
    const server = createServer((socket) => socket.end('nonsense\n'))
    server.listen(path)
    await once(server, 'listening')
    try {
      const io = testIo()
      expect(await main(['status', '--json', '--state-dir', folder], io)).toBe(1)
      expect(JSON.parse(io.out()).error.code).toBe('ERR_ANONNET_RPC_INVALID')
    } finally {
      server.close()
    }
  })
})

describe('what a person reads', () => {
  it('of a client', () => {
    expect(statusLines(status).join('\n')).toMatchInlineSnapshot(`
      "role         client cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd
      version      0.1.0, protocol 1, pid 7, up 90 s
      bootstrap    100 % (done): a circuit is ready
      relay list   6 relays, valid until 1970-01-01T03:00:00.000Z
      circuits     2 ready, 1 being built, 3 streams
      proxy        SOCKS5 and HTTP on 127.0.0.1:9550
      links        1"
    `)
  })

  it('of a relay', () => {
    const relay = {
      circuits: 3,
      cellsForwarded: 10,
      bytesForwarded: 11_040,
      handshakes: 5,
      handshakesRefused: 1,
      exitStreams: 2,
      destroyed: 0,
      memoryHeld: 0,
      memoryResets: 0
    }
    const text = statusLines({ ...status, role: 'relay', address: '127.1.0.1:1', proxies: [], relay }).join('\n')
    expect(text).toContain('address      UDP 127.1.0.1:1')
    expect(text).toContain('relaying     3 circuits, 11.0 kB forwarded, 2 exit streams')
    expect(text).toContain('handshakes   5 done, 1 refused')
    expect(text).not.toContain('proxy')
  })

  it('of circuits', () => {
    expect(circuitLines([])).toEqual(['no circuits'])
    expect(circuitLines(circuits)).toEqual([
      'circuit 4: ready, 1 s old, 1 streams, 1.5 MB down, 10 B up',
      '  1. 1111111111111111… at 127.1.0.1:1',
      '  2. 2222222222222222…'
    ])
  })

  it.each([
    [0, '0 s'],
    [119_000, '119 s'],
    [120_000, '2 min'],
    [7_200_000, '2 h'],
    [172_800_000, '2 d']
  ])('%i ms is %s', (ms, words) => expect(duration(ms)).toBe(words))

  it.each([
    [0, '0 B'],
    [999, '999 B'],
    [1_000, '1.0 kB'],
    [1e15, '1000.0 TB']
  ])('%i bytes are %s', (bytes, words) => expect(size(bytes)).toBe(words))
})
