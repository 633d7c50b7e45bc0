import { describe, expect, it } from 'vitest'
import { decodeCbor, encodeCbor, fromHex, guard, Malformed, parseAddress, prefixOf, signedMessage, toHex } from '../../../ts/wire/index.js'
import { codeOf } from '../directory/helpers.js'

const LIMITS = { maxBytes: 1000, maxDepth: 4, maxItems: 50 }

describe('strict CBOR', () => {
  it('takes what it wrote', () => {
    const value = { a: [1, 'text', Uint8Array.of(1, 2), null, true, false], b: { c: -5 }, d: 2 ** 40 }
    expect(decodeCbor(encodeCbor(value), LIMITS)).toEqual(value)
  })

  it('stops at its limits of size, depth and items', () => {
    expect(decodeCbor(encodeCbor([[[[1]]]]), LIMITS)).toEqual([[[[1]]]])
    expect(() => decodeCbor(encodeCbor([[[[[1]]]]]), LIMITS)).toThrow('nested')
    expect(decodeCbor(encodeCbor(new Array(49).fill(0)), LIMITS)).toHaveLength(49)
    expect(() => decodeCbor(encodeCbor(new Array(50).fill(0)), LIMITS)).toThrow('items')
    expect(() => decodeCbor(encodeCbor('x'.repeat(1000)), LIMITS)).toThrow('large')
    // A hundred thousand open arrays neither overflow the stack nor take memory.
    expect(() => decodeCbor(new Uint8Array(100_000).fill(0x81), { maxBytes: 1e6, maxDepth: 8, maxItems: 1e6 })).toThrow('nested')
  })

  it.each([
    ['tag', [0xc1, 0x01]],
    ['float', [0xf9, 0x3c, 0x00]],
    ['undefined', [0xf7]],
    ['break', [0xff]],
    ['endless array', [0x9f, 0x01, 0xff]],
    ['endless text', [0x7f, 0x61, 0x61, 0xff]],
    ['long form of a small number', [0x18, 0x05]],
    ['number beyond 2^53', [0x1b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]],
    ['key twice', [0xa2, 0x61, 0x61, 0x01, 0x61, 0x61, 0x02]],
    ['number as a key', [0xa1, 0x01, 0x02]],
    ['something after the end', [0x01, 0x01]],
    ['half a value', [0x82, 0x01]],
    ['half a head', [0x19, 0x01]],
    ['reserved length', [0x1c]],
    ['nothing', []]
  ])('refuses: %s', (_name, bytes) => {
    expect(() => decodeCbor(Uint8Array.from(bytes), LIMITS)).toThrow()
  })

  it('turns what is thrown into a typed error once', () => {
    expect(codeOf(() => guard('ERR_ANONNET_RPC_INVALID', () => guard('ERR_ANONNET_LIST_INVALID', () => fromHex('zz', 1))))).toBe(
      'ERR_ANONNET_LIST_INVALID'
    )
  })
})

describe('signed messages', () => {
  it('begin with the length of their domain and the domain', () => {
    expect(toHex(signedMessage('ab', Uint8Array.of(9)))).toBe('0000000000000002616209')
  })
})

describe('addresses', () => {
  it('are parsed to bytes, IPv4 in IPv6 as IPv4', () => {
    expect(parseAddress('192.0.2.7:80')).toEqual({ ip: Uint8Array.of(192, 0, 2, 7), port: 80 })
    expect(parseAddress('[::ffff:192.0.2.7]:80').ip).toEqual(Uint8Array.of(192, 0, 2, 7))
    expect(toHex(parseAddress('[2001:db8::7:1]:80').ip)).toBe('20010db8000000000000000000070001')
    expect(toHex(parseAddress('[::]:80').ip)).toBe('00'.repeat(16))
    expect(toHex(parseAddress('[1:2:3:4:5:6:7:8]:80').ip)).toBe('00010002000300040005000600070008')
    expect(() => parseAddress('192.0.2.7')).toThrow(Malformed)
  })

  it('share a prefix as their first bits do', () => {
    const narrow = { v4: 24, v6: 48 }
    expect(prefixOf('192.0.2.7:80', narrow)).toBe(prefixOf('192.0.2.200:81', narrow))
    expect(prefixOf('192.0.2.7:80', narrow)).not.toBe(prefixOf('192.0.3.7:80', narrow))
    expect(prefixOf('[2001:db8:1::1]:80', narrow)).toBe(prefixOf('[2001:db8:1:ffff::1]:80', narrow))
    expect(prefixOf('[2001:db8:1::1]:80', narrow)).not.toBe(prefixOf('[2001:db8:2::1]:80', narrow))
  })
})
