import { readFileSync } from 'node:fs'
import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import * as errors from '../../../ts/errors/index.js'
import {
  AnonNetError,
  CircuitError,
  ERROR_CLASSES,
  ERROR_REGISTRY,
  errorFromCode,
  InternalError,
  isAnonNetError
} from '../../../ts/errors/index.js'

/** The entries of the Rust registry, read from its source. */
function rustRegistry() {
  const source = readFileSync(new URL('../../../crates/errors/src/lib.rs', import.meta.url), 'utf8')
  const block = source.slice(source.indexOf('\nregistry! {'))
  return [...block.matchAll(/^\s+\w+ = "([A-Z_]+)", (\w+), (\w+), "([^"]*)";/gm)].map(([, code, blame, retry, advice]) => ({
    code: `ERR_ANONNET_${code}`,
    blame: blame?.toLowerCase(),
    retry: retry?.toLowerCase(),
    advice
  }))
}

describe('the registry', () => {
  it('is the one of crates/errors, entry by entry', () => {
    const rust = rustRegistry()
    expect(rust.length).toBeGreaterThan(30)
    expect([...ERROR_REGISTRY]).toEqual(rust)
  })

  it('gives every code a class, and the error carries the whole entry', () => {
    for (const entry of ERROR_REGISTRY) {
      const error = errorFromCode(entry.code)
      expect(error).toBeInstanceOf(AnonNetError)
      expect(error.constructor).not.toBe(AnonNetError)
      expect({ code: error.code, blame: error.blame, retry: error.retry, advice: error.advice }).toEqual(entry)
      expect(error.message).toBe(entry.advice)
      expect(error.name).toBe(error.constructor.name)
    }
  })

  it('exports exactly these classes', () => {
    const exported = Object.entries(errors).filter(([, value]) => typeof value === 'function' && value.prototype instanceof Error)
    expect(exported.map(([name]) => name).sort()).toEqual(ERROR_CLASSES.map((type) => type.prototype.name).sort())
    for (const [name, type] of exported) expect((type as typeof AnonNetError).prototype.name).toBe(name)
  })
})

describe('errorFromCode', () => {
  it('makes an InternalError of a code that it does not know, and names it', () => {
    const error = errorFromCode('ERR_ANONNET_FROM_THE_FUTURE')
    expect(error).toBeInstanceOf(InternalError)
    expect(error.code).toBe('ERR_ANONNET_INTERNAL')
    expect(error.message).toContain('ERR_ANONNET_FROM_THE_FUTURE')
    expect(errorFromCode('/etc/passwd\u0000').message).toContain('not a code')
    expect(errorFromCode('toString').code).toBe('ERR_ANONNET_INTERNAL')
  })

  it('keeps the cause and adds the detail', () => {
    const cause = new Error('below')
    const error = errorFromCode('ERR_ANONNET_CIRCUIT_CLOSED', { detail: 'second hop', cause })
    expect(error).toBeInstanceOf(CircuitError)
    expect(error.cause).toBe(cause)
    expect(error.message).toBe('The circuit ended. (second hop)')
    expect('cause' in errorFromCode('ERR_ANONNET_TIMEOUT')).toBe(false)
  })

  it('prints as JSON without stack and cause', () => {
    const error = errorFromCode('ERR_ANONNET_TIMEOUT', { cause: new Error('below') })
    expect(JSON.parse(JSON.stringify(error))).toEqual({
      name: 'TimeoutError',
      code: 'ERR_ANONNET_TIMEOUT',
      blame: 'network',
      retry: 'later',
      message: 'It took too long.'
    })
  })
})

describe('reasonFor', () => {
  it('throws the reason of the signal as it is', () => {
    const reason = { mine: true }
    const signal = AbortSignal.abort(reason)
    expect(errors.reasonFor('ERR_ANONNET_ABORTED', { signal })).toBe(reason)
  })

  it('stays with the code when the signal did not do it', () => {
    expect(errors.reasonFor('ERR_ANONNET_TIMEOUT', { signal: AbortSignal.abort() })).toMatchObject({ code: 'ERR_ANONNET_TIMEOUT' })
    expect(errors.reasonFor('ERR_ANONNET_ABORTED', { signal: new AbortController().signal })).toMatchObject({ code: 'ERR_ANONNET_ABORTED' })
    expect(errors.reasonFor('ERR_ANONNET_ABORTED')).toBeInstanceOf(errors.AbortedError)
  })
})

describe('wrapError', () => {
  it('keeps what is ours, takes the code that an error of the addon carries, and falls back', () => {
    const own = errorFromCode('ERR_ANONNET_NO_PATH')
    expect(errors.wrapError(own)).toBe(own)
    const native = Object.assign(new Error('native'), { code: 'ERR_ANONNET_KEY_PASSPHRASE' })
    expect(errors.wrapError(native)).toMatchObject({ code: 'ERR_ANONNET_KEY_PASSPHRASE', cause: native })
    const system = Object.assign(new Error('no such file'), { code: 'ENOENT' })
    expect(errors.wrapError(system, 'ERR_ANONNET_STORE_FAILED')).toMatchObject({ code: 'ERR_ANONNET_STORE_FAILED', cause: system })
    expect(errors.wrapError('thrown text').code).toBe('ERR_ANONNET_INTERNAL')
  })
})

describe('isAnonNetError', () => {
  it('tells ours from others', () => {
    expect(isAnonNetError(errorFromCode('ERR_ANONNET_TIMEOUT'))).toBe(true)
    for (const other of [new Error('x'), null, undefined, 'x', {}]) expect(isAnonNetError(other)).toBe(false)
  })
})

describe('what an error shows', () => {
  const secrets = [
    '/var/lib/anonnet/identity.key',
    'D:\\state\\anonnet\\key',
    '198.51.100.7:443',
    '198.51.100.0/24',
    '[2001:db8::7]:443',
    '2001:db8::7',
    'example.org:443',
    'https://example.org/a?b=c',
    'ab'.repeat(32),
    `${'abcdefg2'.repeat(7)}.anon`,
    'q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA='
  ]

  it.each(secrets)('has no %s', (secret) => {
    const cause = Object.assign(new Error(`ENOENT: open '${secret}'`), { code: 'ENOENT' })
    const error = errorFromCode('ERR_ANONNET_STORE_FAILED', { detail: `while reading ${secret} twice`, cause })
    const shown = inspect(error) + String(error) + error.message + JSON.stringify(error) + inspect({ nested: [error] }, { depth: 9 })
    expect(shown).not.toContain(secret)
    expect(error.message).toMatch(/while reading <\w+> twice/)
    expect(shown).toContain('ENOENT')
  })

  it('shows frames by file name only', () => {
    const shown = inspect(errorFromCode('ERR_ANONNET_INTERNAL'))
    expect(shown).toContain('errors.test.ts:')
    expect(shown).not.toContain('/')
    const error = errorFromCode('ERR_ANONNET_INTERNAL')
    Object.defineProperty(error, 'stack', { value: undefined })
    expect(inspect(error)).toContain('InternalError [ERR_ANONNET_INTERNAL]')
  })

  it('follows a chain of causes only so far', () => {
    const loop: Error & { cause?: unknown } = new Error('loop')
    loop.cause = loop
    expect(inspect(errorFromCode('ERR_ANONNET_INTERNAL', { cause: loop })).match(/cause:/g)).toHaveLength(4)
    expect(inspect(errorFromCode('ERR_ANONNET_INTERNAL', { cause: 'text with 198.51.100.7' }))).toContain('cause: string')
  })

  it('leaves plain words alone and cuts what is long', () => {
    const plain = "unknown key 'relay.bandwith'; did you mean 'relay.bandwidth'? port 9050, 3/4 and/or 12 s"
    expect(errors.scrub(plain)).toBe(plain)
    expect(errors.scrub('word '.repeat(1000))).toHaveLength(errors.MAX_DETAIL_CHARS)
    expect(errors.scrub('a\r\nb\u001b[31m')).toBe('a b [31m')
  })
})
