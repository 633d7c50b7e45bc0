// The Rust side of these tests: a process that answers one JSON object a line (`cargo run -p xtask -- oracle`).
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface, type Interface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../../', import.meta.url))

/** How long a build of the oracle may take on a fresh clone. */
export const buildTimeoutMs = 600_000

/** How long one answer may take. */
const answerTimeoutMs = 20_000

/** What the Rust code refused, by the code of its error. */
export class Refused extends Error {}

export type Fields = Record<string, string | number | boolean | readonly string[]>

export class Oracle {
  readonly #process: ChildProcessWithoutNullStreams
  readonly #lines: Interface
  readonly #waiting: { resolve: (line: string) => void; reject: (error: Error) => void }[] = []

  private constructor() {
    this.#process = spawn('cargo', ['run', '-q', '-p', 'xtask', '--', 'oracle'], { cwd: root })
    this.#lines = createInterface({ input: this.#process.stdout })
    this.#lines.on('line', (line) => this.#waiting.shift()?.resolve(line))
    let complaint = ''
    this.#process.stderr.on('data', (data) => {
      complaint += data
    })
    const ended = (reason: unknown) => {
      for (const { reject } of this.#waiting.splice(0)) reject(new Error(`the oracle ended (${reason}): ${complaint}`))
    }
    this.#process.on('error', ended)
    this.#process.on('close', ended)
    this.#process.stdin.on('error', () => {})
  }

  /** Builds it if need be, and waits until it answers. */
  static async start(): Promise<Oracle> {
    const oracle = new Oracle()
    await oracle.ask('nodeId', { publicKey: '00'.repeat(32) }, buildTimeoutMs)
    return oracle
  }

  /** One question; bytes in fields and answers are hexadecimal. Throws `Refused` with the code that the Rust code gave. */
  async ask(op: string, fields: Fields, timeoutMs = answerTimeoutMs): Promise<Answer> {
    const line = await new Promise<string>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no answer to ${op} within ${timeoutMs} ms`)), timeoutMs)
      const settled = <T>(settle: (value: T) => void) => {
        return (value: T) => {
          clearTimeout(timer)
          settle(value)
        }
      }
      this.#waiting.push({ resolve: settled(resolve), reject: settled(reject) })
      this.#process.stdin.write(`${JSON.stringify({ op, ...fields })}\n`)
    })
    const answer = JSON.parse(line)
    if (typeof answer.error === 'string') throw new Refused(answer.error)
    return new Answer(answer.ok)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#process, 'close')
    this.#process.stdin.end()
    await closed
  }
}

/** An answer, read field by field. */
export class Answer {
  readonly #fields: Record<string, unknown>

  constructor(fields: Record<string, unknown>) {
    this.#fields = fields
  }

  bytes(name: string): Buffer {
    return Buffer.from(this.text(name), 'hex')
  }

  text(name: string): string {
    const value = this.#fields[name]
    if (typeof value !== 'string') throw new TypeError(`${name} is no text in the answer`)
    return value
  }

  get(name: string): unknown {
    return this.#fields[name]
  }

  get handle(): number {
    return Number(this.#fields.handle)
  }
}

export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
