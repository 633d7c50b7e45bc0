import { describe, expect, it } from 'vitest'
import { ConfigInvalid, checkOptions } from '../../../ts/config/index.js'

const bootstrap = [`${'ab'.repeat(32)}@127.0.0.1:9501`, { publicKey: new Uint8Array(32), address: '127.0.0.1:9502' }]

function refused(role: Parameters<typeof checkOptions>[0], options: unknown): ConfigInvalid {
  try {
    checkOptions(role, options)
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigInvalid)
    return error as ConfigInvalid
  }
  throw new Error('it was accepted')
}

describe('checkOptions', () => {
  it('takes what the interface names', () => {
    const signal = new AbortController().signal
    checkOptions('client', { bootstrap, stateDir: 's', signal, proxy: '127.0.0.1:0', readyTimeoutMs: 1, control: 'c', logger: {} })
    checkOptions('client', { bootstrap, proxy: ['127.0.0.1:0', '[::1]:0'], testNetwork: { allowPrivate: true, listIntervalMs: 10_000 } })
    checkOptions('relay', {
      bootstrap,
      listen: '127.0.0.1:0',
      exit: true,
      exitPolicy: ['accept *:80'],
      family: [],
      bandwidth: { rate: 0 },
      passphrase: Buffer.from('x'),
      declaredBandwidth: 1
    })
    checkOptions('bootstrap', { listen: '127.0.0.1:0', advertise: '192.0.2.1:1', identity: 'k' })
  })

  it('takes undefined for absent', () => {
    checkOptions('client', { bootstrap, stateDir: undefined, testNetwork: undefined })
  })

  it.each([
    ['client', 'stateDirectory', 'did you mean stateDir?', { bootstrap, stateDirectory: 's' }],
    ['client', 'listen', 'there is no such key', { bootstrap, listen: '127.0.0.1:0' }],
    ['client', 'bootstrap', 'is needed', {}],
    ['client', 'bootstrap', 'expected a list', { bootstrap: [] }],
    ['client', 'bootstrap', 'expected a list', { bootstrap: 'x' }],
    ['client', 'proxy', 'expected ip:port', { bootstrap, proxy: 'localhost:1' }],
    ['client', 'readyTimeoutMs', 'expected milliseconds', { bootstrap, readyTimeoutMs: 0 }],
    ['client', 'readyTimeoutMs', 'expected milliseconds', { bootstrap, readyTimeoutMs: Number.NaN }],
    ['client', 'signal', 'expected an AbortSignal', { bootstrap, signal: {} }],
    ['client', 'testNetwork', 'expected an object', { bootstrap, testNetwork: true }],
    ['client', 'testNetwork.allowPrivat', 'did you mean testNetwork.allowPrivate?', { bootstrap, testNetwork: { allowPrivat: true } }],
    ['client', 'testNetwork.listIntervalMs', 'expected milliseconds', { bootstrap, testNetwork: { listIntervalMs: 10 } }],
    ['relay', 'listen', 'is needed', { bootstrap }],
    ['relay', 'passphrase', 'expected a Uint8Array', { bootstrap, listen: '127.0.0.1:0', passphrase: 'text' }],
    ['relay', 'bandwidth.rate', 'is needed', { bootstrap, listen: '127.0.0.1:0', bandwidth: { burst: 1 } }],
    ['relay', 'bandwidth.rate', 'expected bytes', { bootstrap, listen: '127.0.0.1:0', bandwidth: { rate: -1 } }],
    ['bootstrap', 'exit', 'there is no such key', { listen: '127.0.0.1:0', exit: true }],
    ['bootstrap', 'options', 'expected an object', null]
  ] as const)('refuses for %s: %s %s', (role, key, words, options) => {
    const error = refused(role, options)
    expect(error.key).toBe(key)
    expect(error.source).toBe('option')
    expect(error.message).toContain(words)
  })
})
