import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ConfigInvalid, loadConfig, SETTINGS, variableOf } from '../../../ts/config/index.js'

const key = 'ab'.repeat(32)
const entry = `${key}@127.0.0.1:9501`

function refused(run: () => unknown): ConfigInvalid {
  try {
    run()
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigInvalid)
    return error as ConfigInvalid
  }
  throw new Error('it was accepted')
}

describe('precedence', () => {
  const file = `
[relay]
listen = "127.0.0.1:1"
exit = true
exit_policy = ["accept *:80", "reject *:*"]
[log]
level = "warn"
`
  it('has a default for every key', () => {
    const { config, sources } = loadConfig()
    expect(config.relay.exit).toBe(false)
    expect(config.network.bootstrap).toEqual([])
    expect(config.log).toEqual({ level: 'warn', format: 'text' })
    expect(config.test_network).toEqual({ allow_private: false, relaxed_prefixes: false, list_interval_ms: undefined })
    expect(new Set(sources.values())).toEqual(new Set(['default']))
  })

  it('puts flags over the environment over files over defaults', () => {
    const loaded = loadConfig({
      files: [file, '[relay]\nlisten = "127.0.0.1:2"\nadvertise = "192.0.2.1:2"'],
      environment: { ANONNET_RELAY_ADVERTISE: '192.0.2.1:3', ANONNET_LOG_LEVEL: 'debug', ANONNET_RELAY_EXIT: 'no' },
      flags: { log: { level: 'error' } }
    })
    expect(loaded.config.relay.listen).toBe('127.0.0.1:2')
    expect(loaded.config.relay.advertise).toBe('192.0.2.1:3')
    expect(loaded.config.relay.exit).toBe(false)
    expect(loaded.config.relay.exit_policy).toEqual(['accept *:80', 'reject *:*'])
    expect(loaded.config.log.level).toBe('error')
    expect(loaded.sources.get('relay.listen')).toBe('file')
    expect(loaded.sources.get('relay.advertise')).toBe('environment')
    expect(loaded.sources.get('log.level')).toBe('flag')
    expect(loaded.sources.get('log.format')).toBe('default')
  })

  it('does not take an absent flag for a value', () => {
    expect(loadConfig({ files: [file], flags: { relay: { listen: undefined, exit: undefined } } }).config.relay.exit).toBe(true)
  })

  it('gives each caller lists of its own', () => {
    loadConfig().config.network.bootstrap.push('x')
    expect(loadConfig().config.network.bootstrap).toEqual([])
  })
})

describe('files', () => {
  it('refuses an unknown key and names the nearest', () => {
    const error = refused(() => loadConfig({ files: ['[relay]\nlisen = "127.0.0.1:1"'] }))
    expect(error.code).toBe('ERR_ANONNET_CONFIG_INVALID')
    expect(error.key).toBe('relay.lisen')
    expect(error.source).toBe('file')
    expect(error.message).toContain('did you mean relay.listen?')
  })

  it('refuses an unknown section and names the nearest', () => {
    expect(refused(() => loadConfig({ files: ['[test_netwrok]\nallow_private = true'] })).message).toContain('did you mean test_network?')
    expect(refused(() => loadConfig({ files: ['relay = 3'] })).message).toContain('expected a section')
  })

  it.each(['toString', '__proto__', 'constructor'])('does not take %s of an object for a key', (name) => {
    expect(refused(() => loadConfig({ files: [`[relay]\n${name} = 1`] })).key).toBe(`relay.${name}`)
    expect(refused(() => loadConfig({ files: [`[${name}]\nx = 1`] })).key).toBe(name)
  })

  it('says in which line the text is not TOML', () => {
    expect(refused(() => loadConfig({ files: ['[relay]\nlisten = '] })).message).toContain('is not TOML in line 2')
  })

  it.each([
    ['network', 'bootstrap', '["nobody"]'],
    ['network', 'bootstrap', `["${key}@example.org:1"]`],
    ['network', 'bootstrap', '3'],
    ['client', 'socks', '"localhost:9050"'],
    ['client', 'socks', '"127.0.0.1:65536"'],
    ['client', 'http', '"::1:80"'],
    ['relay', 'exit', '"yes"'],
    ['relay', 'exit_policy', '["allow *:80"]'],
    ['relay', 'family', '["abc"]'],
    ['relay', 'bandwidth_rate_bytes', '-1'],
    ['relay', 'bandwidth_rate_bytes', '1.5'],
    ['relay', 'state_dir', '""'],
    ['test_network', 'list_interval_ms', '999'],
    ['test_network', 'list_interval_ms', '86400001'],
    ['log', 'level', '"verbose"'],
    ['log', 'format', '"xml"']
  ])('refuses [%s] %s = %s and says what was expected', (section, name, value) => {
    const error = refused(() => loadConfig({ files: [`[${section}]\n${name} = ${value}`] }))
    expect(error.key).toBe(`${section}.${name}`)
    expect(error.expected).toMatch(/^expected /)
    expect(error.message).toContain(error.expected.slice(0, 20))
  })

  it('takes one address where a list is meant, and IPv6 in brackets', () => {
    const { config } = loadConfig({ files: [`[client]\nsocks = "[::1]:9550"\n[network]\nbootstrap = "${entry}"`] })
    expect(config.client.socks).toEqual(['[::1]:9550'])
    expect(config.network.bootstrap).toEqual([entry])
  })
})

describe('environment', () => {
  it('reads lists, numbers and switches from text', () => {
    const { config } = loadConfig({
      environment: {
        ANONNET_NETWORK_BOOTSTRAP: `${entry}, ${entry}`,
        ANONNET_TEST_NETWORK_ALLOW_PRIVATE: '1',
        ANONNET_TEST_NETWORK_LIST_INTERVAL_MS: '5000',
        ANONNET_CLIENT_SOCKS: ''
      }
    })
    expect(config.network.bootstrap).toEqual([entry, entry])
    expect(config.test_network).toEqual({ allow_private: true, relaxed_prefixes: false, list_interval_ms: 5_000 })
    expect(config.client.socks).toEqual([])
  })

  it.each([
    ['ANONNET_RELAY_EXIT', 'perhaps'],
    ['ANONNET_RELAY_BANDWIDTH_RATE_BYTES', '1e6'],
    ['ANONNET_RELAY_BANDWIDTH_RATE_BYTES', ''],
    ['ANONNET_RELAY_LISTEN', 'here']
  ])('refuses %s=%s by the name of the variable', (variable, text) => {
    const error = refused(() => loadConfig({ environment: { [variable]: text } }))
    expect(error.key).toBe(variable)
    expect(error.source).toBe('environment')
  })

  it('refuses a variable that can only be a slip, and leaves others alone', () => {
    expect(refused(() => loadConfig({ environment: { ANONNET_RELAY_LISTN: 'x' } })).message).toContain('ANONNET_RELAY_LISTEN')
    expect(refused(() => loadConfig({ environment: { ANONNET_RELY_LISTEN: 'x' } })).message).toContain('ANONNET_RELAY_LISTEN')
    expect(() =>
      loadConfig({ environment: { ANONNET_ADDON: 'x', ANONNET_PASSPHRASE: 'x', ANONNET_SOMETHING_ELSE: 'x', PATH: 'x' } })
    ).not.toThrow()
  })

  it('never shows the value', () => {
    expect(refused(() => loadConfig({ environment: { ANONNET_RELAY_LISTEN: 'hunter2' } })).message).not.toContain('hunter2')
  })
})

describe('the table', () => {
  const all = Object.entries(SETTINGS).flatMap(([section, settings]) => Object.keys(settings).map((name) => [section, name] as const))

  it('makes one variable of each key', () => {
    expect(new Set(all.map(([section, name]) => variableOf(section as keyof typeof SETTINGS, name))).size).toBe(all.length)
  })

  it('holds defaults that its own schemas take', () => {
    const { config } = loadConfig()
    expect(loadConfig({ flags: config }).config).toEqual(config)
  })

  it('answers any text with a configuration or with ConfigInvalid', () => {
    const value = fc.oneof(
      fc.string(),
      fc.integer().map(String),
      fc.constant('[]'),
      fc.constant('[[]]'),
      fc.constant('{}'),
      fc.constant('true')
    )
    fc.assert(
      fc.property(fc.constantFrom(...all), value, (name, text) => {
        try {
          loadConfig({ files: [`[${name[0]}]\n${name[1]} = ${text}`] })
        } catch (error) {
          expect(error).toBeInstanceOf(ConfigInvalid)
        }
      })
    )
  })
})
