import { describe, expect, it } from 'vitest'
import { type IpAddress, inNetwork, parseHostOfAddress, parseIp, prefixOf } from '../../../ts/routing/address.js'

const ip = (text: string): IpAddress => {
  const parsed = parseIp(text)
  if (parsed === undefined) throw new Error(`not an address: ${text}`)
  return parsed
}

describe('parseIp', () => {
  it.each([
    ['0.0.0.0', 4, [0, 0, 0, 0]],
    ['255.1.20.3', 4, [255, 1, 20, 3]],
    ['::', 6, new Array(16).fill(0)],
    ['::1', 6, [...new Array(15).fill(0), 1]],
    ['2001:db8::ff:0', 6, [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0]],
    ['1:2:3:4:5:6:7:8', 6, [0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8]],
    ['1:2:3:4:5:6:7::', 6, [0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 0]],
    ['64:ff9b::1.2.3.4', 6, [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]],
    ['1:2:3:4:5:6:1.2.3.4', 6, [0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 1, 2, 3, 4]],
    ['::ffff:1.2.3.4', 4, [1, 2, 3, 4]],
    ['::FFFF:102:304', 4, [1, 2, 3, 4]]
  ])('reads %s', (text, family, bytes) => {
    expect(parseIp(text)).toEqual({ family, bytes })
  })

  it.each([
    '',
    '1.2.3',
    '1.2.3.4.5',
    '1.2.3.256',
    '01.2.3.4',
    '1.2.3.-4',
    '1.2.3.4 ',
    '0x1.2.3.4',
    'example.org',
    ':',
    ':::',
    '1:',
    ':1',
    '1::2::3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7:8::',
    '12345::',
    'g::',
    '1.2.3.4:5',
    ':1.2.3.4',
    '::1.2.3',
    '::1.2.3.4:5',
    '[::1]',
    'fe80::1%eth0'
  ])('refuses %j', (text) => {
    expect(parseIp(text)).toBeUndefined()
  })
})

describe('prefixOf', () => {
  it('is the /16 of IPv4 and the /32 of IPv6', () => {
    expect(prefixOf('127.3.0.1:443')).toBe('4/127.3')
    expect(prefixOf('[2001:db8:1::1]:443')).toBe(prefixOf('[2001:db8:2::1]:9'))
    expect(prefixOf('[2001:db8::1]:443')).not.toBe(prefixOf('[2001:db9::1]:443'))
    expect(prefixOf('[::ffff:127.3.9.9]:1')).toBe('4/127.3')
    for (const bad of ['127.3.0.1', 'example.org:443', '2001:db8::1:443', '[2001:db8::1]', '[1.2.3.4:1', ''])
      expect(prefixOf(bad)).toBeUndefined()
    expect(parseHostOfAddress('[::1]:443')?.family).toBe(6)
  })
})

describe('inNetwork', () => {
  it.each([
    ['10.1.2.3', '10.0.0.0', 8, true],
    ['11.1.2.3', '10.0.0.0', 8, false],
    ['10.1.2.3', '10.1.2.0', 23, true],
    ['10.1.3.3', '10.1.2.0', 23, true],
    ['10.1.4.3', '10.1.2.0', 23, false],
    ['1.2.3.4', '0.0.0.0', 0, true],
    ['1.2.3.4', '::', 0, false],
    ['1.2.3.4', '1.2.3.4', 32, true],
    ['1.2.3.5', '1.2.3.4', 32, false],
    ['2001:db8::1', '2001:db8::', 33, true],
    ['2001:db8:8000::1', '2001:db8::', 33, false]
  ])('%s in %s/%i: %s', (address, network, bits, expected) => {
    expect(inNetwork(ip(address), ip(network), bits)).toBe(expected)
  })
})
