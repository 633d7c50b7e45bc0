// What a package must not hold: files that are not the user's business, paths of the machine that built it, secrets.
import { createHash } from 'node:crypto'
import { homedir } from 'node:os'
import { root } from '../lib.mjs'
import { unpack } from './tar.mjs'

export const digest = (bytes) => createHash('sha256').update(bytes).digest('hex')

/** Home folders of any machine, by their usual places. */
const PLACES = [
  /\/home\/[a-z_][\w.-]*\/[\w.@~-]+/,
  /\/Users\/[A-Za-z_][\w.-]*\/[\w.@~-]+/,
  new RegExp(`/${'root'}/[\\w.@~-]+`),
  /[A-Za-z]:\\Users\\[\w.-]+/
]
const SECRETS = [
  ['a private key', /-----BEGIN [A-Z ]*PRIVATE KEY-----/],
  ['an npm token', /\bnpm_[A-Za-z0-9]{36}\b/],
  ['a token in an .npmrc', /_authToken\s*=/],
  ['a GitHub token', /\b(gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{40,})/],
  ['an AWS key', /\bAKIA[0-9A-Z]{16}\b/]
]

/** Paths of this machine, and home folders of any, in a file's bytes. */
export function findTraces(body) {
  const text = body.toString('latin1')
  const own = [root, homedir()].filter((path) => path.length > 1 && text.includes(`${path}/`)).map((path) => `${path}/`)
  return [...new Set([...own, ...PLACES.flatMap((place) => place.exec(text)?.[0] ?? [])])]
}

/** The newest version of glibc's symbols that a library asks for; undefined when it asks for none, as with musl. */
export function glibcNeeded(body) {
  const minors = [...body.toString('latin1').matchAll(/GLIBC_2\.(\d+)/g)].map(([, minor]) => Number(minor))
  return minors.length === 0 ? undefined : `2.${Math.max(...minors)}`
}

/** Names of secrets in a file's bytes. */
export function findSecrets(body) {
  const text = body.toString('latin1')
  return SECRETS.filter(([, pattern]) => pattern.test(text)).map(([name]) => name)
}

/** What the main package may hold; the addon's packages hold their addon in place of dist/. */
const ALLOWED = [
  /^package\.json$/,
  /^(README|CHANGELOG|SECURITY)\.md$/,
  /^LICENSE$/,
  /^dist\/(index\.js|index\.js\.map|cli\.cjs|THIRD_PARTY_LICENSES)$/,
  /^dist\/([a-z-]+\/)*[a-z-]+\.d\.ts$/
]
const ALLOWED_OF_ADDON = [/^package\.json$/, /^README\.md$/, /^LICENSE$/, /^THIRD_PARTY_LICENSES$/, /^anonnet\.[a-z0-9-]+\.node$/]
const NEEDED = ['package.json', 'README.md', 'LICENSE', 'dist/index.js', 'dist/index.d.ts', 'dist/cli.cjs', 'dist/THIRD_PARTY_LICENSES']

function manifestProblems(manifest) {
  const problems = []
  for (const field of ['scripts', 'devDependencies', 'dependencies', 'overrides', 'private'])
    if (manifest[field] !== undefined) problems.push(`package.json: ${field} is no business of who installs it`)
  for (const [name, range] of Object.entries(manifest.optionalDependencies ?? {}))
    if (range !== manifest.version) problems.push(`package.json: ${name} is not bound to version ${manifest.version}`)
  return problems
}

/** A source map may name sources; it must not carry them, nor lead out of the package's own ts/. */
function mapProblems(name, body) {
  const map = JSON.parse(body.toString('utf8'))
  const strange = map.sources.filter((source) => !/^\.\.\/(ts|node_modules)\//.test(source) || /\.test\.|\/test\//.test(source))
  return [
    ...(map.sourcesContent === undefined ? [] : [`${name}: carries its sources`]),
    ...strange.slice(0, 3).map((source) => `${name}: names ${source}`)
  ]
}

/** What is wrong with a package made by `npm pack`, one sentence each; nothing is an empty list. */
export function problemsOf(tarball) {
  const entries = unpack(tarball).map((entry) => ({ ...entry, name: entry.name.replace(/^package\//, '') }))
  const names = entries.map(({ name }) => name)
  const isAddon = names.some((name) => name.endsWith('.node'))
  const allowed = isAddon ? ALLOWED_OF_ADDON : ALLOWED
  const problems = names
    .filter((name) => !allowed.some((pattern) => pattern.test(name)))
    .map((name) => `${name}: does not belong in the package`)
  const needed = isAddon ? ['package.json', 'LICENSE', 'THIRD_PARTY_LICENSES'] : NEEDED
  problems.push(...needed.filter((name) => !names.includes(name)).map((name) => `${name}: missing`))
  for (const { name, body } of entries) {
    problems.push(...findTraces(body).map((trace) => `${name}: holds the path ${trace}`))
    problems.push(...findSecrets(body).map((secret) => `${name}: holds ${secret}`))
    if (name === 'package.json') problems.push(...manifestProblems(JSON.parse(body.toString('utf8'))))
    if (name.endsWith('.map')) problems.push(...mapProblems(name, body))
  }
  return problems
}
