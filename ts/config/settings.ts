/**
 * The one table of settings: what each is called in the file, its shape, its default, and what to say when it does not fit.
 * Flags and environment variables derive from it.
 */
import { isIP } from 'node:net'
import * as v from 'valibot'

/** How a setting is written in one piece of text (an environment variable or a flag). */
export type Form = 'text' | 'list' | 'number' | 'boolean'

/** One setting. */
export interface Setting<T> {
  readonly form: Form
  readonly schema: v.GenericSchema<unknown, T>
  /** What the value must be, in words, for errors and help. */
  readonly expected: string
  readonly value: T
}

/** Splits `ip:port` (IPv6 in brackets); undefined when it is not that. */
export function splitAddress(text: string): { host: string; port: number } | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):(\d{1,5})$/.exec(text)
  if (match === null) return undefined
  const host = match[1] ?? match[2] ?? ''
  const port = Number(match[3])
  if (isIP(host) !== (match[1] === undefined ? 4 : 6) || port > 65_535) return undefined
  return { host, port }
}

/** Longest list that a setting takes. */
export const MAX_LIST_ENTRIES = 256
/** Shortest and longest interval of the relay list, in milliseconds. */
export const MIN_LIST_INTERVAL_MS = 1_000
export const MAX_LIST_INTERVAL_MS = 86_400_000

const text = v.pipe(v.string(), v.minLength(1), v.maxLength(4_096))
const address = v.pipe(
  v.string(),
  v.check((item) => splitAddress(item) !== undefined)
)
const wordsOf = <T>(item: v.GenericSchema<unknown, T>) => v.pipe(v.array(item), v.maxLength(MAX_LIST_ENTRIES))
const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0))
const bootstrapEntry = v.pipe(
  v.string(),
  v.check((item) => {
    const at = item.lastIndexOf('@')
    return /^([0-9a-fA-F]{64}|[A-Za-z0-9_-]{43})$/.test(item.slice(0, Math.max(at, 0))) && splitAddress(item.slice(at + 1)) !== undefined
  })
)
const nodeId = v.pipe(v.string(), v.regex(/^[0-9a-fA-F]{64}$/))
const policyLine = v.pipe(v.string(), v.regex(/^(accept|reject)\s+\S+:(\*|\d{1,5}(-\d{1,5})?)$/i))

const addressWords = 'expected ip:port, with an IPv6 address in brackets'
const pathSetting: Setting<string | undefined> = { form: 'text', schema: v.optional(text), expected: 'expected a path', value: undefined }
const listenSetting: Setting<string | undefined> = { form: 'text', schema: v.optional(address), expected: addressWords, value: undefined }
const rateSetting: Setting<number | undefined> = {
  form: 'number',
  schema: v.optional(count),
  expected: 'expected bytes a second as a whole number, 0 for no limit',
  value: undefined
}
const switchSetting: Setting<boolean> = { form: 'boolean', schema: v.boolean(), expected: 'expected true or false', value: false }
const serverSettings = { listen: listenSetting, advertise: listenSetting, identity: pathSetting, state_dir: pathSetting }

/** Sections and keys as they are in `anonnet.toml`. */
export const SETTINGS = {
  network: {
    bootstrap: {
      form: 'list',
      schema: wordsOf(bootstrapEntry),
      expected: 'expected a list of <public key>@ip:port, all bootstrap nodes of the network',
      value: []
    } as Setting<string[]>
  },
  client: {
    socks: { form: 'list', schema: wordsOf(address), expected: `${addressWords}, or a list of those`, value: [] } as Setting<string[]>,
    http: { form: 'list', schema: wordsOf(address), expected: `${addressWords}, or a list of those`, value: [] } as Setting<string[]>,
    state_dir: pathSetting
  },
  relay: {
    ...serverSettings,
    exit: switchSetting,
    exit_policy: {
      form: 'list',
      schema: v.optional(wordsOf(policyLine)),
      expected: "expected a list of lines such as 'accept *:443' or 'reject *:*'",
      value: undefined
    } as Setting<string[] | undefined>,
    family: { form: 'list', schema: wordsOf(nodeId), expected: 'expected a list of node ids, 64 hex digits each', value: [] } as Setting<
      string[]
    >,
    bandwidth_rate_bytes: rateSetting,
    bandwidth_burst_bytes: { ...rateSetting, expected: 'expected bytes as a whole number' },
    declared_rate_bytes: rateSetting
  },
  bootstrap: serverSettings,
  test_network: {
    allow_private: switchSetting,
    relaxed_prefixes: switchSetting,
    list_interval_ms: {
      form: 'number',
      schema: v.optional(v.pipe(count, v.minValue(MIN_LIST_INTERVAL_MS), v.maxValue(MAX_LIST_INTERVAL_MS))),
      expected: `expected milliseconds, ${MIN_LIST_INTERVAL_MS} to ${MAX_LIST_INTERVAL_MS}`,
      value: undefined
    } as Setting<number | undefined>
  },
  log: {
    level: {
      form: 'text',
      schema: v.picklist(['error', 'warn', 'info', 'debug', 'silent']),
      expected: 'expected error, warn, info, debug or silent',
      // What is worth a line at info is told as progress.
      value: 'warn'
    } as Setting<'error' | 'warn' | 'info' | 'debug' | 'silent'>,
    format: { form: 'text', schema: v.picklist(['text', 'json']), expected: 'expected text or json', value: 'text' } as Setting<
      'text' | 'json'
    >
  }
} as const

export type Settings = typeof SETTINGS
export type SectionName = keyof Settings

/** The configuration: every key has a value, sections and keys as in the file. */
export type Config = {
  [S in SectionName]: { [K in keyof Settings[S]]: Settings[S][K] extends Setting<infer T> ? T : never }
}

/** What a layer (a file, the environment, the flags) says; what it does not say, a lower layer decides. */
export type PartialConfig = { [S in SectionName]?: { [K in keyof Config[S]]?: Config[S][K] | undefined } }

/** The names of the sections. */
export const SECTION_NAMES = Object.keys(SETTINGS) as SectionName[]

/** One section's settings by name. */
export function sectionOf(name: SectionName): Readonly<Record<string, Setting<unknown>>> {
  return SETTINGS[name]
}

/** The environment variable of a setting. */
export function variableOf(section: SectionName, key: string): string {
  return `ANONNET_${section}_${key}`.toUpperCase()
}
