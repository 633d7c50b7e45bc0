import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { proxyAddresses } from '../../../ts/cli/run.js'
import { bootstrapOf, configOf, testNetworkOf } from '../../../ts/cli/settings.js'
import { temporaryFolder } from '../../helpers/folder.js'
import { testIo } from '../../helpers/io.js'

const folder = temporaryFolder()
const key = (n: number): string => `${String(n).repeat(64)}@127.0.0.${n}:9501`

function file(name: string, text: string): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

describe('configOf', () => {
  const network = file('network.toml', `[network]\nbootstrap = ["${key(1)}", "${key(2)}"]\n[test_network]\nallow_private = true\n`)
  const own = file('own.toml', `[relay]\nlisten = "127.0.0.1:1"\n[log]\nlevel = "debug"\n`)

  it('reads all files that are named, then the environment, then flags', () => {
    const io = testIo({ ANONNET_RELAY_LISTEN: '127.0.0.1:2', ANONNET_LOG_LEVEL: 'warn' })
    const config = configOf(io, { config: [network, own], logLevel: 'error' }, { relay: { exit: true } })
    expect(bootstrapOf(config)).toEqual([key(1), key(2)])
    expect(config.relay).toMatchObject({ listen: '127.0.0.1:2', exit: true })
    expect(config.log.level).toBe('error')
    expect(testNetworkOf(config)).toEqual({ allowPrivate: true, relaxedPrefixes: false })
  })

  it('lets --bootstrap replace the list of a file', () => {
    const config = configOf(testIo(), { config: [network], bootstrap: [key(3)], listIntervalMs: 5_000 }, {})
    expect(bootstrapOf(config)).toEqual([key(3)])
    expect(testNetworkOf(config)).toEqual({ allowPrivate: true, relaxedPrefixes: false, listIntervalMs: 5_000 })
  })

  it('reads the default file when none is named, and ANONNET_CONFIG before it', () => {
    mkdirSync(join(folder, 'anonnet'), { recursive: true })
    file('anonnet/anonnet.toml', `[network]\nbootstrap = ["${key(4)}"]`)
    expect(bootstrapOf(configOf(testIo({ XDG_CONFIG_HOME: folder }), {}, {}))).toEqual([key(4)])
    expect(bootstrapOf(configOf(testIo({ XDG_CONFIG_HOME: folder, ANONNET_CONFIG: network }), {}, {}))).toHaveLength(2)
    expect(bootstrapOf(configOf(testIo({ XDG_CONFIG_HOME: folder }), { config: [network] }, {}))).toHaveLength(2)
  })
})

describe('proxyAddresses', () => {
  it('has one listener for an address that both flags name, and one default', () => {
    const client = configOf(testIo(), {}, {}).client
    expect(proxyAddresses(client)).toEqual(['127.0.0.1:9550'])
    expect(proxyAddresses({ ...client, socks: ['127.0.0.1:1'], http: ['127.0.0.1:1'] })).toEqual(['127.0.0.1:1'])
    expect(proxyAddresses({ ...client, socks: ['127.0.0.1:1'], http: ['127.0.0.1:2'] })).toEqual(['127.0.0.1:1', '127.0.0.1:2'])
  })
})
