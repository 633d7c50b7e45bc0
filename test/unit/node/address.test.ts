import { join } from 'node:path'
import { describe, expect, it } from 'vitest'

process.env.ANONNET_ADDON = join(import.meta.dirname, '../../helpers/fake-addon.cjs')
const { checkHost, formatBootstrap, joinAddress, parseBootstrap, parseTarget, parseUdpAddress, refuseServiceNames, serviceOf } =
  await import('../../../ts/node/address.js')
const { serviceName } = await import('../../../ts/services/index.js')

function code(run: () => unknown): string | undefined {
  try {
    run()
    return undefined
  } catch (error) {
    return (error as { code?: string }).code
  }
}

describe('targets', () => {
  it.each([
    ['example.org:80', 'example.org', 80],
    ['EXAMPLE.org.:65535', 'example.org', 65535],
    ['192.0.2.7:1', '192.0.2.7', 1],
    ['[2001:DB8::1]:443', '2001:db8::1', 443],
    ['_dmarc.a-b.c0:9', '_dmarc.a-b.c0', 9]
  ])('%s', (text, host, port) => {
    expect(parseTarget(text)).toEqual({ host, port })
    expect(parseTarget({ host: host.toUpperCase(), port })).toEqual({ host, port })
  })

  it.each([
    'example.org',
    'example.org:',
    'example.org:0',
    'example.org:65536',
    'example.org:8e1',
    'example.org: 80',
    ':80',
    '2001:db8::1:80',
    '[example.org]:80',
    '[::1]80',
    'a b:80',
    'a\r\nb:80',
    'user@host:80',
    'http://a:80',
    '-a.b:80',
    'a-.b:80',
    'a..b:80',
    '127.1:80',
    '0x7f.1:80',
    '2130706433:80',
    '0x7f000001:80',
    `${'a'.repeat(64)}.b:80`,
    `${'a.'.repeat(130)}b:80`
  ])('refuses %j', (text) => {
    expect(code(() => parseTarget(text))).toBe('ERR_ANONNET_INVALID_ADDRESS')
  })

  it.each([null, undefined, 5, {}, { host: 'a' }, { host: 5, port: 80 }, { host: 'a', port: -1 }, { host: 'a', port: 1.5 }])(
    'refuses %j',
    (value) => {
      expect(code(() => parseTarget(value as never))).toBe('ERR_ANONNET_INVALID_ADDRESS')
    }
  )

  it.each(['x.anon:80', 'x.anon.alt:80', 'X.ANON.:80', 'sub.x.anon:80', `${'a'.repeat(56)}.anon:80`])('never lets %s out', (text) => {
    expect(code(() => parseTarget(text))).toBe('ERR_ANONNET_SERVICE_ADDRESS')
  })

  it('never lets names of Tor out, and looks no service up', () => {
    expect(code(() => parseTarget('x.onion:80'))).toBe('ERR_ANONNET_UNSUPPORTED')
    const name = serviceName(new Uint8Array(32).fill(5))
    expect(parseTarget(`${name}.anon:80`)).toEqual({ host: `${name}.anon`, port: 80 })
    expect(serviceOf(`www.${name}.anon.alt`)?.name).toBe(name)
    expect(serviceOf('example.org')).toBeUndefined()
    expect(code(() => refuseServiceNames(`${name}.anon`))).toBe('ERR_ANONNET_UNSUPPORTED')
  })

  it('lets names that only look alike out', () => {
    expect(parseTarget('canon.example:80').host).toBe('canon.example')
    expect(checkHost('anon.example')).toBe('anon.example')
  })
})

describe('bootstrap entries', () => {
  const key = Buffer.alloc(32, 0xfb)

  it('take hex, base64url, bytes and parts', () => {
    const address = '192.0.2.1:9'
    const parsed = parseBootstrap(`${key.toString('hex').toUpperCase()}@${address}`)
    expect(parsed.address).toBe(address)
    expect(Buffer.from(parsed.publicKey)).toEqual(key)
    expect(parsed.nodeId).toMatch(/^[0-9a-f]{64}$/)
    for (const entry of [
      `${key.toString('base64url')}@${address}`,
      { publicKey: key, address },
      { publicKey: key.toString('hex'), address }
    ]) {
      expect(parseBootstrap(entry)).toEqual(parsed)
    }
    expect(parseBootstrap(formatBootstrap(key, '[::1]:5')).address).toBe('[::1]:5')
  })

  it.each(['', 'x', '@1.2.3.4:5', `${'0'.repeat(63)}@1.2.3.4:5`, `${'0'.repeat(64)}@host:5`, `${'0'.repeat(64)}@1.2.3.4:0`, null, {}])(
    'refuse %j',
    (entry) => {
      expect(code(() => parseBootstrap(entry as never))).toBe('ERR_ANONNET_INVALID_ADDRESS')
    }
  )
})

it('addresses of nodes are literal', () => {
  expect(parseUdpAddress('[::]:0', true)).toEqual({ ip: '::', port: 0 })
  expect(joinAddress('::1', 5)).toBe('[::1]:5')
  expect(code(() => parseUdpAddress('localhost:5'))).toBe('ERR_ANONNET_INVALID_ADDRESS')
  expect(code(() => parseUdpAddress('127.0.0.1:0'))).toBe('ERR_ANONNET_INVALID_ADDRESS')
})
