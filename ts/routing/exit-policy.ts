/**
 * Exit policies as a client reads them: `accept|reject ADDRESS:PORTS` lines, the first that matches counts, none means reject.
 *
 * ADDRESS is `*`, an IPv4 or IPv6 literal (brackets around IPv6) or a network of one (`10.0.0.0/8`, `[2001:db8::]/32`,
 * `[2001:db8::/32]`). PORTS is `*`, a port, a range, or several of these with commas. An IP target is matched by address and port.
 * A name is resolved at the exit, so here only rules that hold for every address count; the exit has the last word.
 */
import type { RelayDescriptor } from '../directory/types.js'
import { type IpAddress, inNetwork, parseIp } from './address.js'
import { EXIT_POLICY_MAX_LINE_CHARS, EXIT_POLICY_MAX_LINES } from './limits.js'
import type { Target } from './types.js'

interface Rule {
  readonly accept: boolean
  /** Undefined: every address of both families. */
  readonly network: { readonly ip: IpAddress; readonly bits: number } | undefined
  readonly ports: readonly (readonly [first: number, last: number])[]
}

/** A parsed policy. */
export interface ExitPolicy {
  readonly rules: readonly Rule[]
}

const MAX_PORT = 65_535

/** Parses a policy. Undefined if any line is malformed: a policy that is half understood is not one to rely on. */
export function parseExitPolicy(lines: readonly string[]): ExitPolicy | undefined {
  if (lines.length > EXIT_POLICY_MAX_LINES) return undefined
  const rules: Rule[] = []
  for (const line of lines) {
    const rule = line.length > EXIT_POLICY_MAX_LINE_CHARS ? undefined : parseRule(line)
    if (rule === undefined) return undefined
    rules.push(rule)
  }
  return { rules }
}

function parseRule(line: string): Rule | undefined {
  const match = /^(accept|reject) (\*|\[[^\]\s]+\](?:\/\d{1,3})?|[\d.]+(?:\/\d{1,3})?):([\d,*-]+)$/.exec(line)
  const [, verb, address, portText] = match ?? []
  if (verb === undefined || address === undefined || portText === undefined) return undefined
  const ports = parsePorts(portText)
  if (ports === undefined) return undefined
  if (address === '*') return { accept: verb === 'accept', network: undefined, ports }
  const network = parseNetwork(address)
  return network && { accept: verb === 'accept', network, ports }
}

function parseNetwork(text: string): Rule['network'] {
  const [host, bitsText, extra] = text.replace(/[[\]]/g, '').split('/')
  const ip = parseIp(host ?? '')
  if (ip === undefined || extra !== undefined) return undefined
  const written = (host ?? '').includes(':') ? 128 : 32
  const most = ip.family === 4 ? 32 : 128
  // An IPv4-mapped network is written with 128 bits and meant with 32.
  const bits = bitsText === undefined ? most : Number(bitsText) - (written - most)
  return bits < 0 || bits > most ? undefined : { ip, bits }
}

function parsePorts(text: string): Rule['ports'] | undefined {
  if (text === '*') return [[1, MAX_PORT]]
  const ranges: (readonly [number, number])[] = []
  for (const part of text.split(',')) {
    const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part)
    if (match === null) return undefined
    const first = Number(match[1])
    const last = Number(match[2] ?? match[1])
    if (first < 1 || last > MAX_PORT || first > last) return undefined
    ranges.push([first, last])
  }
  return ranges
}

const hasPort = (rule: Rule, port: number): boolean => rule.ports.some(([first, last]) => port >= first && port <= last)

function verdict(policy: ExitPolicy, port: number, covers: (network: NonNullable<Rule['network']>) => boolean): boolean {
  const rule = policy.rules.find((candidate) => hasPort(candidate, port) && (candidate.network === undefined || covers(candidate.network)))
  return rule?.accept ?? false
}

/** Whether a policy lets a target through, as far as can be known without resolving. */
export function policyAccepts(policy: ExitPolicy, target: Target): boolean {
  const ip = parseIp(target.host.replace(/^\[(.*)\]$/, '$1'))
  if (ip !== undefined) return verdict(policy, target.port, (network) => inNetwork(ip, network.ip, network.bits))
  const everyAddressOf = (family: 4 | 6) => verdict(policy, target.port, (network) => network.bits === 0 && network.ip.family === family)
  return everyAddressOf(4) || everyAddressOf(6)
}

/** Whether any target at all could be reached, for lookups that have no port. */
export function policyAcceptsAnything(policy: ExitPolicy): boolean {
  const first = policy.rules.findIndex((rule) => rule.accept)
  if (first < 0) return false
  return !policy.rules
    .slice(0, first)
    .some((rule) => rule.network === undefined && rule.ports.some(([low, high]) => low === 1 && high === MAX_PORT))
}

// Lists hold thousands of relays and paths are chosen often: each policy is read once for as long as its descriptor lives.
const parsed = new WeakMap<readonly string[], { readonly policy: ExitPolicy | undefined }>()

/** The policy of a relay, undefined if it is malformed. */
export function exitPolicyOf(relay: RelayDescriptor): ExitPolicy | undefined {
  let entry = parsed.get(relay.exitPolicy)
  if (entry === undefined) {
    entry = { policy: parseExitPolicy(relay.exitPolicy) }
    parsed.set(relay.exitPolicy, entry)
  }
  return entry.policy
}

/** Whether a relay is an exit whose policy lets this target through; without a target, any target. */
export function exitAccepts(relay: RelayDescriptor, target?: Target): boolean {
  if (!relay.roles.exit || !relay.roles.relay) return false
  const policy = exitPolicyOf(relay)
  if (policy === undefined) return false
  return target === undefined ? policyAcceptsAnything(policy) : policyAccepts(policy, target)
}
