/** The Kademlia DHT: signed records around their keys, found over disjoint paths. Policy without sockets or clock. */
export * as dhtLimits from './limits.js'
export { DhtNode, type DhtNodeOptions, type FindOptions } from './node.js'
export { PREFIX_LIMITS, type PrefixLimits } from './prefixes.js'
export type { Publication } from './publications.js'
export { type DhtRecord, issueRecord, isTimely, parseRecord, type RecordClass, type SignedRecord } from './record.js'
