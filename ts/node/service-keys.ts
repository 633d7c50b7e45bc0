/**
 * The key of a service, kept in a file: its address is made of it, so whoever has the file is the service.
 */

import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { link, mkdir, open, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import { errorFromCode } from '../errors/index.js'

const HEAD = 'anonnet service key 1'
const FORM = /^anonnet service key 1\n([0-9a-f]{64})\n$/
const KEY_BYTES = 32
const MAX_FILE_BYTES = 256

async function read(path: string): Promise<Uint8Array | undefined> {
  let file: Awaited<ReturnType<typeof open>>
  try {
    file = await open(path, constants.O_RDONLY)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw errorFromCode('ERR_ANONNET_STORE_FAILED', { detail: 'the service key cannot be read', cause: error })
  }
  try {
    const { mode, size } = await file.stat()
    if (process.platform !== 'win32' && (mode & 0o077) !== 0) throw errorFromCode('ERR_ANONNET_KEY_PERMISSIONS')
    const hex = size > MAX_FILE_BYTES ? undefined : FORM.exec(await file.readFile('latin1'))?.[1]
    if (hex === undefined) throw errorFromCode('ERR_ANONNET_KEY_INVALID', { detail: 'not the key file of a service' })
    return Uint8Array.from(Buffer.from(hex, 'hex'))
  } finally {
    await file.close()
  }
}

/**
 * The seed (32 bytes) in a file, which is made with mode 0600 when it is not there.
 *
 * @throws ERR_ANONNET_KEY_PERMISSIONS, _KEY_INVALID, _STORE_FAILED.
 */
export async function serviceKeyFile(path: string): Promise<Uint8Array> {
  const kept = await read(path)
  if (kept !== undefined) return kept
  const seed = Uint8Array.from(randomBytes(KEY_BYTES))
  const temporary = `${path}.${randomBytes(6).toString('hex')}`
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    const file = await open(temporary, 'wx', 0o600)
    try {
      await file.writeFile(`${HEAD}\n${Buffer.from(seed).toString('hex')}\n`)
      await file.sync()
    } finally {
      await file.close()
    }
    // Whole or not at all, and never over one that somebody else made meanwhile.
    await link(temporary, path)
  } catch (error) {
    const other = (error as NodeJS.ErrnoException).code === 'EEXIST' ? await read(path) : undefined
    if (other !== undefined) return other
    throw errorFromCode('ERR_ANONNET_STORE_FAILED', { detail: 'the service key cannot be written', cause: error })
  } finally {
    await unlink(temporary).catch(() => undefined)
  }
  return seed
}
