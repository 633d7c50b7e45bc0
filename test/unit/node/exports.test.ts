import { describe, expect, it } from 'vitest'
import { ERROR_CLASSES } from '../../../ts/errors/index.js'
import * as api from '../../../ts/index.js'

describe('the package', () => {
  it('exports these values, the error classes, and nothing else', () => {
    const functions = ['createBootstrap', 'createLogger', 'createNode', 'createRelay', 'createTestnet', 'isAnonNetError']
    const classes = ERROR_CLASSES.map((type) => type.name)
    expect(Object.keys(api).sort()).toEqual([...functions, ...classes].sort())
  })
})
