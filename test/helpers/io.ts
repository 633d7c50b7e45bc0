/** Surroundings for commands under test: what they print is kept. */
import { Writable } from 'node:stream'
import type { Io } from '../../ts/cli/io.js'

export interface TestIo extends Io {
  out(): string
  err(): string
}

class Kept extends Writable {
  text = ''

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString()
    done()
  }
}

export function testIo(environment: Record<string, string> = {}, terminal = false): TestIo {
  const stdout = new Kept()
  const stderr = new Kept()
  // No file of the machine that runs the tests may count.
  const nowhere = '/nonexistent'
  return {
    stdout,
    stderr,
    environment: { XDG_CONFIG_HOME: nowhere, XDG_STATE_HOME: nowhere, ...environment },
    terminal,
    out: () => stdout.text,
    err: () => stderr.text
  }
}
