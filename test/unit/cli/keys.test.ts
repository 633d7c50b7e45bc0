import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { main } from '../../../ts/cli/program.js'
import { controlPath } from '../../../ts/config/index.js'
import { serveControl } from '../../../ts/node/control.js'
import { temporaryFolder } from '../../helpers/folder.js'
import { testIo } from '../../helpers/io.js'

const folder = temporaryFolder()
const at = (name: string): string => join(folder, name)

interface About {
  nodeId: string
  publicKey: string
  circuitKey: string
  rotatedAt: string
}

/** Runs `anonnet keys …`; resolves with the exit code and what was printed. */
async function keys(args: string[], environment: Record<string, string> = {}): Promise<{ code: number; out: string; err: string }> {
  const io = testIo(environment)
  const code = await main(['keys', ...args], io)
  return { code, out: io.out(), err: io.err() }
}

async function about(args: string[], environment: Record<string, string> = {}): Promise<About> {
  const { code, out, err } = await keys([...args, '--json'], environment)
  expect(code, err).toBe(0)
  return JSON.parse(out)
}

describe('anonnet keys', () => {
  it('makes a key file that only its owner reads, and never overwrites one', async () => {
    const made = await about(['new', '--out', at('a.key')])
    expect(made.nodeId).toMatch(/^[0-9a-f]{64}$/)
    expect(made.publicKey).toMatch(/^[0-9a-f]{64}$/)
    if (process.platform !== 'win32') expect(statSync(at('a.key')).mode & 0o777).toBe(0o600)
    const before = readFileSync(at('a.key'))
    expect((await keys(['new', '--out', at('a.key')])).code).toBe(1)
    expect(readFileSync(at('a.key'))).toEqual(before)
    expect(await about(['show', at('a.key')])).toEqual(made)
  })

  it('prints what the README takes out of it, and no secret', async () => {
    const { out } = await keys(['show', at('a.key')])
    const { nodeId, publicKey, circuitKey } = await about(['show', at('a.key')])
    expect(out.split('\n')[0]).toBe(`node id      ${nodeId}`)
    expect(out.split('\n')[1]).toBe(`public key   ${publicKey}`)
    expect(out).toContain(circuitKey)
    const file = readFileSync(at('a.key'))
    for (const word of out.match(/[0-9a-f]{64}/g) ?? [])
      if (![nodeId, publicKey, circuitKey].includes(word)) expect(file.includes(Buffer.from(word, 'hex'))).toBe(false)
  })

  it('rotates the circuit key and keeps the identity', async () => {
    await keys(['new', '--out', at('rotated.key')])
    const before = await about(['show', at('rotated.key')])
    const after = await about(['rotate', at('rotated.key')])
    expect(after.nodeId).toBe(before.nodeId)
    expect(after.circuitKey).not.toBe(before.circuitKey)
    expect(await about(['show', at('rotated.key')])).toEqual(after)
  })

  it('does not rotate under a running node', async () => {
    const server = await serveControl(controlPath(folder), { status: () => ({}) })
    try {
      const { code, err } = await keys(['rotate', at('a.key')])
      expect(code).toBe(1)
      expect(err).toContain('a running node uses this key file')
    } finally {
      await server.close()
    }
    expect((await keys(['rotate', at('a.key')])).code).toBe(0)
  })

  it('seals a key file with a passphrase from a file or the environment', async () => {
    writeFileSync(at('phrase'), 'correct horse\n')
    const made = await about(['new', '--out', at('sealed.key'), '--passphrase-file', at('phrase')])
    expect(await about(['show', at('sealed.key')], { ANONNET_PASSPHRASE: 'correct horse' })).toEqual(made)
    const without = await keys(['show', at('sealed.key')])
    expect(without.code).toBe(1)
    expect(without.err).toContain('ERR_ANONNET_KEY_PASSPHRASE')
    expect((await keys(['show', at('sealed.key')], { ANONNET_PASSPHRASE: 'wrong' })).err).toContain('ERR_ANONNET_KEY_PASSPHRASE')
  })

  it('exports and imports, with a passphrase of their own', async () => {
    const made = await about(['show', at('a.key')])
    const phrase = { ANONNET_EXPORT_PASSPHRASE: 'on the way' }
    expect((await keys(['export', at('a.key'), '--out', at('a.sealed')], phrase)).code).toBe(0)
    if (process.platform !== 'win32') expect(statSync(at('a.sealed')).mode & 0o777).toBe(0o600)
    expect((await keys(['export', at('a.key'), '--out', at('a.sealed')], phrase)).err).toContain('there is a file of that name already')
    const moved = await about(['import', at('a.sealed'), '--out', at('b.key')], phrase)
    expect([moved.nodeId, moved.publicKey]).toEqual([made.nodeId, made.publicKey])
    expect((await keys(['import', at('a.sealed'), '--out', at('b.key')], phrase)).code).toBe(1)
    const wrong = await keys(['import', at('a.sealed'), '--out', at('c.key')], { ANONNET_EXPORT_PASSPHRASE: 'x' })
    expect(wrong.err).toContain('ERR_ANONNET_KEY_PASSPHRASE')
    expect(existsSync(at('c.key'))).toBe(false)
  })

  it('wants a passphrase for an export where it cannot ask', async () => {
    const { code, err } = await keys(['export', at('a.key'), '--out', at('never.sealed')])
    expect(code).toBe(2)
    expect(err).toContain('--export-passphrase-file')
    expect(existsSync(at('never.sealed'))).toBe(false)
  })

  it('says what is wrong with files that are not there or not keys', async () => {
    writeFileSync(at('not.key'), 'hello', { mode: 0o600 })
    expect((await keys(['show', at('not.key')])).err).toContain('ERR_ANONNET_KEY_INVALID')
    expect((await keys(['show', at('absent.key')])).err).toContain('ERR_ANONNET_STORE_FAILED')
    expect((await keys(['import', at('absent'), '--out', at('d.key')])).err).toContain('could not be read')
    writeFileSync(at('empty'), '')
    expect((await keys(['show', at('a.key'), '--passphrase-file', at('empty')])).code).toBe(2)
  })

  it.runIf(process.platform !== 'win32')('refuses a key file that others can read', async () => {
    writeFileSync(at('open.key'), readFileSync(at('a.key')), { mode: 0o644 })
    expect((await keys(['show', at('open.key')])).err).toContain('ERR_ANONNET_KEY_PERMISSIONS')
  })
})
