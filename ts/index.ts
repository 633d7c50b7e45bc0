/**
 * AnonNet: connections through three relays, for Node programs.
 *
 * `createNode` is a client, `createRelay` and `createBootstrap` are servers of the network, `createTestnet` is a whole network in this process.
 * Every error is an `AnonNetError` with a stable `code`; every asynchronous call takes an `AbortSignal`, whose reason is thrown as it is.
 * Events of all nodes are also on `node:diagnostics_channel`, as `anonnet:<type>`.
 */

export type {
  DiagnosticEvent,
  DiagnosticEvents,
  DiagnosticType,
  EventStream,
  LogFields,
  Logger,
  LogLevel,
  LogLine
} from './diagnostics/index.js'
export { createLogger } from './diagnostics/index.js'
export {
  AbortedError,
  AnonNetError,
  ArgumentError,
  BindError,
  type Blame,
  CircuitError,
  ClosedError,
  ConfigError,
  DirectoryError,
  type ErrorCode,
  InternalError,
  isAnonNetError,
  KeyError,
  LimitError,
  LinkError,
  NotFoundError,
  PathError,
  type Retry,
  RpcError,
  ServiceError,
  StoreError,
  StreamError,
  TimeoutError
} from './errors/index.js'
export {
  type AnonAgentOptions,
  type AnonNode,
  type AnonSocket,
  type BootstrapEntry,
  type BootstrapNode,
  type BootstrapOptions,
  type BootstrapStatus,
  type CircuitStatus,
  type CloseOptions,
  type CommonOptions,
  type ConnectOptions,
  type Connector,
  type ConnectorOptions,
  createBootstrap,
  createNode,
  createRelay,
  createTestnet,
  type DirectConnectOptions,
  type DirectHandler,
  type DirectListener,
  type DirectListenOptions,
  type DirectPeer,
  type DispatcherOptions,
  type FetchDispatcher,
  type ListenOptions,
  type ListStatus,
  type NodeOptions,
  type NodeRole,
  type NodeStatus,
  type ProxyListener,
  type RelayNode,
  type RelayOptions,
  type RelayStatus,
  type ResolveOptions,
  type ServerNode,
  type ServerOptions,
  type Service,
  type ServiceHandler,
  type Target,
  type TestNetworkOptions,
  type Testnet,
  type TestnetOptions,
  type WakeOptions
} from './node/index.js'
