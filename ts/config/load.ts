/** Flags over environment over files over defaults. */
import { readFileSync } from 'node:fs'
import { parse } from 'smol-toml'
import * as v from 'valibot'
import { errorFromCode } from '../errors/index.js'
import { ConfigInvalid, type Source, unknownKey } from './invalid.js'
import { editDistance, nearest } from './nearest.js'
import { type Config, type PartialConfig, SECTION_NAMES, type SectionName, type Setting, sectionOf, variableOf } from './settings.js'

/** Largest configuration file, in bytes. */
export const MAX_CONFIG_BYTES = 1_048_576

/** Variables that are not settings. */
const OTHER_VARIABLES = new Set(['ANONNET_CONFIG', 'ANONNET_ADDON', 'ANONNET_PASSPHRASE', 'ANONNET_EXPORT_PASSPHRASE', 'ANONNET_VERBOSE'])

/** What to read. */
export interface LoadOptions {
  /** Contents of `anonnet.toml` files, later ones over earlier ones. */
  readonly files?: readonly string[]
  readonly environment?: Readonly<Record<string, string | undefined>>
  /** Values of flags, by section and key. */
  readonly flags?: PartialConfig
}

/** What was read, and where each key came from (`section.key`). */
export interface Loaded {
  readonly config: Config
  readonly sources: ReadonlyMap<string, Source>
}

/**
 * Merges all layers.
 *
 * @throws ConfigInvalid (ERR_ANONNET_CONFIG_INVALID) naming the key and what was expected.
 */
export function loadConfig(options: LoadOptions = {}): Loaded {
  const layers: [Source, Layer][] = [
    ...(options.files ?? []).map((text): [Source, Layer] => ['file', fileLayer(text)]),
    ['environment', environmentLayer(options.environment ?? {})],
    ['flag', flagLayer(options.flags ?? {})]
  ]
  const config: Record<string, Record<string, unknown>> = {}
  const sources = new Map<string, Source>()
  for (const section of SECTION_NAMES) {
    const values: Record<string, unknown> = {}
    for (const [key, setting] of Object.entries(sectionOf(section))) {
      const name = `${section}.${key}`
      values[key] = Array.isArray(setting.value) ? [...setting.value] : setting.value
      sources.set(name, 'default')
      for (const [source, layer] of layers) {
        if (!layer.has(name)) continue
        values[key] = layer.get(name)
        sources.set(name, source)
      }
    }
    config[section] = values
  }
  return { config: config as unknown as Config, sources }
}

/** Values by `section.key`. */
type Layer = Map<string, unknown>

function checked(setting: Setting<unknown>, value: unknown, key: string, source: Source): unknown {
  // One address where a list is meant is a list of one.
  const given = setting.form === 'list' && typeof value === 'string' ? [value] : value
  const result = v.safeParse(setting.schema, given)
  if (!result.success) throw new ConfigInvalid(key, source, setting.expected)
  return result.output
}

function fileLayer(text: string): Layer {
  let document: Record<string, unknown>
  try {
    document = parse(text)
  } catch (cause) {
    const line = typeof cause === 'object' && cause !== null && 'line' in cause ? ` in line ${String(cause.line)}` : ''
    throw new ConfigInvalid('anonnet.toml', 'file', `is not TOML${line}`, cause)
  }
  const layer: Layer = new Map()
  for (const [section, values] of Object.entries(document)) {
    if (!isSection(section)) throw unknownKey(section, 'file', SECTION_NAMES)
    if (typeof values !== 'object' || values === null || Array.isArray(values))
      throw new ConfigInvalid(section, 'file', `expected a section, [${section}]`)
    const settings = sectionOf(section)
    for (const [key, value] of Object.entries(values)) {
      const setting = Object.hasOwn(settings, key) ? settings[key] : undefined
      if (setting === undefined) {
        const meant = nearest(key, Object.keys(settings))
        throw unknownKey(`${section}.${key}`, 'file', meant === undefined ? allKeys() : [`${section}.${meant}`])
      }
      layer.set(`${section}.${key}`, checked(setting, value, `${section}.${key}`, 'file'))
    }
  }
  return layer
}

function isSection(name: string): name is SectionName {
  return (SECTION_NAMES as string[]).includes(name)
}

function allKeys(): string[] {
  return SECTION_NAMES.flatMap((section) => Object.keys(sectionOf(section)).map((key) => `${section}.${key}`))
}

/** The value of a text: lists are separated by commas, switches are true, false, 1, 0, yes, no, on, off. */
export function fromText(setting: Setting<unknown>, text: string): unknown {
  switch (setting.form) {
    case 'list':
      return text === '' ? [] : text.split(',').map((item) => item.trim())
    case 'number':
      return /^\d+$/.test(text) ? Number(text) : text
    case 'boolean':
      if (/^(true|1|yes|on)$/i.test(text)) return true
      return /^(false|0|no|off)$/i.test(text) ? false : text
    case 'text':
      return text
  }
}

function environmentLayer(environment: Readonly<Record<string, string | undefined>>): Layer {
  const known = new Map<string, { name: string; setting: Setting<unknown> }>()
  for (const section of SECTION_NAMES) {
    for (const [key, setting] of Object.entries(sectionOf(section)))
      known.set(variableOf(section, key), { name: `${section}.${key}`, setting })
  }
  const layer: Layer = new Map()
  for (const [variable, text] of Object.entries(environment)) {
    if (text === undefined || !variable.startsWith('ANONNET_') || OTHER_VARIABLES.has(variable)) continue
    const entry = known.get(variable)
    if (entry !== undefined) layer.set(entry.name, checked(entry.setting, fromText(entry.setting, text), variable, 'environment'))
    else if (meansSetting(variable, known.keys())) throw unknownKey(variable, 'environment', known.keys())
  }
  return layer
}

/** Whether a variable that is not known can only be meant for us: it has a section's name, or is a slip away from one that is known. */
function meansSetting(variable: string, known: Iterable<string>): boolean {
  if (SECTION_NAMES.some((section) => variable.startsWith(`ANONNET_${section.toUpperCase()}_`))) return true
  return [...known].some((name) => editDistance(variable, name) <= 2)
}

function flagLayer(flags: PartialConfig): Layer {
  const layer: Layer = new Map()
  for (const section of SECTION_NAMES) {
    for (const [key, value] of Object.entries(flags[section] ?? {})) {
      const setting = sectionOf(section)[key]
      if (setting === undefined || value === undefined) continue
      layer.set(`${section}.${key}`, checked(setting, value, flagOf(key), 'flag'))
    }
  }
  return layer
}

/** The flag of a key, for messages: `state_dir` is `--state-dir`. */
export function flagOf(key: string): string {
  return `--${key.replaceAll('_', '-')}`
}

/**
 * A configuration file's text.
 *
 * @throws ERR_ANONNET_STORE_FAILED when it cannot be read or is larger than {@link MAX_CONFIG_BYTES}.
 */
export function readConfigFile(path: string): string {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    throw errorFromCode('ERR_ANONNET_STORE_FAILED', { detail: 'the configuration file could not be read', cause })
  }
  if (text.length > MAX_CONFIG_BYTES) throw errorFromCode('ERR_ANONNET_STORE_FAILED', { detail: 'the configuration file is too large' })
  return text
}
