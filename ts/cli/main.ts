/** The command `anonnet`. */
import { setFlagsFromString } from 'node:v8'
import { processIo } from './io.js'
import { main } from './program.js'

// The optimising compiler is not worth its memory in a control plane that decides a few times a second: 4 to 5 MB of a relay. Only here, in a
// process of our own.
setFlagsFromString('--no-opt')

const io = processIo()
// A reader that went away (`anonnet circuits | head -1`) is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
  throw error
})

main(process.argv.slice(2), io).then(
  (code) => {
    process.exitCode = code
    // The channel of a parent that started this process would keep it alive.
    if (process.channel !== undefined) process.disconnect()
  },
  (error: unknown) => {
    io.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`)
    process.exitCode = 1
  }
)
