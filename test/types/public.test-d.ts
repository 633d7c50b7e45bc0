/** The package's types as its users meet them: checked by tsc, no code runs. */

import { get } from 'node:http'
import { get as getSecure } from 'node:https'
import { connect, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { Agent as Undici } from 'undici'
import { WebSocket } from 'ws'
import {
  AnonNetError,
  type AnonNode,
  type AnonSocket,
  type BootstrapNode,
  type CircuitStatus,
  type createBootstrap,
  createNode,
  createRelay,
  createTestnet,
  type DiagnosticEvent,
  type ErrorCode,
  isAnonNetError,
  type NodeStatus,
  type ProxyListener,
  type RelayNode,
  type Testnet
} from '../../ts/index.js'

type Assert<T extends true> = T
type Extends<A, B> = [A] extends [B] ? true : false
type Same<A, B> = [A, B] extends [B, A] ? true : false

export type Made = Assert<
  Same<
    [
      Awaited<ReturnType<typeof createNode>>,
      Awaited<ReturnType<typeof createRelay>>,
      Awaited<ReturnType<typeof createBootstrap>>,
      Awaited<ReturnType<typeof createTestnet>>
    ],
    [AnonNode, RelayNode, BootstrapNode, Testnet]
  >
>
export type Disposable = Assert<Extends<AnonNode | RelayNode | BootstrapNode | Testnet | ProxyListener | AnonSocket, AsyncDisposable>>
export type IsDuplex = Assert<Extends<AnonSocket, Duplex>>
/** What http, ws and loggers use of a net.Socket has the same type here. */
type Used = 'connecting' | 'pending' | 'bytesRead' | 'bytesWritten' | 'destroySoon' | 'timeout' | 'remotePort' | 'remoteAddress'
type Values<T> = { [Key in Used & keyof T]: Exclude<T[Key], undefined> }
export type LikeASocket = Assert<Extends<Values<AnonSocket>, Values<Socket>>>
export type Codes = Assert<Extends<'ERR_ANONNET_TIMEOUT', ErrorCode>>

export async function use(signal: AbortSignal): Promise<void> {
  await using node = await createNode({
    bootstrap: ['key@127.0.0.1:1'],
    stateDir: '/x',
    proxy: ['127.0.0.1:0'],
    signal,
    testNetwork: { listIntervalMs: 5 }
  })
  const socket: AnonSocket = await node.connect('example.org:80', { isolate: 'tab-1', signal, timeoutMs: 5 })
  await node.connect({ host: 'example.org', port: 80 })
  const early: AnonSocket = node.createConnection('example.org:80', { allowHalfOpen: true })
  early
    .setKeepAlive(true, 5)
    .setNoDelay()
    .setTimeout(5, () => undefined)
    .ref()
    .unref()
  for await (const chunk of socket) void chunk
  const names: string[] = await node.resolve('example.org')
  const status: NodeStatus = node.status()
  const circuits: CircuitStatus[] = node.circuits()
  for await (const event of node.events({ signal })) {
    const one: DiagnosticEvent = event
    if (one.type === 'circuit:built') void (one.circuit satisfies number)
  }
  await using direct = await node.listenDirect({ listen: '127.0.0.1:0', key: new Uint8Array(32), maxLinks: 5, signal }, (near, peer) => {
    near.pipe(near satisfies AnonSocket)
    void [peer.nodeId satisfies string, peer.address satisfies string]
  })
  const link: AnonSocket = await node.connectDirect(direct.address, { signal, timeoutMs: 5, key: new Uint8Array(32), allowHalfOpen: true })
  link.end()
  await using proxy = await node.listenProxy({ address: '127.0.0.1:0' })
  void [names, status, circuits, proxy.address satisfies string]
  await fetch('https://example.org/', { dispatcher: node.dispatcher({ isolate: 'tab-1', tls: { rejectUnauthorized: true } }), signal })
  const agent = node.agent({ isolate: 'tab-1', maxSockets: 4, ca: 'PEM' })
  get('http://example.org/', { agent })
  getSecure('https://example.org/', { agent })
  new WebSocket('wss://example.org/', { agent })
  new Undici({ connect: node.connector({ isolate: 'tab-1' }) })
  await using net = await createTestnet(6, { exits: 2 })
  await using other = await net.createNode({ proxy: '127.0.0.1:0' })
  void other

  // @ts-expect-error bootstrap nodes have to be named
  await createNode({})
  // @ts-expect-error no such option
  await createNode({ bootstrap: [], stateDirectory: '/x' })
  // @ts-expect-error a relay has to listen
  await createRelay({ bootstrap: [] })
  // @ts-expect-error the port is part of the target
  await node.connect({ host: 'example.org' })
  // @ts-expect-error an isolation key is a text
  await node.connect('example.org:80', { isolate: 5 })
  // @ts-expect-error made by connect only
  void new AnonSocketClass()
  // @ts-expect-error what is connected is told by the request
  node.agent({ socket: early })
}

declare const AnonSocketClass: never

export function handle(error: unknown): string {
  if (isAnonNetError(error) && error.retry === 'later') return error.code satisfies ErrorCode
  return error instanceof AnonNetError ? error.advice : connect.name
}
