/**
 * The registry of everything that can go wrong, as `crates/errors` defines it. A test reads the Rust source and another asks
 * the addon, so that neither side can drift: change both together, and never a code that was released.
 */

/** Whose doing an error is: this machine, the other end, the path between, the calling program, or ours. */
export type Blame = 'local' | 'peer' | 'network' | 'caller' | 'bug'

/** Whether doing the same again can help: never, at once over another circuit or link, or after a pause. */
export type Retry = 'never' | 'now' | 'later'

/** One entry: `code` is what programs branch on, `advice` one sentence for a person, without an address, a key or a target. */
export interface RegistryEntry {
  readonly code: string
  readonly blame: Blame
  readonly retry: Retry
  readonly advice: string
}

/** Every error there is, in the order of the documentation. */
export const ERROR_REGISTRY = [
  { code: 'ERR_ANONNET_INVALID_ARGUMENT', blame: 'caller', retry: 'never', advice: 'An argument is of the wrong type, shape or range.' },
  {
    code: 'ERR_ANONNET_INVALID_ADDRESS',
    blame: 'caller',
    retry: 'never',
    advice: 'The target is not of the form host:port, or its name or port is not valid.'
  },
  {
    code: 'ERR_ANONNET_CONFIG_INVALID',
    blame: 'caller',
    retry: 'never',
    advice: 'The configuration has an unknown key or a value that does not fit.'
  },
  { code: 'ERR_ANONNET_CLOSED', blame: 'caller', retry: 'never', advice: 'The node, circuit or stream was already closed.' },
  { code: 'ERR_ANONNET_ABORTED', blame: 'caller', retry: 'never', advice: 'The operation was cancelled by its caller.' },
  { code: 'ERR_ANONNET_UNSUPPORTED', blame: 'caller', retry: 'never', advice: 'This version does not do that yet.' },
  {
    code: 'ERR_ANONNET_NOT_BUILT',
    blame: 'caller',
    retry: 'never',
    advice: 'The addon was built without a part that this needs; build it with the feature that is named.'
  },
  {
    code: 'ERR_ANONNET_BIND_FAILED',
    blame: 'local',
    retry: 'never',
    advice: 'The address could not be bound: it is in use, not of this machine, or needs a privilege.'
  },
  {
    code: 'ERR_ANONNET_STORE_FAILED',
    blame: 'local',
    retry: 'later',
    advice: 'A file of the state directory could not be read or written.'
  },
  { code: 'ERR_ANONNET_KEY_INVALID', blame: 'local', retry: 'never', advice: 'A key or a key file is damaged or not of a known form.' },
  {
    code: 'ERR_ANONNET_KEY_PASSPHRASE',
    blame: 'local',
    retry: 'never',
    advice: 'The key file needs a passphrase, or the passphrase is wrong.'
  },
  {
    code: 'ERR_ANONNET_KEY_PERMISSIONS',
    blame: 'local',
    retry: 'never',
    advice: 'The key file can be read by others; make its mode 0600.'
  },
  { code: 'ERR_ANONNET_RESOURCE_LIMIT', blame: 'local', retry: 'later', advice: 'A limit of this node was reached; see docs/limits.md.' },
  { code: 'ERR_ANONNET_RATE_LIMITED', blame: 'peer', retry: 'later', advice: 'The other side takes no more from this address for now.' },
  { code: 'ERR_ANONNET_LINK_UNREACHABLE', blame: 'network', retry: 'later', advice: 'The relay does not answer at its address.' },
  {
    code: 'ERR_ANONNET_LINK_IDENTITY',
    blame: 'peer',
    retry: 'never',
    advice: 'The relay at that address has not the identity that was asked for.'
  },
  { code: 'ERR_ANONNET_LINK_PROTOCOL', blame: 'peer', retry: 'never', advice: 'The other end of a link broke the protocol.' },
  { code: 'ERR_ANONNET_LINK_CLOSED', blame: 'network', retry: 'now', advice: 'The link to a relay ended.' },
  {
    code: 'ERR_ANONNET_RPC_INVALID',
    blame: 'peer',
    retry: 'never',
    advice: 'A request or an answer between nodes was malformed or too large.'
  },
  { code: 'ERR_ANONNET_RPC_REFUSED', blame: 'peer', retry: 'later', advice: 'The other node refused the request.' },
  {
    code: 'ERR_ANONNET_HANDSHAKE_FAILED',
    blame: 'peer',
    retry: 'never',
    advice: 'The circuit handshake did not authenticate the relay, or was malformed.'
  },
  { code: 'ERR_ANONNET_CELL_MALFORMED', blame: 'peer', retry: 'never', advice: 'A cell or a message in it was malformed.' },
  { code: 'ERR_ANONNET_CIRCUIT_PROTOCOL', blame: 'peer', retry: 'never', advice: 'A relay or the other end broke the circuit protocol.' },
  { code: 'ERR_ANONNET_CIRCUIT_CLOSED', blame: 'network', retry: 'now', advice: 'The circuit ended.' },
  { code: 'ERR_ANONNET_EXTEND_REFUSED', blame: 'peer', retry: 'now', advice: 'A relay refused to extend the circuit.' },
  { code: 'ERR_ANONNET_TIMEOUT', blame: 'network', retry: 'later', advice: 'It took too long.' },
  { code: 'ERR_ANONNET_NO_PATH', blame: 'network', retry: 'later', advice: 'No relays fit the rules for a path.' },
  {
    code: 'ERR_ANONNET_NOT_BOOTSTRAPPED',
    blame: 'network',
    retry: 'later',
    advice: 'There is no relay list yet that a majority of the bootstrap keys signed.'
  },
  { code: 'ERR_ANONNET_STREAM_REFUSED', blame: 'peer', retry: 'later', advice: 'The target refused the connection.' },
  { code: 'ERR_ANONNET_STREAM_RESET', blame: 'peer', retry: 'now', advice: 'The stream was reset.' },
  { code: 'ERR_ANONNET_HOST_UNREACHABLE', blame: 'peer', retry: 'later', advice: 'The target cannot be reached from the exit.' },
  { code: 'ERR_ANONNET_NAME_NOT_RESOLVED', blame: 'peer', retry: 'later', advice: 'The exit could not resolve the name.' },
  { code: 'ERR_ANONNET_EXIT_POLICY', blame: 'peer', retry: 'never', advice: "The exit's policy does not allow that target." },
  { code: 'ERR_ANONNET_STREAM_LIMIT', blame: 'peer', retry: 'now', advice: 'The circuit carries no more streams.' },
  {
    code: 'ERR_ANONNET_LIST_INVALID',
    blame: 'peer',
    retry: 'later',
    advice: 'A relay list is not signed by a majority of the bootstrap keys, too old, or malformed.'
  },
  {
    code: 'ERR_ANONNET_DESCRIPTOR_INVALID',
    blame: 'peer',
    retry: 'never',
    advice: 'A relay descriptor is malformed, expired, or its signature is wrong.'
  },
  {
    code: 'ERR_ANONNET_RECORD_INVALID',
    blame: 'peer',
    retry: 'never',
    advice: 'A stored record is malformed, expired, or its signature is wrong.'
  },
  { code: 'ERR_ANONNET_NOT_FOUND', blame: 'network', retry: 'later', advice: 'Nobody who was asked has it.' },
  {
    code: 'ERR_ANONNET_SERVICE_ADDRESS',
    blame: 'caller',
    retry: 'never',
    advice: 'No service can have that address: a character was mistyped, or it is of another version.'
  },
  {
    code: 'ERR_ANONNET_SERVICE_NOT_FOUND',
    blame: 'network',
    retry: 'later',
    advice: 'Nobody who was asked has a descriptor of the service: it is not running, or its address is wrong.'
  },
  {
    code: 'ERR_ANONNET_INTRODUCTION_FAILED',
    blame: 'network',
    retry: 'later',
    advice: 'No introduction point of the service passed the introduction on.'
  },
  {
    code: 'ERR_ANONNET_INTRODUCTION_TIMEOUT',
    blame: 'network',
    retry: 'later',
    advice: 'The service was introduced to and did not answer in time.'
  },
  {
    code: 'ERR_ANONNET_RENDEZVOUS_FAILED',
    blame: 'network',
    retry: 'later',
    advice: 'The meeting with the service did not come about, or its other end is not the service.'
  },
  {
    code: 'ERR_ANONNET_CLIENT_AUTH',
    blame: 'caller',
    retry: 'never',
    advice: 'The service is for authorised clients only, and no key for it is known.'
  },
  {
    code: 'ERR_ANONNET_CLIENT_AUTH_WRONG',
    blame: 'caller',
    retry: 'never',
    advice: 'The service does not authorise the key that is known for it.'
  },
  {
    code: 'ERR_ANONNET_INTERNAL',
    blame: 'bug',
    retry: 'later',
    advice: 'A bug of AnonNet; please report it with the code and what you did.'
  }
] as const satisfies readonly RegistryEntry[]

/** The stable code of an error of AnonNet. */
export type ErrorCode = (typeof ERROR_REGISTRY)[number]['code']

const byCode: ReadonlyMap<string, RegistryEntry & { readonly code: ErrorCode }> = new Map(
  ERROR_REGISTRY.map((entry) => [entry.code, entry])
)

/** Whether a string is a code of the registry. */
export function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === 'string' && byCode.has(code)
}

/** The entry of a code, or undefined for a string that is none. */
export function registryEntry(code: string): (RegistryEntry & { readonly code: ErrorCode }) | undefined {
  return byCode.get(code)
}
