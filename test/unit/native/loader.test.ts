import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { loadInside } from '../../../ts/native/inside.js'
import { findAddon, packageRoot, platformName } from '../../../ts/native/loader.js'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'anonnet-loader-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

function thrown(run: () => unknown): Error & { code?: string } {
  try {
    run()
  } catch (error) {
    return error as Error
  }
  throw new Error('did not throw')
}

describe('loader', () => {
  it('names platforms as napi-rs does', () => {
    expect(platformName('linux', 'x64', () => false)).toBe('linux-x64-gnu')
    expect(platformName('linux', 'arm64', () => true)).toBe('linux-arm64-musl')
    expect(platformName('darwin', 'arm64')).toBe('darwin-arm64')
    expect(platformName('win32', 'x64')).toBe('win32-x64-msvc')
  })

  it('finds the package root by its name', () => {
    expect(packageRoot()).toBe(join(import.meta.dirname, '../../..'))
    expect(packageRoot(join(folder, 'x', 'y.js'))).toBeUndefined()
  })

  it('names the package, each try and the command when nothing loads', () => {
    const error = thrown(() => findAddon({}, folder))
    expect(error.code).toBe('ERR_ANONNET_UNSUPPORTED')
    expect(error.message).toContain(platformName())
    expect(error.message).toContain(`@anonnet/${platformName()}`)
    expect(error.message).toContain('the local build: not there')
    expect(error.message).toContain('npm install anonnet')
  })

  it('tells a repository to build', () => {
    writeFileSync(join(folder, 'Cargo.toml'), '')
    expect(thrown(() => findAddon({}, folder)).message).toContain('npm run build')
  })

  it('says why a file that is there does not load', () => {
    writeFileSync(join(folder, `anonnet.${platformName()}.node`), 'no library')
    const error = thrown(() => findAddon({}, folder))
    expect(error.message).not.toContain('the local build: not there')
    expect(error.message).toContain('the local build: ')
  })

  it('takes the addon beside the command, and no other, where there is one', () => {
    const beside = join(folder, 'archive')
    mkdirSync(beside)
    expect(thrown(() => findAddon({}, folder, beside)).message).not.toContain('beside')
    writeFileSync(join(beside, `anonnet.${platformName()}.node`), 'no library')
    const { message } = thrown(() => findAddon({}, folder, beside))
    expect(message).toContain('the addon beside the command: ')
    expect(message).not.toMatch(/not there|local build|npm install/)
  })

  it('takes the addon out of an executable, and leaves nothing behind', () => {
    let path = ''
    const require = ((id: string) => {
      path = id
      return { mode: statSync(id).mode & 0o777, folder: statSync(dirname(id)).mode & 0o777, content: readFileSync(id, 'utf8') }
    }) as NodeJS.Require
    const asset = { getRawAsset: () => new TextEncoder().encode('the addon').buffer as ArrayBuffer }
    expect(loadInside(require, 'anonnet.x.node', asset)).toEqual({ mode: 0o500, folder: 0o700, content: 'the addon' })
    expect(basename(path)).toBe('anonnet.x.node')
    expect(existsSync(dirname(path))).toBe(false)
    const failing = (() => {
      throw new Error('no')
    }) as unknown as NodeJS.Require
    expect(() => loadInside(failing, 'anonnet.x.node', asset)).toThrow('no')
    expect(() => loadInside(require, 'anonnet.x.node')).toThrow('no single executable')
  })

  it('takes an explicit path as an order: nothing else is tried', () => {
    const error = thrown(() => findAddon({ ANONNET_ADDON: join(folder, 'missing.node') }, folder))
    expect(error.message).toContain('ANONNET_ADDON: not there')
    expect(error.message).not.toContain('local build')
    writeFileSync(join(folder, 'addon.cjs'), 'module.exports = { version: () => 1 }')
    expect(findAddon({ ANONNET_ADDON: join(folder, 'addon.cjs') }, folder).version()).toBe(1)
  })
})
