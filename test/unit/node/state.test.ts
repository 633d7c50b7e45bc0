import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { Saver } from '../../../ts/node/saver.js'
import { MAX_STATE_FILE_BYTES, StateDir } from '../../../ts/node/state.js'
import { temporaryFolder } from '../../helpers/folder.js'

const folder = temporaryFolder()
let count = 0
const fresh = (): string => {
  count += 1
  return join(folder, `d${count}`, 'state')
}

describe('state directory', () => {
  it('is made for its owner alone, and so are its files', async () => {
    const state = await StateDir.open(fresh())
    await state.write('guards.json', Buffer.from('one'))
    await state.write('guards.json', Buffer.from('two'))
    expect(statSync(state.path).mode & 0o777).toBe(0o700)
    expect(statSync(state.file('guards.json')).mode & 0o777).toBe(0o600)
    expect((await state.read('guards.json'))?.toString()).toBe('two')
    expect(await state.read('nothing')).toBeUndefined()
    await state.release()
    expect(readdirSync(state.path)).toEqual(['guards.json'])
    await expect(state.write('guards.json', Buffer.from('three'))).rejects.toMatchObject({ code: 'ERR_ANONNET_CLOSED' })
  })

  it('is one node at a time', async () => {
    const path = fresh()
    const opened = await Promise.allSettled(Array.from({ length: 8 }, () => StateDir.open(path)))
    const holders = opened.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
    expect(holders).toHaveLength(1)
    for (const result of opened) if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'ERR_ANONNET_STORE_FAILED' })
    await holders[0]!.release()
    await holders[0]!.release()
    const next = await StateDir.open(path)
    await next.release()
    expect(readdirSync(path)).toEqual([])
  })

  it('is taken over from a dead process, one that has its number since, and a damaged lock', async () => {
    const dead = spawnSync(process.execPath, ['-e', '']).pid
    const locks = [JSON.stringify({ pid: dead, start: '' }), 'garbage', '{"pid":"x"}', '']
    if (process.platform === 'linux') locks.push(JSON.stringify({ pid: process.pid, start: '1' }))
    for (const lock of locks) {
      const path = fresh()
      mkdirSync(path, { recursive: true })
      writeFileSync(join(path, 'lock'), lock)
      const state = await StateDir.open(path)
      expect(JSON.parse(readFileSync(join(path, 'lock'), 'utf8'))).toMatchObject({ pid: process.pid })
      await state.release()
      expect(readdirSync(path)).toEqual([])
    }
  })

  it('fails with a code where it cannot be', async () => {
    const path = fresh()
    mkdirSync(join(path, '..'), { recursive: true })
    writeFileSync(path, 'a file')
    await expect(StateDir.open(path)).rejects.toMatchObject({ code: 'ERR_ANONNET_STORE_FAILED' })
    const state = await StateDir.open(fresh())
    mkdirSync(state.file('folder'))
    await expect(state.read('folder')).rejects.toMatchObject({ code: 'ERR_ANONNET_STORE_FAILED' })
    await expect(state.write('folder', Buffer.from(''))).rejects.toMatchObject({ code: 'ERR_ANONNET_STORE_FAILED' })
    writeFileSync(state.file('huge'), '')
    spawnSync('truncate', ['-s', String(MAX_STATE_FILE_BYTES + 1), state.file('huge')])
    await expect(state.read('huge')).rejects.toMatchObject({ code: 'ERR_ANONNET_STORE_FAILED' })
    await state.release()
    // What a failed write began is gone.
    expect(readdirSync(state.path).sort()).toEqual(['folder', 'huge'])
  })
})

describe('saver', () => {
  it('joins changes, keeps the last, reports failures', async () => {
    const state = await StateDir.open(fresh())
    const failures: string[] = []
    let asked = 0
    const saver = new Saver(state, 'file', (error) => failures.push(error.code))
    for (let value = 0; value < 10; value += 1) {
      saver.save(() => {
        asked += 1
        return Buffer.from(String(value))
      })
    }
    await saver.flush()
    expect(readFileSync(state.file('file'), 'utf8')).toBe('9')
    expect(asked).toBe(1)
    await state.release()
    saver.save(() => Buffer.from('x'))
    await saver.flush()
    expect(failures).toEqual(['ERR_ANONNET_CLOSED'])
    new Saver(undefined, 'file', () => expect.unreachable()).save(() => expect.unreachable())
    expect(existsSync(state.file('file'))).toBe(true)
    chmodSync(state.path, 0o700)
  })
})
