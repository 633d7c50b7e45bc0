/** Passphrases: from a file, from the environment, or typed at a terminal without being shown. Never from the command line, which others can read. */
import { readFileSync } from 'node:fs'
import { CommandFailed, type Io, UsageError } from './io.js'

/** Longest passphrase, in bytes. */
export const MAX_PASSPHRASE_BYTES = 1_024

function fromFile(path: string): Uint8Array {
  let text: Buffer
  try {
    text = readFileSync(path)
  } catch {
    throw new CommandFailed('the passphrase file could not be read', 'ERR_ANONNET_STORE_FAILED')
  }
  const end = text.length > 0 && text[text.length - 1] === 10 ? (text[text.length - 2] === 13 ? 2 : 1) : 0
  return checked(Uint8Array.from(text.subarray(0, text.length - end)))
}

function checked(bytes: Uint8Array): Uint8Array {
  if (bytes.length === 0 || bytes.length > MAX_PASSPHRASE_BYTES) throw new UsageError(`a passphrase has 1 to ${MAX_PASSPHRASE_BYTES} bytes`)
  return bytes
}

/** The passphrase that a file or a variable gives; undefined when neither does. */
export function givenPassphrase(io: Io, file: string | undefined, variable = 'ANONNET_PASSPHRASE'): Uint8Array | undefined {
  if (file !== undefined) return fromFile(file)
  const text = io.environment[variable]
  return text === undefined || text === '' ? undefined : checked(new TextEncoder().encode(text))
}

/** Asks for a passphrase at the terminal; wrong usage where there is none. */
export async function askPassphrase(io: Io, question: string, twice: boolean, flag: string): Promise<Uint8Array> {
  if (!io.terminal || process.stdin.isTTY !== true) throw new UsageError(`a passphrase is needed: give ${flag}, or run this in a terminal`)
  const first = await readHidden(io, `${question}: `)
  if (twice && (await readHidden(io, 'again: ')) !== first) throw new UsageError('the two passphrases differ')
  return checked(new TextEncoder().encode(first))
}

function readHidden(io: Io, question: string): Promise<string> {
  const { stdin } = process
  return new Promise((resolve, reject) => {
    io.stderr.write(question)
    stdin.setRawMode(true)
    stdin.setEncoding('utf8')
    let typed = ''
    const finish = (settle: () => void): void => {
      stdin.off('data', onData)
      stdin.setRawMode(false)
      stdin.pause()
      io.stderr.write('\n')
      settle()
    }
    const onData = (data: string | Buffer): void => {
      for (const letter of data.toString()) {
        if (letter === '\r' || letter === '\n') return finish(() => resolve(typed))
        if (letter === '\u0003' || letter === '\u0004')
          return finish(() => reject(new CommandFailed('no passphrase was given', 'ERR_ANONNET_ABORTED')))
        if (letter === '\u007f' || letter === '\b') typed = typed.slice(0, -1)
        else typed += letter
      }
    }
    stdin.on('data', onData)
    stdin.resume()
  })
}
