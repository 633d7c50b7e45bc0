/**
 * Nodes: what ts/index.ts exports and the CLI runs.
 */

export { type BootstrapEntry, type BootstrapPeer, formatBootstrap, parseBootstrap, type Target } from './address.js'
export type { AnonAgentOptions } from './agent.js'
export type { CloseOptions } from './base.js'
export { type BootstrapNode, createBootstrap } from './bootstrap.js'
export { type AnonNode, type ConnectOptions, createNode, type ResolveOptions } from './client.js'
export { type ControlRequestOptions, controlRequest } from './control.js'
export type { DirectConnectOptions, DirectHandler, DirectListener, DirectListenOptions, DirectPeer } from './direct.js'
export type { Connector, ConnectorOptions, DispatcherOptions, FetchDispatcher } from './dispatcher.js'
export type { WakeOptions } from './dormancy.js'
export type { BootstrapOptions, CommonOptions, NodeOptions, RelayOptions, ServerOptions, TestNetworkOptions } from './options.js'
export type { ProxyListener } from './proxy-listener.js'
export { createRelay, type RelayNode } from './relay.js'
export type { ServerNode } from './server.js'
export type { ListenOptions, Service, ServiceHandler } from './service-node.js'
export type { AnonSocket } from './socket.js'
export type { BootstrapStatus, CircuitStatus, ListStatus, NodeRole, NodeStatus, RelayStatus } from './status.js'
export { createTestnet, type Testnet, type TestnetOptions } from './testnet.js'
