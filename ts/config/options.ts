/** Validation of the options that programs give to `createNode`, `createRelay` and `createBootstrap`. */
import * as v from 'valibot'
import { ConfigInvalid, unknownKey } from './invalid.js'
import type { Role } from './paths.js'
import { MAX_LIST_ENTRIES, MAX_LIST_INTERVAL_MS, MIN_LIST_INTERVAL_MS, splitAddress } from './settings.js'

/** Longest time that an option may name, in milliseconds: what a timer of Node.js holds. */
export const MAX_OPTION_MS = 2_147_483_647

interface Rule {
  readonly schema: v.GenericSchema
  readonly expected: string
}

const rule = (schema: v.GenericSchema, expected: string): Rule => ({ schema, expected })
const address = v.pipe(
  v.string(),
  v.check((text) => splitAddress(text) !== undefined)
)
const bytes = v.instance(Uint8Array)
const whole = v.pipe(v.number(), v.safeInteger(), v.minValue(0))
const path = rule(v.pipe(v.string(), v.minLength(1)), 'expected a path')
const addressRule = rule(address, 'expected ip:port, with an IPv6 address in brackets')
const words = (expected: string) => rule(v.pipe(v.array(v.string()), v.maxLength(MAX_LIST_ENTRIES)), expected)
const entry = v.union([v.string(), v.object({ publicKey: v.union([v.string(), bytes]), address: v.string() })])
const anyObject = v.custom<object>((value) => typeof value === 'object' && value !== null)

const testNetwork: Readonly<Record<string, Rule>> = {
  allowPrivate: rule(v.boolean(), 'expected true or false'),
  relaxedPrefixes: rule(v.boolean(), 'expected true or false'),
  listIntervalMs: rule(
    v.pipe(whole, v.minValue(MIN_LIST_INTERVAL_MS), v.maxValue(MAX_LIST_INTERVAL_MS)),
    `expected milliseconds, ${MIN_LIST_INTERVAL_MS} to ${MAX_LIST_INTERVAL_MS}`
  )
}
const bandwidth: Readonly<Record<string, Rule>> = {
  rate: rule(whole, 'expected bytes a second, 0 for no limit'),
  burst: rule(whole, 'expected bytes')
}

const common: Readonly<Record<string, Rule>> = {
  bootstrap: rule(v.pipe(v.array(entry), v.minLength(1), v.maxLength(MAX_LIST_ENTRIES)), 'expected a list of <public key>@ip:port'),
  stateDir: path,
  signal: rule(v.instance(AbortSignal), 'expected an AbortSignal'),
  logger: rule(anyObject, 'expected a logger'),
  control: path,
  testNetwork: rule(anyObject, 'expected an object')
}
const server: Readonly<Record<string, Rule>> = {
  ...common,
  listen: addressRule,
  advertise: addressRule,
  identity: path,
  passphrase: rule(bytes, 'expected a Uint8Array'),
  bandwidth: rule(anyObject, 'expected an object')
}
const byRole: { readonly [R in Role]: { readonly rules: Readonly<Record<string, Rule>>; readonly required: readonly string[] } } = {
  client: {
    rules: {
      ...common,
      proxy: rule(v.union([address, v.pipe(v.array(address), v.maxLength(MAX_LIST_ENTRIES))]), 'expected ip:port, or a list of those'),
      readyTimeoutMs: rule(v.pipe(whole, v.minValue(1), v.maxValue(MAX_OPTION_MS)), 'expected milliseconds')
    },
    required: ['bootstrap']
  },
  relay: {
    rules: {
      ...server,
      exit: rule(v.boolean(), 'expected true or false'),
      exitPolicy: words("expected a list of lines such as 'accept *:443'"),
      family: words('expected a list of node ids'),
      declaredBandwidth: rule(whole, 'expected bytes a second')
    },
    required: ['bootstrap', 'listen']
  },
  bootstrap: { rules: server, required: ['listen'] }
}

function checkObject(value: object, rules: Readonly<Record<string, Rule>>, prefix: string): void {
  for (const [key, given] of Object.entries(value)) {
    const found = Object.hasOwn(rules, key) ? rules[key] : undefined
    if (found === undefined)
      throw unknownKey(
        `${prefix}${key}`,
        'option',
        Object.keys(rules).map((name) => `${prefix}${name}`)
      )
    if (given !== undefined && !v.is(found.schema, given)) throw new ConfigInvalid(`${prefix}${key}`, 'option', found.expected)
  }
}

/**
 * Checks the options of a role: known keys only, each of its type and range. An option that is undefined counts as absent.
 *
 * @throws ConfigInvalid (ERR_ANONNET_CONFIG_INVALID) naming the key and what was expected.
 */
export function checkOptions(role: Role, options: unknown): void {
  if (typeof options !== 'object' || options === null) throw new ConfigInvalid('options', 'option', 'expected an object')
  const { rules, required } = byRole[role]
  checkObject(options, rules, '')
  const given = options as Readonly<Record<string, unknown>>
  for (const key of required) {
    if (given[key] === undefined) throw new ConfigInvalid(key, 'option', `is needed, ${rules[key]?.expected ?? ''}`)
  }
  if (given.testNetwork !== undefined) checkObject(given.testNetwork as object, testNetwork, 'testNetwork.')
  if (given.bandwidth !== undefined) {
    checkObject(given.bandwidth as object, bandwidth, 'bandwidth.')
    if ((given.bandwidth as { rate?: unknown }).rate === undefined)
      throw new ConfigInvalid('bandwidth.rate', 'option', 'is needed, expected bytes a second')
  }
}
