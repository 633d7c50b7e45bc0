/** The one error of this room: which key does not fit, where it was read, and what was expected. */
import { ConfigError } from '../errors/index.js'
import { nearest } from './nearest.js'

/** Where a setting was read. */
export type Source = 'default' | 'file' | 'environment' | 'flag' | 'option'

/** ERR_ANONNET_CONFIG_INVALID with its particulars. The value itself is never shown: it may be an address or a passphrase. */
export class ConfigInvalid extends ConfigError {
  /** The key as it is written where it was read: `relay.listen`, `ANONNET_RELAY_LISTEN`, `--listen`. */
  readonly key: string
  readonly source: Source
  /** What would have been right, in words. */
  readonly expected: string

  constructor(key: string, source: Source, expected: string, cause?: unknown) {
    super('ERR_ANONNET_CONFIG_INVALID', { detail: `${key}: ${expected}`, cause })
    this.key = key
    this.source = source
    this.expected = expected
  }
}

/** The error for a key that there is not, with the nearest that there is. */
export function unknownKey(key: string, source: Source, known: Iterable<string>): ConfigInvalid {
  const meant = nearest(key, known)
  return new ConfigInvalid(key, source, meant === undefined ? 'there is no such key' : `there is no such key, did you mean ${meant}?`)
}
