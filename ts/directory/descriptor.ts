/** Relay descriptors: CBOR `[body, signature]`, the signature over ENCAP('anonnet:1:descriptor') | body, exactly as received. */
import {
  asArray,
  asBytes,
  asBytesUpTo,
  asFields,
  asText,
  asTuple,
  asUint,
  copyBytes,
  decodeCbor,
  encodeCbor,
  fault,
  fromHex,
  guard,
  Malformed,
  nodeIdOf,
  parseAddress,
  parseIp,
  sha256,
  signedMessage,
  toHex
} from '../wire/index.js'
import {
  CLOCK_TOLERANCE_S,
  MAX_DESCRIPTOR_BYTES,
  MAX_DESCRIPTOR_LIFETIME_S,
  MAX_EXIT_POLICY_LINE_CHARS,
  MAX_EXIT_POLICY_LINES,
  MAX_FAMILY_MEMBERS,
  MAX_PROTOCOL_VERSIONS,
  MIN_DESCRIPTOR_LIFETIME_S
} from './limits.js'
import type { RelayDescriptor, Roles, Signer, Verify } from './types.js'

export const DESCRIPTOR_DOMAIN = 'anonnet:1:descriptor'
const FORMAT = 1
const INVALID = 'ERR_ANONNET_DESCRIPTOR_INVALID'
const ROLE_BITS: readonly (keyof Roles)[] = ['relay', 'exit', 'guard', 'dht']
const LIMITS = { maxBytes: MAX_DESCRIPTOR_BYTES, maxDepth: 4, maxItems: 256 }

/** What a relay states about itself; the identity comes from the signer, `issued` and `seq` from the publisher. */
export type DescriptorFacts = Omit<RelayDescriptor, 'nodeId' | 'identity'>

/** A descriptor together with the bytes its signature covers. */
export interface SignedDescriptor {
  readonly descriptor: RelayDescriptor
  readonly raw: Uint8Array
  /** SHA-256 of `raw`, hex. */
  readonly digest: string
}

/**
 * Signs a descriptor. Returns the bytes that parseDescriptor takes, at most MAX_DESCRIPTOR_BYTES.
 * Throws ERR_ANONNET_DESCRIPTOR_INVALID when a fact does not fit the form that others accept.
 */
export function issueDescriptor(facts: DescriptorFacts, signer: Signer): Uint8Array {
  return guard(INVALID, () => {
    const body = encodeCbor({
      v: FORMAT,
      identity: signer.publicKey,
      onion: facts.onionKey,
      address: facts.address,
      roles: ROLE_BITS.reduce((bits, role, index) => bits | (facts.roles[role] ? 1 << index : 0), 0),
      exit: [...facts.exitPolicy],
      family: facts.family.map((id) => fromHex(id, 32)),
      versions: [...facts.versions],
      bandwidth: facts.bandwidth,
      issued: facts.issued,
      lifetime: facts.lifetime,
      seq: facts.seq
    })
    readBody(body)
    const raw = encodeCbor([body, signer.sign(signedMessage(DESCRIPTOR_DOMAIN, body))])
    if (raw.length > MAX_DESCRIPTOR_BYTES) throw new Malformed('too large')
    return raw
  })
}

/**
 * Decodes a descriptor and verifies its signature against the identity in it. Does not look at the time: see checkCurrent.
 * Throws ERR_ANONNET_DESCRIPTOR_INVALID.
 */
export function parseDescriptor(bytes: Uint8Array, verify: Verify): SignedDescriptor {
  return guard(INVALID, () => {
    const { body, signature } = open(bytes)
    const descriptor = readBody(body)
    if (!verify(descriptor.identity, signedMessage(DESCRIPTOR_DOMAIN, body), signature)) throw new Malformed('wrong signature')
    return finish(bytes, descriptor)
  })
}

/** The same without the signature: for descriptors that a majority of the bootstrap nodes has vouched for. */
export function readDescriptor(bytes: Uint8Array): RelayDescriptor {
  return guard(INVALID, () => readBody(open(bytes).body))
}

/** Throws ERR_ANONNET_DESCRIPTOR_INVALID when the descriptor has expired or was issued in the future. `nowS` is Unix seconds. */
export function checkCurrent(descriptor: RelayDescriptor, nowS: number): void {
  if (!isCurrent(descriptor, nowS)) throw fault(INVALID, 'expired, or issued in the future')
}

/** Whether `nowS` (Unix seconds) is within the descriptor's life, give or take the tolerance for its start. */
export function isCurrent(descriptor: RelayDescriptor, nowS: number): boolean {
  return descriptor.issued <= nowS + CLOCK_TOLERANCE_S && nowS < descriptor.issued + descriptor.lifetime
}

function open(bytes: Uint8Array): { body: Uint8Array; signature: Uint8Array } {
  const [body, signature] = asTuple(decodeCbor(bytes, LIMITS), 'descriptor', 2)
  return { body: asBytesUpTo(body, 'body', MAX_DESCRIPTOR_BYTES), signature: asBytes(signature, 'signature', 64) }
}

function finish(bytes: Uint8Array, descriptor: RelayDescriptor): SignedDescriptor {
  const raw = copyBytes(bytes)
  return { descriptor, raw, digest: toHex(sha256(raw)) }
}

const FIELDS = [
  'v',
  'identity',
  'onion',
  'address',
  'roles',
  'exit',
  'family',
  'versions',
  'bandwidth',
  'issued',
  'lifetime',
  'seq'
] as const

function readBody(body: Uint8Array): RelayDescriptor {
  const fields = asFields(decodeCbor(body, LIMITS), FIELDS)
  if (fields.v !== FORMAT) throw new Malformed('unknown format')
  const identity = copyBytes(asBytes(fields.identity, 'identity', 32))
  const address = asText(fields.address, 'address', 64)
  parseAddress(address)
  const roles = asUint(fields.roles, 'roles', (1 << ROLE_BITS.length) - 1)
  const exitPolicy = asArray(fields.exit, 'exit', MAX_EXIT_POLICY_LINES).map(readPolicyLine)
  const family = asArray(fields.family, 'family', MAX_FAMILY_MEMBERS).map((id) => toHex(asBytes(id, 'family', 32)))
  const versions = asArray(fields.versions, 'versions', MAX_PROTOCOL_VERSIONS).map((version) => asUint(version, 'version', 65535, 1))
  if (versions.length === 0 || versions.some((version, index) => index > 0 && version <= (versions[index - 1] ?? 0))) {
    throw new Malformed('versions are empty or not ascending')
  }
  return {
    nodeId: nodeIdOf(identity),
    identity,
    onionKey: copyBytes(asBytes(fields.onion, 'onion', 32)),
    address,
    roles: { relay: (roles & 1) !== 0, exit: (roles & 2) !== 0, guard: (roles & 4) !== 0, dht: (roles & 8) !== 0 },
    exitPolicy,
    family,
    versions,
    bandwidth: asUint(fields.bandwidth, 'bandwidth', undefined, 1),
    issued: asUint(fields.issued, 'issued'),
    lifetime: asUint(fields.lifetime, 'lifetime', MAX_DESCRIPTOR_LIFETIME_S, MIN_DESCRIPTOR_LIFETIME_S),
    seq: asUint(fields.seq, 'seq')
  }
}

/** 'accept' or 'reject', then '*', 'ip', 'ip/bits' or '[v6]/bits', ':' and '*', a port or 'low-high'. */
function readPolicyLine(value: unknown): string {
  const line = asText(value, 'exit policy line', MAX_EXIT_POLICY_LINE_CHARS)
  const match = /^(?:accept|reject) (?:\*|(?:\[([^\]]+)\]|([0-9.]+))(?:\/([0-9]{1,3}))?):(?:\*|([0-9]{1,5})(?:-([0-9]{1,5}))?)$/.exec(line)
  if (!match) throw new Malformed('not an exit policy line')
  const [, v6, v4, bits, low, high] = match
  const ip = v6 ?? v4
  if (ip !== undefined) {
    const width = v6 === undefined ? 32 : 128
    parseIp(ip)
    if (bits !== undefined && Number(bits) > width) throw new Malformed('prefix longer than the address')
  }
  const first = low === undefined ? 1 : Number(low)
  const last = high === undefined ? first : Number(high)
  if (first < 1 || last < first || last > 65535) throw new Malformed('ports are not a range')
  return line
}
