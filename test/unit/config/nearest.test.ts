import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { editDistance, nearest } from '../../../ts/config/nearest.js'

describe('editDistance', () => {
  it.each([
    ['listen', 'listen', 0],
    ['lisen', 'listen', 1],
    ['lsiten', 'listen', 1],
    ['listn', 'listen', 1],
    ['bandwith', 'bandwidth', 1],
    ['', 'abc', 3],
    ['kitten', 'sitting', 3]
  ])('%s to %s is %i', (a, b, distance) => {
    expect(editDistance(a, b)).toBe(distance)
  })

  it('is the same both ways, zero for the same only, and at most the longer length', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 12 }), fc.string({ maxLength: 12 }), (a, b) => {
        const distance = editDistance(a, b)
        expect(distance).toBe(editDistance(b, a))
        expect(distance === 0).toBe(a === b)
        expect(distance).toBeLessThanOrEqual(Math.max(a.length, b.length))
        expect(distance).toBeGreaterThanOrEqual(Math.abs(a.length - b.length))
      })
    )
  })
})

describe('nearest', () => {
  const words = ['listen', 'advertise', 'identity', 'state_dir']

  it('finds what was meant, whatever the case', () => {
    expect(nearest('lisetn', words)).toBe('listen')
    expect(nearest('STATEDIR', words)).toBe('state_dir')
  })

  it('finds nothing for a word that is nothing like them', () => {
    expect(nearest('colour', words)).toBeUndefined()
    expect(nearest('x'.repeat(10_000), words)).toBeUndefined()
  })
})
