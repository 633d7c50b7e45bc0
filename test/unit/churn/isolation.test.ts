import { describe, expect, it } from 'vitest'
import { isolationKey } from '../../../ts/churn/index.js'

describe('isolationKey', () => {
  it('differs with every part, and absent is not empty', () => {
    const parts = [
      {},
      { listener: 1 },
      { listener: '1' },
      { client: '' },
      { client: '127.0.0.1' },
      { user: '' },
      { user: 'a' },
      { password: '' },
      { password: 'a' },
      { token: '' },
      { token: 'a' },
      { target: 'a' },
      { user: 'a', password: 'b' },
      { user: 'ab', password: '' },
      { user: 'a","b', password: undefined },
      { user: 'null' }
    ]
    expect(new Set(parts.map(isolationKey)).size).toBe(parts.length)
    expect(isolationKey({ user: 'a', listener: 1 })).toBe(isolationKey({ listener: 1, user: 'a', token: undefined }))
  })
})
