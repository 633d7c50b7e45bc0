import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

process.env.ANONNET_ADDON = join(import.meta.dirname, '../../helpers/fake-addon.cjs')
const { parseDirectAddress } = await import('../../../ts/node/direct.js')

describe('the address of a direct link', () => {
  it('comes back in parts, whatever it is', () => {
    const id = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString('hex'))
    fc.assert(
      fc.property(id, fc.oneof(fc.ipV4(), fc.ipV6()), fc.integer({ min: 1, max: 65_535 }), (nodeId, ip, port) => {
        const address = ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`
        expect(parseDirectAddress(`${nodeId.toUpperCase()}@${address}`)).toEqual({ nodeId, address, ip, port })
      })
    )
  })

  it('of another form is one error', () => {
    const refused = (text: unknown): void => {
      expect(() => parseDirectAddress(text as string)).toThrow(expect.objectContaining({ code: 'ERR_ANONNET_INVALID_ADDRESS' }))
    }
    fc.assert(fc.property(fc.string(), refused))
    fc.assert(fc.property(fc.string(), (rest) => refused(`${'ab'.repeat(32)}@${rest}`)))
    for (const wrong of [
      undefined,
      null,
      7,
      {},
      '',
      `${'ab'.repeat(31)}@127.0.0.1:1`,
      `${'ab'.repeat(32)}@127.0.0.1:0`,
      `${'ab'.repeat(32)}@a.b:1`
    ])
      refused(wrong)
  })
})
