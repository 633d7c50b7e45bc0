/**
 * The state directory: one process at a time, files only its owner reads, each replaced as a whole or not at all.
 */

import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { chmod, link, mkdir, open, readFile, rename, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { threadId } from 'node:worker_threads'
import { errorFromCode } from '../errors/index.js'

/** Largest file that is read back; a larger one is not ours. */
export const MAX_STATE_FILE_BYTES = 32 * 1024 * 1024
const LOCK_FILE = 'lock'
const LOCK_TRIES = 5

function failed(detail: string, cause: unknown): Error {
  return errorFromCode('ERR_ANONNET_STORE_FAILED', { detail, cause })
}

function isCode(error: unknown, code: string): boolean {
  return (error as NodeJS.ErrnoException).code === code
}

/** When a process began, where the system tells (Linux): a number that a later process of the same id has not. */
async function startOf(pid: number): Promise<string> {
  try {
    const text = await readFile(`/proc/${pid}/stat`, 'utf8')
    // Field 22, counted after the command name, which may hold anything but its last parenthesis.
    return text.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? ''
  } catch {
    return ''
  }
}

interface Owner {
  pid: number
  start: string
}

function isOwner(value: unknown): value is Owner {
  const owner = value as Partial<Owner> | null
  return typeof owner === 'object' && owner !== null && Number.isSafeInteger(owner.pid) && typeof owner.start === 'string'
}

async function lives(text: string): Promise<boolean> {
  let owner: unknown
  try {
    owner = JSON.parse(text)
  } catch {
    return false
  }
  if (!isOwner(owner)) return false
  try {
    process.kill(owner.pid, 0)
  } catch (error) {
    if (isCode(error, 'ESRCH')) return false
  }
  const start = await startOf(owner.pid)
  return owner.start === '' || start === '' || start === owner.start
}

/** A locked state directory. */
export class StateDir {
  readonly path: string
  readonly #token: string
  #released = false

  private constructor(path: string, token: string) {
    this.path = path
    this.#token = token
  }

  /**
   * Makes the directory (mode 0700) when it is not there, and locks it.
   *
   * @throws ERR_ANONNET_STORE_FAILED when it cannot be used, or another process that lives has it.
   */
  static async open(path: string): Promise<StateDir> {
    try {
      await mkdir(path, { recursive: true, mode: 0o700 })
      if (!(await stat(path)).isDirectory()) throw new Error('not a directory')
    } catch (error) {
      throw failed('the state directory cannot be made', error)
    }
    const token = JSON.stringify({
      pid: process.pid,
      start: await startOf(process.pid),
      thread: threadId,
      token: randomBytes(8).toString('hex')
    })
    const own = join(path, `.lock-${process.pid}-${randomBytes(6).toString('hex')}`)
    try {
      await writeWhole(own, Buffer.from(token))
      await acquire(join(path, LOCK_FILE), own)
    } finally {
      await unlink(own).catch(() => undefined)
    }
    return new StateDir(path, token)
  }

  /** The path of a file of the directory. */
  file(name: string): string {
    return join(this.path, name)
  }

  /** A file's bytes; undefined when there is none. Throws ERR_ANONNET_STORE_FAILED. */
  async read(name: string): Promise<Buffer | undefined> {
    try {
      const file = await open(this.file(name), constants.O_RDONLY)
      try {
        const { size } = await file.stat()
        if (size > MAX_STATE_FILE_BYTES) throw new Error('larger than any file of ours')
        return await file.readFile()
      } finally {
        await file.close()
      }
    } catch (error) {
      if (isCode(error, 'ENOENT')) return undefined
      throw failed(`${name} cannot be read`, error)
    }
  }

  /** Replaces a file as a whole: a crash leaves the old one or the new one. Throws ERR_ANONNET_STORE_FAILED. */
  async write(name: string, bytes: Uint8Array): Promise<void> {
    if (this.#released) throw errorFromCode('ERR_ANONNET_CLOSED', { detail: 'the state directory was given up' })
    const temporary = this.file(`.${name}-${randomBytes(6).toString('hex')}`)
    try {
      await writeWhole(temporary, bytes)
      await rename(temporary, this.file(name))
      await syncFolder(this.path)
    } catch (error) {
      await unlink(temporary).catch(() => undefined)
      throw failed(`${name} cannot be written`, error)
    }
  }

  /** Lets another process have the directory. */
  async release(): Promise<void> {
    if (this.#released) return
    this.#released = true
    const lock = this.file(LOCK_FILE)
    try {
      if ((await readFile(lock, 'utf8')) === this.#token) await unlink(lock)
    } catch {
      // The directory was removed under us: then there is nothing to give back.
    }
  }
}

/** Takes the lock by linking a complete file to its name, which exactly one of many can do. */
async function acquire(lock: string, own: string): Promise<void> {
  for (let tries = 0; tries < LOCK_TRIES; tries += 1) {
    try {
      await link(own, lock)
      return
    } catch (error) {
      if (!isCode(error, 'EEXIST')) throw failed('the state directory cannot be locked', error)
    }
    let before: string
    try {
      before = await readFile(lock, 'utf8')
    } catch {
      continue
    }
    if (await lives(before)) throw errorFromCode('ERR_ANONNET_STORE_FAILED', { detail: 'the state directory is in use by another node' })
    await removeStale(lock, before, `${own}-stale`)
  }
  throw errorFromCode('ERR_ANONNET_STORE_FAILED', { detail: 'the state directory is contended for' })
}

/** Removes the lock of a dead process; if a live one took it between reading and renaming, gives it back. */
async function removeStale(lock: string, before: string, aside: string): Promise<void> {
  try {
    await rename(lock, aside)
    if ((await readFile(aside, 'utf8')) !== before) await link(aside, lock)
    await unlink(aside)
  } catch {
    // Another process was faster; the next try sees what it made.
  }
}

async function writeWhole(path: string, bytes: Uint8Array): Promise<void> {
  const file = await open(path, 'wx', 0o600)
  try {
    await file.writeFile(bytes)
    await file.sync()
  } finally {
    await file.close()
  }
  // The mode given to open is narrowed by the umask, never widened; this also covers odd default ACLs.
  await chmod(path, 0o600)
}

async function syncFolder(path: string): Promise<void> {
  if (process.platform === 'win32') return
  const folder = await open(path, constants.O_RDONLY)
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
