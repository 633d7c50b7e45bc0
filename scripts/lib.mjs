// What the scripts share. No dependencies: they run before `npm ci` has.
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, dirname, join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = dirname(dirname(fileURLToPath(import.meta.url)))
/** What was built of what; not in node_modules, which `npm ci` empties. */
export const cacheDir = join(root, 'target', 'setup')
export const minimumNode = [20, 19]
export const minimumRust = [1, 90]

const began = Date.now()

/** One progress line on stderr, so that stdout stays data. */
export function step(text) {
  const seconds = ((Date.now() - began) / 1000).toFixed(1).padStart(6)
  process.stderr.write(`[${seconds} s] ${text}\n`)
}

/** Ends the process with one sentence on stderr. */
export function fail(sentence) {
  process.stderr.write(`${sentence}\n`)
  process.exit(1)
}

/** Compares a version's first numbers with [major, minor]. */
export function atLeast(version, [major, minor]) {
  const [a = 0, b = 0] = version.split('.').map(Number)
  return a > major || (a === major && b >= minor)
}

/** Node starts npm's .cmd files on Windows through the shell alone. */
const needsShell = (command) => process.platform === 'win32' && command.endsWith('.cmd')

/** A program's standard output, or undefined when it cannot be run or fails. */
export function output(command, args, options = {}) {
  const result = spawnSync(command, args, { encoding: 'utf8', cwd: root, maxBuffer: 1 << 28, shell: needsShell(command), ...options })
  return result.status === 0 ? result.stdout : undefined
}

/** Runs a program with its output passed on; resolves with its exit code (a signal counts as 1). `onLine` sees each line of stdout and stderr. */
export function run(command, args, { env, onLine, quiet = false, cwd = root } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd,
      env: { ...process.env, ...env },
      shell: needsShell(command),
      stdio: ['ignore', onLine || quiet ? 'pipe' : 'inherit', onLine || quiet ? 'pipe' : 'inherit']
    })
    const forward = (stream, target) => {
      let rest = ''
      stream?.setEncoding('utf8')
      stream?.on('data', (text) => {
        if (!quiet) target.write(text)
        rest += text
        const lines = rest.split('\n')
        rest = lines.pop() ?? ''
        for (const line of lines) onLine?.(line)
      })
      stream?.on('end', () => rest && onLine?.(rest))
    }
    forward(child.stdout, process.stdout)
    forward(child.stderr, process.stderr)
    const interrupt = () => child.kill('SIGINT')
    process.once('SIGINT', interrupt)
    process.once('SIGTERM', interrupt)
    const done = (code) => {
      process.removeListener('SIGINT', interrupt)
      process.removeListener('SIGTERM', interrupt)
      resolve(code)
    }
    child.on('error', (error) => {
      process.stderr.write(`${command}: ${error.message}\n`)
      done(127)
    })
    child.on('close', (code) => done(code ?? 1))
  })
}

/** The path of a tool that npm installed, and how to start it on this platform. */
export function tool(name) {
  return join(root, 'node_modules', '.bin', process.platform === 'win32' ? `${name}.cmd` : name)
}

/** All files under a folder of the repository for which `keep` holds, sorted, as paths relative to the root with `/`. */
export function walk(folder, keep = () => true) {
  const found = []
  const visit = (path) => {
    for (const entry of readdirSync(path, { withFileTypes: true })) {
      const full = join(path, entry.name)
      if (entry.isDirectory()) {
        if (!['node_modules', 'target', '.git', 'corpus', 'artifacts', 'coverage'].includes(entry.name)) visit(full)
      } else if (entry.isFile()) {
        const name = relative(root, full).split(sep).join('/')
        if (keep(name)) found.push(name)
      }
    }
  }
  const start = join(root, folder)
  if (existsSync(start)) {
    if (statSync(start).isDirectory()) visit(start)
    else if (keep(folder)) found.push(folder)
  }
  return found.sort()
}

/** SHA-256 over names and contents of files, and over further strings. */
export function hashOf(files, ...more) {
  const hash = createHash('sha256')
  for (const file of files) {
    const content = readFileSync(join(root, file))
    hash.update(`${file}\0${content.length}\0`).update(content)
  }
  for (const text of more) hash.update(`${text}\0`)
  return hash.digest('hex')
}

export function readStamp(name, folder = cacheDir) {
  try {
    return readFileSync(join(folder, name), 'utf8').trim()
  } catch {
    return ''
  }
}

export function writeStamp(name, value, folder = cacheDir) {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, name), `${value}\n`)
}

/** Puts rustup's folder on the path where a login shell would have done so. */
export function findCargo() {
  const folder = join(process.env.CARGO_HOME ?? join(homedir(), '.cargo'), 'bin')
  if (existsSync(folder) && !(process.env.PATH ?? '').split(delimiter).includes(folder)) {
    process.env.PATH = `${process.env.PATH ?? ''}${delimiter}${folder}`
  }
}

/**
 * Builds the addon by cargo alone, without the declarations that napi makes, and copies it to `target`. `args` are cargo's, `program` is cargo
 * or one that stands for it; `symbols` keeps them.
 */
export async function buildLibrary(target, args, { env, program = 'cargo', first = [], symbols = false } = {}) {
  let library
  const head = [...first, 'rustc', '-p', 'anonnet-binding', '--lib']
  // For the last step alone: everything before it is one build, with symbols or without.
  const tail = [...args, ...(symbols ? ['--', '-Cstrip=none'] : [])]
  const all = [...head, '--message-format=json-render-diagnostics', '--quiet', ...tail]
  const code = await run(program, all, {
    env,
    quiet: true,
    onLine: (line) => {
      if (!line.startsWith('{')) return process.env.ANONNET_VERBOSE === undefined || process.stderr.write(`${line}\n`)
      const message = JSON.parse(line)
      if (message.reason === 'compiler-artifact' && message.target.kind.includes('cdylib')) library = message.filenames[0]
    }
  })
  if (code !== 0 || library === undefined) fail(`Building the addon failed: run \`${[program, ...head, ...tail].join(' ')}\` to see why.`)
  mkdirSync(dirname(target), { recursive: true })
  // Never over a file that a process may have loaded.
  rmSync(target, { force: true })
  copyFileSync(library, target)
  return target
}

/** The host triple, from rustc itself. */
export function hostTriple() {
  return /^host: (.+)$/m.exec(output('rustc', ['-vV']) ?? '')?.[1] ?? ''
}
