/** The package as it would be published, made of what was built here: the short form of `npm run release`. */
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { root, start } from '../helpers/processes.js'

const LIMIT_MS = 240_000

describe('the package', { timeout: LIMIT_MS }, () => {
  it('is clean, and in an empty project without Rust it runs the program of the README', async () => {
    const check = start(process.execPath, [join(root, 'scripts', 'release', 'main.mjs'), 'check'])
    expect(await check.exit, `${check.stdout()}\n${check.stderr()}`).toBe(0)
    expect(check.stdout()).toContain(`installed and run with Node ${process.versions.node}`)
    expect(check.stdout()).toMatch(/^licences by cargo/m)
  })

  it('is not published from the sources, where it would lack its addons', async () => {
    const refused = start(process.execPath, [join(root, 'scripts', 'release', 'main.mjs'), 'refuse'])
    expect([await refused.exit, refused.stderr()]).toEqual([1, expect.stringContaining('target/ship/tarballs')])
  })
})
