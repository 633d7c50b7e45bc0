/** The functions of services at the addon's edge (attack 49). */
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { findAddon, packageRoot, platformName } from '../../ts/native/loader.js'

const file = process.env.ANONNET_ADDON || join(packageRoot() ?? '', `anonnet.${platformName()}.node`)
const addon = findAddon({ ANONNET_ADDON: file })

function thrown(run: () => unknown): unknown {
  try {
    run()
  } catch (error) {
    return error
  }
  throw new Error('it did not throw')
}

describe('wrong arguments', () => {
  it('of the functions of services are refused by length and range, and what is no key is none', () => {
    const key = addon.servicePublicKey(Buffer.alloc(32, 7))
    expect(key).toHaveLength(32)
    for (const length of [0, 31, 33, 70_000]) {
      const bytes = Buffer.alloc(length)
      for (const run of [
        () => addon.servicePublicKey(bytes),
        () => addon.serviceBlind(bytes, 1),
        () => addon.serviceSubcredential(bytes, 1),
        () => addon.serviceSign(bytes, 1, Buffer.alloc(1)),
        () => addon.x25519Public(bytes),
        () => addon.x25519Agree(bytes, key),
        () => addon.x25519Agree(key, bytes),
        () => addon.sealRecord(bytes, 'inner', Buffer.alloc(1))
      ]) {
        expect((thrown(run) as { code?: string }).code).toBe('ERR_ANONNET_INVALID_ARGUMENT')
      }
    }
    // A point of small order is nobody's key.
    expect(() => addon.serviceBlind(Buffer.alloc(32), 1)).toThrow()
    expect(() => addon.x25519Agree(key, Buffer.alloc(32))).toThrow()
  })
})
