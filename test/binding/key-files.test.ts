/** Key files through the addon: made, opened, rotated, carried to another place, and refused when they are none. */

import { statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import * as keys from '../../ts/native/keys.js'
import { loadAddon } from '../../ts/native/loader.js'
import { temporaryFolder } from '../helpers/folder.js'

const addon = loadAddon()
const folder = temporaryFolder()

describe('key files', () => {
  it('are made once, mode 0600, rotated, exported and imported', () => {
    const path = join(folder, 'identity.key')
    const id = keys.keyFileCreate(path)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(() => keys.keyFileCreate(path)).toThrow()
    const before = keys.keyFileInspect(path)
    expect(before.nodeId).toBe(id)
    expect(keys.nodeIdOf(before.publicKey)).toBe(id)
    const rotated = keys.keyFileRotate(path)
    expect(Buffer.from(rotated).equals(Buffer.from(before.onionKey))).toBe(false)
    expect(Buffer.from(keys.keyFileInspect(path).onionKey).equals(Buffer.from(rotated))).toBe(true)
    const sealed = keys.keyFileExport(path, undefined, Buffer.from('carried'))
    const copy = join(folder, 'copy.key')
    expect(() => keys.keyFileImport(copy, sealed, Buffer.from('wrong'))).toThrowError(
      expect.objectContaining({ code: 'ERR_ANONNET_KEY_PASSPHRASE' })
    )
    expect(keys.keyFileImport(copy, sealed, Buffer.from('carried'), Buffer.from('kept'))).toBe(id)
    expect(() => keys.keyFileInspect(copy)).toThrowError(expect.objectContaining({ code: 'ERR_ANONNET_KEY_PASSPHRASE' }))
    expect(keys.keyFileInspect(copy, Buffer.from('kept')).nodeId).toBe(id)
    const one = new addon.NativeNode({ identity: path, listen: '127.0.0.1:0' }, () => undefined)
    try {
      expect(one.nodeId()).toBe(id)
    } finally {
      one.close(1, 0)
    }
    writeFileSync(join(folder, 'garbage.key'), 'garbage', { mode: 0o600 })
    expect(() => keys.keyFileInspect(join(folder, 'garbage.key'))).toThrowError(
      expect.objectContaining({ code: 'ERR_ANONNET_KEY_INVALID' })
    )
  })
})
