/** `anonnet keys`: key files of nodes, and key pairs for services. */
import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Command } from 'commander'
import { controlPath } from '../config/index.js'
import { keyFileCreate, keyFileExport, keyFileImport, keyFileInspect, keyFileRotate, serviceCrypto } from '../native/index.js'
import { controlRequest } from '../node/index.js'
import { CommandFailed, type Io, printJson, printLine } from './io.js'
import { askPassphrase, givenPassphrase } from './passphrase.js'

interface KeyFlags {
  readonly out?: string
  readonly passphraseFile?: string
  readonly exportPassphraseFile?: string
  readonly json?: boolean
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

/** The public half of a key file, as it is printed. */
function describe(
  path: string,
  passphrase: Uint8Array | undefined
): { nodeId: string; publicKey: string; circuitKey: string; rotatedAt: string } {
  const { nodeId, publicKey, onionKey, rotatedAt } = keyFileInspect(path, passphrase)
  return { nodeId, publicKey: hex(publicKey), circuitKey: hex(onionKey), rotatedAt: new Date(rotatedAt * 1_000).toISOString() }
}

function print(io: Io, path: string, flags: KeyFlags, passphrase: Uint8Array | undefined): void {
  const about = describe(path, passphrase)
  if (flags.json) {
    printJson(io, about)
    return
  }
  printLine(io, `node id      ${about.nodeId}`)
  printLine(io, `public key   ${about.publicKey}`)
  printLine(io, `circuit key  ${about.circuitKey}  (since ${about.rotatedAt})`)
}

/** A node keeps its keys in memory and would write the old ones over new ones. */
async function refuseWhileRunning(path: string): Promise<void> {
  const socket = controlPath(dirname(path))
  if (!existsSync(socket)) return
  const running = await controlRequest(socket, 'status').then(
    () => true,
    () => false
  )
  if (running)
    throw new CommandFailed(
      'a running node uses this key file: stop it first (it rotates its circuit key by itself every 7 days)',
      'ERR_ANONNET_STORE_FAILED'
    )
}

async function exportPassphrase(io: Io, flags: KeyFlags, twice: boolean): Promise<Uint8Array> {
  const given = givenPassphrase(io, flags.exportPassphraseFile, 'ANONNET_EXPORT_PASSPHRASE')
  return given ?? (await askPassphrase(io, 'passphrase of the exported keys', twice, '--export-passphrase-file'))
}

function writeNew(path: string, bytes: Uint8Array): void {
  try {
    writeFileSync(path, bytes, { mode: 0o600, flag: 'wx' })
  } catch (error) {
    const exists = (error as NodeJS.ErrnoException).code === 'EEXIST'
    throw new CommandFailed(exists ? 'there is a file of that name already' : 'the file could not be written', 'ERR_ANONNET_STORE_FAILED')
  }
}

function readSealed(path: string): Uint8Array {
  try {
    return readFileSync(path)
  } catch {
    throw new CommandFailed('the file of exported keys could not be read', 'ERR_ANONNET_STORE_FAILED')
  }
}

const passphraseFlag = ['--passphrase-file <file>', 'passphrase of the key file (or ANONNET_PASSPHRASE)'] as const
const exportFlag = [
  '--export-passphrase-file <file>',
  'passphrase of the exported keys (or ANONNET_EXPORT_PASSPHRASE, or asked for)'
] as const

/** Adds `keys` and its verbs. */
export function keysCommand(program: Command, io: Io): void {
  const keys = program.command('keys').description('make, show, rotate, export and import the keys of a node')
  keys.addHelpText('after', '\nExample:\n  $ anonnet keys new --out relay.key\n')

  keys
    .command('new')
    .description('make a key file (mode 0600); never overwrites one')
    .requiredOption('-o, --out <file>', 'where to write it')
    .option(...passphraseFlag)
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample:\n  $ anonnet keys new --out b1.key\n')
    .action((flags: KeyFlags & { out: string }) => {
      const passphrase = givenPassphrase(io, flags.passphraseFile)
      keyFileCreate(flags.out, passphrase)
      print(io, flags.out, flags, passphrase)
    })

  keys
    .command('show <file>')
    .description('print node id, public key and circuit key; never a private key')
    .option(...passphraseFlag)
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample:\n  $ anonnet keys show b1.key --json\n')
    .action((file: string, flags: KeyFlags) => print(io, file, flags, givenPassphrase(io, flags.passphraseFile)))

  keys
    .command('rotate <file>')
    .description('make a new circuit key now, of a stopped node; the old one is accepted for 24 hours more')
    .option(...passphraseFlag)
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample:\n  $ anonnet keys rotate relay.key\n')
    .action(async (file: string, flags: KeyFlags) => {
      await refuseWhileRunning(file)
      const passphrase = givenPassphrase(io, flags.passphraseFile)
      keyFileRotate(file, passphrase)
      print(io, file, flags, passphrase)
    })

  keys
    .command('export <file>')
    .description('seal the keys with a passphrase of their own, to carry them elsewhere')
    .requiredOption('-o, --out <file>', 'where to write them')
    .option(...passphraseFlag)
    .option(...exportFlag)
    .addHelpText('after', '\nExample:\n  $ anonnet keys export relay.key --out relay.sealed\n')
    .action(async (file: string, flags: KeyFlags & { out: string }) => {
      const passphrase = givenPassphrase(io, flags.passphraseFile)
      keyFileInspect(file, passphrase)
      writeNew(flags.out, keyFileExport(file, passphrase, await exportPassphrase(io, flags, true)))
    })

  keys
    .command('import <sealed>')
    .description('write a key file from exported keys; never overwrites one')
    .requiredOption('-o, --out <file>', 'where to write it')
    .option(...passphraseFlag)
    .option(...exportFlag)
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample:\n  $ anonnet keys import relay.sealed --out relay.key\n')
    .action(async (sealed: string, flags: KeyFlags & { out: string }) => {
      const bytes = readSealed(sealed)
      const passphrase = givenPassphrase(io, flags.passphraseFile)
      keyFileImport(flags.out, bytes, await exportPassphrase(io, flags, false), passphrase)
      print(io, flags.out, flags, passphrase)
    })

  keys
    .command('auth')
    .description('make a key pair for a service that takes authorised clients only')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample:\n  $ anonnet keys auth\n')
    .action((flags: KeyFlags) => {
      const secret = randomBytes(32)
      const pair = { publicKey: hex(serviceCrypto.x25519Public(secret)), secretKey: hex(secret) }
      if (flags.json) {
        printJson(io, pair)
        return
      }
      printLine(io, `public key   ${pair.publicKey}  (for the service: --auth)`)
      printLine(io, `secret key   ${pair.secretKey}  (for the client, in a file: --service-key <address>=<file>)`)
    })
}
