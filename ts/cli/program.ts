/** All verbs in one place, and what becomes of their errors. */
import { Command, CommanderError } from 'commander'
import manifest from '../../package.json' with { type: 'json' }
import { version as nativeVersion } from '../native/index.js'
import { demoCommand } from './demo/command.js'
import { fetchCommand } from './fetch.js'
import { errorObject, exitCodeOf, type Io, paletteOf, printJson, printLine, say } from './io.js'
import { keysCommand } from './keys.js'
import { runCommand } from './run.js'
import { bootstrapCommand, relayCommand } from './servers.js'
import { serviceCommand } from './service.js'
import { statusCommands } from './status.js'

/** The command table. `finish` gets the exit code of verbs that have one of their own. */
export function createProgram(io: Io, finish: (code: number) => void = () => undefined): Command {
  const program = new Command('anonnet')
    .description(
      'An anonymity network: clients with proxies, .anon services, relays, bootstrap nodes.\nIt hides who talks to whom, not that it is used, and not from one who watches all links at once.'
    )
    .exitOverride()
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      writeErr: (text) => io.stderr.write(text),
      getOutHelpWidth: () => 100,
      getErrHelpWidth: () => 100,
      getOutHasColors: () => false,
      getErrHasColors: () => false
    })
    .option('-V, --version', 'print the versions of the package and of the wire protocol')
    .on('option:version', () => {
      printLine(io, `anonnet ${manifest.version}, protocol ${nativeVersion().protocol}, node ${process.versions.node}`)
      throw new CommanderError(0, 'commander.version', 'version')
    })
    .addHelpText('after', '\nExample:\n  $ anonnet demo\n')
  demoCommand(program, io, finish)
  runCommand(program, io, finish)
  relayCommand(program, io, finish)
  bootstrapCommand(program, io, finish)
  serviceCommand(program, io, finish)
  fetchCommand(program, io, finish)
  statusCommands(program, io)
  keysCommand(program, io)
  return program
}

/** Runs one command line; resolves with the exit code: 0, 1 (failed) or 2 (wrong usage). */
export async function main(args: readonly string[], io: Io): Promise<number> {
  let code = 0
  const program = createProgram(io, (own) => {
    code = own
  })
  try {
    await program.parseAsync([...args], { from: 'user' })
    return code
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
    const { error: told } = errorObject(error)
    const before = args.indexOf('--')
    if ((before < 0 ? args : args.slice(0, before)).includes('--json')) printJson(io, { error: told })
    say(io, `${paletteOf(io).red('error')}: ${told.message} [${told.code}]`)
    return exitCodeOf(error)
  }
}
