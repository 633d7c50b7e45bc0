/**
 * What the relays of a network know once a client has fetched from a service, each in a process of its own: everything that they keep in their
 * state folders, log at debug level, and tell over their control sockets is read for the addresses of the client and of the service's node,
 * and for the service's own name and key.
 */
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freePort } from '../../ts/cli/demo/addresses.js'
import { serviceCrypto } from '../../ts/native/index.js'
import * as keys from '../../ts/native/keys.js'
import { controlRequest, type NodeStatus } from '../../ts/node/index.js'
import { parseServiceHost } from '../../ts/services/index.js'
import { temporaryFolder } from '../helpers/folder.js'
import { cli, eventually, type Spawned, start } from '../helpers/processes.js'
import { collect } from '../helpers/servers.js'
import { socksConnect } from '../helpers/socks.js'

const RELAYS = 9
const AUTHORITIES = 3
const folder = temporaryFolder()
const linux = process.platform === 'linux'

/** All that a process could tell: where it was written, and the bytes. */
interface Knowledge {
  readonly name: string
  readonly nodeId: string
  readonly parts: readonly { readonly where: string; readonly bytes: Buffer }[]
}

function filesBelow(path: string): string[] {
  return readdirSync(path).flatMap((name) => {
    const file = join(path, name)
    const stat = statSync(file)
    if (stat.isDirectory()) return filesBelow(file)
    return stat.isFile() ? [file] : []
  })
}

/** 'ip:port' of the UDP sockets that a process has open; what others see of it on loopback. */
function udpPorts(pid: number): number[] {
  const inodes = new Set(
    readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      try {
        return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? []
      } catch {
        return []
      }
    })
  )
  return ['udp', 'udp6'].flatMap((table) =>
    readFileSync(`/proc/${pid}/net/${table}`, 'utf8')
      .split('\n')
      .slice(1)
      .map((line) => line.trim().split(/\s+/))
      .filter((fields) => inodes.has(fields[9] ?? ''))
      .map((fields) => Number.parseInt(fields[1]?.split(':')[1] ?? '0', 16))
  )
}

/** A number as a whole word, or in the bytes of a port behind 127.0.0.1. */
function namesPort(bytes: Buffer, port: number): boolean {
  const written = new RegExp(`(?<![0-9a-zA-Z.])(127\\.\\d+\\.\\d+\\.\\d+|\\[?::[0-9a-f:.]*\\]?):${port}(?!\\d)`)
  return written.test(bytes.toString('latin1')) || bytes.includes(Buffer.from([127, 0, 0, 1, port >> 8, port & 255]))
}

/** Bytes in the forms in which they may stand somewhere. */
function formsOf(bytes: Uint8Array): Buffer[] {
  const all = Buffer.from(bytes)
  const texts = [
    all.toString('hex'),
    all.toString('hex').toUpperCase(),
    all.toString('base64').slice(0, 42),
    all.toString('base64url').slice(0, 42)
  ]
  return [all, ...texts.map((text) => Buffer.from(text))]
}

const knows = ({ parts }: Knowledge, has: (bytes: Buffer) => boolean): string[] =>
  parts.filter(({ bytes }) => has(bytes)).map(({ where }) => where)

describe.runIf(linux)('what relays know of a client and a service that met', { timeout: 120_000 }, () => {
  const servers: Spawned[] = []
  const clients: Spawned[] = []
  let everything: Knowledge[] = []
  let site: Server
  let address: string
  const seen: Record<'client' | 'service', { nodeId: string; ports: Set<number>; guards: Set<string> }> = {
    client: { nodeId: '', ports: new Set(), guards: new Set() },
    service: { nodeId: '', ports: new Set(), guards: new Set() }
  }

  const control = (name: string): string => join(folder, `${name}.sock`)
  const state = (name: string): string => join(folder, name)

  const ask = (name: string, method: 'status' | 'circuits'): Promise<unknown> => controlRequest(control(name), method)

  async function ready(child: Spawned): Promise<Record<string, unknown>> {
    return eventually('a process is ready', 90_000, () => {
      if (child.process.exitCode !== null) throw new Error(`it ended: ${child.stderr().slice(-2_000)}`)
      const line = child
        .stdout()
        .split('\n')
        .find((text) => text.includes('"event":"ready"'))
      return line === undefined ? undefined : (JSON.parse(line) as Record<string, unknown>)
    })
  }

  /** What a client's process is called by others, as far as they can see. */
  async function look(role: 'client' | 'service', pid: number): Promise<void> {
    const of = seen[role]
    for (const port of udpPorts(pid)) of.ports.add(port)
    of.nodeId = ((await ask(role, 'status')) as NodeStatus).nodeId
    const { guards } = JSON.parse(readFileSync(join(state(role), 'guards.json'), 'utf8')) as { guards: { nodeId: string }[] }
    for (const { nodeId } of guards) of.guards.add(nodeId)
  }

  beforeAll(async () => {
    const common = ['--allow-private', '--list-interval-ms', '2000', '--json', '--log-level', 'debug']
    const node = (name: string, args: string[]): Spawned => {
      const child = start(process.execPath, [cli, ...args, '--state-dir', state(name), '--control', control(name), ...common])
      return child
    }
    const entries = await Promise.all(
      Array.from({ length: AUTHORITIES }, async (_, index) => {
        const file = join(folder, `authority-${index}.key`)
        keys.keyFileCreate(file)
        const ip = `127.${11 + index}.0.1`
        return { file, key: Buffer.from(keys.keyFileInspect(file).publicKey).toString('hex'), at: `${ip}:${await freePort(ip)}` }
      })
    )
    const bootstrap = entries.flatMap(({ key, at }) => ['--bootstrap', `${key}@${at}`])
    for (const [index, { file, at }] of entries.entries())
      servers.push(node(`authority-${index}`, ['bootstrap', '--listen', at, '--identity', file, ...bootstrap]))
    for (let index = 0; index < RELAYS; index++) {
      const exit = index < 2 ? ['--exit'] : []
      servers.push(node(`relay-${index}`, ['relay', '--listen', `127.${21 + index}.0.1:0`, ...exit, ...bootstrap]))
    }
    await Promise.all(servers.map(ready))
    await eventually('all relays are listed', 60_000, async () => {
      const { list } = (await ask('authority-0', 'status')) as NodeStatus
      return list?.relays === RELAYS || undefined
    })

    site = createServer((_request, response) => response.end('a page')).listen(0, '127.0.0.1')
    await eventually('the site listens', 5_000, () => site.listening || undefined)
    const { port } = site.address() as { port: number }
    const service = node('service', ['service', '--target', `127.0.0.1:${port}`, ...bootstrap])
    const client = node('client', ['run', '--socks', '127.0.0.1:0', ...bootstrap])
    clients.push(service, client)
    const [published, proxied] = await Promise.all(clients.map(ready))
    address = String(published?.address)
    const [proxy = ''] = (proxied?.proxies ?? []) as string[]
    await look('service', service.pid)
    for (let round = 0; round < 3; round++) {
      const { reply, socket } = await socksConnect(proxy, address, 80)
      expect(reply).toBe(0)
      socket.write(`GET / HTTP/1.1\r\nHost: ${address}\r\nConnection: close\r\n\r\n`)
      expect(String(await collect(socket))).toContain('a page')
      await Promise.all([look('service', service.pid), look('client', client.pid)])
    }

    const names = servers.map((_, index) => (index < AUTHORITIES ? `authority-${index}` : `relay-${index - AUTHORITIES}`))
    const told = (await Promise.all(names.map((name) => ask(name, 'status')))) as NodeStatus[]
    await Promise.all([look('service', service.pid), look('client', client.pid)])
    // Ended as an operator would, so that what is only written at the end is written.
    for (const child of [...clients, ...servers]) child.process.kill('SIGTERM')
    await Promise.all([...clients, ...servers].map(({ exit }) => exit))
    everything = names.map((name, index) => ({
      name,
      nodeId: told[index]?.nodeId ?? '',
      parts: [
        ...filesBelow(state(name)).map((file) => ({ where: file.slice(folder.length), bytes: readFileSync(file) })),
        { where: 'stderr', bytes: Buffer.from(servers[index]?.stderr() ?? '') },
        { where: 'stdout', bytes: Buffer.from(servers[index]?.stdout() ?? '') },
        { where: 'control', bytes: Buffer.from(JSON.stringify(told[index])) }
      ]
    }))
  }, 240_000)

  afterAll(() => {
    site?.close()
  })

  it('is looked for where relays do write what they know', () => {
    expect(everything).toHaveLength(AUTHORITIES + RELAYS)
    for (const one of everything) {
      expect(knows(one, (bytes) => formsOf(Buffer.from(one.nodeId, 'hex')).some((form) => bytes.includes(form))).length).toBeGreaterThan(0)
      expect(one.parts.find(({ where }) => where === 'stderr')?.bytes.length).toBeGreaterThan(0)
      expect(one.parts.some(({ where }) => where.startsWith('/'))).toBe(true)
    }
    // The same search finds the addresses of relays: each is in the lists that the others keep.
    const ports = everything.flatMap(({ parts }) =>
      parts.flatMap(({ bytes }) => /"address":"127\.2\d\.0\.1:(\d+)"/.exec(String(bytes))?.[1] ?? [])
    )
    expect(ports.length).toBeGreaterThan(0)
    expect(ports.some((port) => everything.some((one) => knows(one, (bytes) => namesPort(bytes, Number(port))).length > 0))).toBe(true)
    for (const { ports: own, guards } of Object.values(seen)) {
      // Not every relay may be a guard of theirs, or the last test would say nothing.
      expect(guards.size).toBeLessThan(RELAYS)
      expect(own.size).toBeGreaterThan(0)
      expect(guards.size).toBeGreaterThan(0)
    }
  })

  it('is not the name of the service, nor its key', () => {
    const { publicKey, name } = parseServiceHost(address)
    const text = readFileSync(join(state('service'), 'service.key'), 'latin1')
    const secret = Buffer.from(/[0-9a-f]{64}/.exec(text)?.[0] ?? '', 'hex')
    expect(Buffer.from(serviceCrypto.publicKey(secret)).equals(Buffer.from(publicKey))).toBe(true)
    const forms = [Buffer.from(name), Buffer.from(name.toUpperCase()), ...formsOf(publicKey), ...formsOf(secret)]
    for (const one of everything)
      expect([one.name, knows(one, (bytes) => forms.some((form) => bytes.includes(form)))]).toEqual([one.name, []])
  })

  it('is at most the address of who came to them as to a guard, and never both in one place', () => {
    const found = { client: new Set<string>(), service: new Set<string>() }
    for (const one of everything) {
      for (const role of ['client', 'service'] as const) {
        const names = (bytes: Buffer): boolean =>
          [...seen[role].ports].some((port) => namesPort(bytes, port)) ||
          formsOf(Buffer.from(seen[role].nodeId, 'hex')).some((form) => bytes.includes(form))
        if (knows(one, names).length > 0) found[role].add(one.nodeId)
      }
      const lines = one.parts.flatMap(({ bytes }) => bytes.toString('latin1').split('\n'))
      const both = lines.filter((line) =>
        (['client', 'service'] as const).every((role) => [...seen[role].ports].some((port) => namesPort(Buffer.from(line, 'latin1'), port)))
      )
      expect([one.name, both]).toEqual([one.name, []])
    }
    const authorities = new Set(everything.slice(0, AUTHORITIES).map(({ nodeId }) => nodeId))
    // Bootstrap nodes are asked for the first list without a circuit.
    for (const role of ['client', 'service'] as const)
      for (const nodeId of found[role]) expect(seen[role].guards.has(nodeId) || authorities.has(nodeId)).toBe(true)
  })
})
