/**
 * The only room that imports the addon.
 */

export { onAbort } from './abort.js'
export type { RequestOptions, Stands, TimedOptions } from './engine.js'
export { Engine } from './engine.js'
export { isSingleExecutable } from './inside.js'
export type { Hold } from './keep-alive.js'
export { KeepAlive } from './keep-alive.js'
export {
  errorRegistry,
  keyFileCreate,
  keyFileExport,
  keyFileImport,
  keyFileInspect,
  keyFileRotate,
  nodeIdOf,
  verify,
  version
} from './keys.js'
export { findAddon, loadAddon, packageRoot, platformName } from './loader.js'
export { powVerify, serviceCrypto } from './service-crypto.js'
export type {
  DirectStreamEvent,
  EngineEvent,
  Hop,
  IncomingStreamEvent,
  IntroducedEvent,
  KeyFileInfo,
  NativeAddon,
  NativeNode,
  NativeNodeOptions,
  NativeSnapshot,
  PeerAddress,
  ProxyRequestEvent,
  RegistryEntry,
  RpcRequestEvent
} from './types.js'
