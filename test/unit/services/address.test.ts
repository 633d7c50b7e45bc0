import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isServiceHost, parseServiceHost, serviceName } from '../../../ts/services/address.js'
import { toHex } from '../../../ts/wire/index.js'
import { codeOf } from '../directory/helpers.js'
import { makeService } from './crypto.js'

const { publicKey } = makeService()
const name = serviceName(publicKey)

describe('the address of a service', () => {
  it('is 56 characters of its key, and says the same with .anon, .anon.alt and any sub-domain', () => {
    expect(name).toMatch(/^[a-z2-7]{56}$/)
    for (const host of [`${name}.anon`, `${name}.anon.alt`, `www.${name}.anon`, `a.b.${name}.anon.alt`]) {
      expect([host, toHex(parseServiceHost(host).publicKey)]).toEqual([host, toHex(publicKey)])
      expect(parseServiceHost(host).name).toBe(name)
      expect(isServiceHost(host)).toBe(true)
    }
  })

  it('comes back for every key', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (key) => {
        expect([...parseServiceHost(`${serviceName(key)}.anon`).publicKey]).toEqual([...key])
      })
    )
  })

  it('is refused with any one character mistyped, exchanged with its neighbour, left out or doubled', () => {
    let passed = 0
    for (let at = 0; at < name.length; at++) {
      const others = [
        ...[...'abcdefghijklmnopqrstuvwxyz234567']
          .filter((letter) => letter !== name[at])
          .map((letter) => name.slice(0, at) + letter + name.slice(at + 1)),
        name.slice(0, at) + name.slice(at + 1),
        name.slice(0, at) + name[at] + name.slice(at)
      ]
      if (at > 0 && name[at] !== name[at - 1]) others.push(name.slice(0, at - 1) + name[at] + name[at - 1] + name.slice(at + 1))
      for (const other of others) {
        if (codeOf(() => parseServiceHost(`${other}.anon`)) !== 'ERR_ANONNET_SERVICE_ADDRESS') passed++
      }
    }
    // A checksum of 16 bits lets one in 65,536 through: of some 1,900 none here.
    expect(passed).toBe(0)
  })

  it('is refused in any other form, and never taken for another kind of name', () => {
    for (const host of [
      'anon',
      'anon.alt',
      'example.anon',
      `${name}x.anon`,
      `${name}.x.anon`,
      `${'a'.repeat(56)}.anon`,
      `${name.replace(/./, '1')}.anon`
    ]) {
      expect([host, isServiceHost(host)]).toEqual([host, true])
      expect([host, codeOf(() => parseServiceHost(host))]).toEqual([host, 'ERR_ANONNET_SERVICE_ADDRESS'])
    }
    for (const host of ['example.org', 'anon.example', 'canon', 'x.alt', `${name}.anon.example`, `${name}.onion`]) {
      expect([host, isServiceHost(host)]).toEqual([host, false])
    }
  })
})
