/** What a release is checked by, given releases that are wrong. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parse } from 'smol-toml'
import { describe, expect, it } from 'vitest'
import { platformName } from '../../../ts/native/loader.js'
import { root } from '../../helpers/processes.js'

interface Entry {
  name: string
  body: Buffer
  mode?: number
}
interface Target {
  platform: string
  triple: string
  os: string
  cpu: string
}
interface Tar {
  pack(folder: string, entries: Entry[]): Buffer
  unpack(file: Buffer): Entry[]
}
interface Inspect {
  problemsOf(tarball: Buffer): string[]
  findTraces(body: Buffer): string[]
  glibcNeeded(body: Buffer): string | undefined
}
interface Targets {
  targets: Target[]
  platformManifest(target: Target): unknown
  publishedManifest(platforms: string[]): Record<string, unknown>
}
interface Licences {
  satisfied(expression: string, allowed: string[]): boolean
  licenceProblems(crates: unknown[], rules: unknown): string[]
}
const script = async <T>(name: string): Promise<T> => (await import(pathToFileURL(join(root, 'scripts', 'release', name)).href)) as T
const { pack, unpack } = await script<Tar>('tar.mjs')
const { problemsOf, findTraces, glibcNeeded } = await script<Inspect>('inspect.mjs')
const { targets, platformManifest, publishedManifest } = await script<Targets>('targets.mjs')
const { satisfied, licenceProblems } = await script<Licences>('licences.mjs')

const read = (name: string): string => readFileSync(join(root, name), 'utf8')
const text = (name: string, content: string): Entry => ({ name, body: Buffer.from(content) })
const manifest = JSON.stringify(publishedManifest(['linux-x64-gnu']))
const good = [
  text('package.json', manifest),
  text('README.md', 'x'),
  text('LICENSE', 'x'),
  text('dist/index.js', 'x'),
  text('dist/index.d.ts', 'x'),
  text('dist/index.js.map', JSON.stringify({ sources: ['../ts/index.ts', '../node_modules/x/y.js'] })),
  text('dist/cli.cjs', 'x'),
  text('dist/THIRD_PARTY_LICENSES', 'x')
]
/** The problems of the good package with an entry put in, or put in place of that of its name. */
const problemsWith = (entry: Entry): string[] => problemsOf(pack('package', [...good.filter(({ name }) => name !== entry.name), entry]))

describe('archives', () => {
  it('read back as they were packed, whatever the order, with the same bytes', () => {
    const entries = [text('b', 'two'), { ...text('a/c', 'x'.repeat(1_025)), mode: 0o755 }, text('empty', '')]
    const packed = pack('folder', entries)
    expect(pack('folder', [...entries].reverse()).equals(packed)).toBe(true)
    expect(unpack(packed).map(({ name, body, mode }) => [name, body.length, mode])).toEqual([
      ['folder/a/c', 1_025, 0o755],
      ['folder/b', 3, 0o644],
      ['folder/empty', 0, 0o644]
    ])
  })

  it('have no room for names that the format cuts', () => {
    expect(() => pack('folder', [text('x'.repeat(100), '')])).toThrow('longer than')
  })
})

describe('the contents of a package', () => {
  it('are in order as they are', () => {
    expect(problemsOf(pack('package', good))).toEqual([])
    const addon = [
      text('package.json', '{}'),
      text('LICENSE', 'x'),
      text('THIRD_PARTY_LICENSES', 'x'),
      text('anonnet.linux-x64-gnu.node', 'x')
    ]
    expect(problemsOf(pack('package', addon))).toEqual([])
  })

  it.each([
    ['a test', 'dist/loader.test.d.ts', 'x', 'does not belong'],
    ['a source', 'ts/index.ts', 'x', 'does not belong'],
    ['Rust', 'crates/errors/src/lib.rs', 'x', 'does not belong'],
    ['a key file', 'identity.key', 'x', 'does not belong'],
    ['an .npmrc', '.npmrc', 'x', 'does not belong'],
    ['a path of this machine', 'dist/index.js', `const at = '${root}/ts/x.ts'`, 'holds the path'],
    ['a home folder', 'dist/cli.cjs', `/${'home'}/somebody/.cargo/registry`, 'holds the path'],
    ['a home folder of macOS', 'dist/cli.cjs', `/${'Users'}/somebody/src`, 'holds the path'],
    ['a private key', 'README.md', '-----BEGIN OPENSSH PRIVATE KEY-----', 'a private key'],
    ['a token', 'dist/index.js', `npm_${'a'.repeat(36)}`, 'an npm token'],
    ['sources in the map', 'dist/index.js.map', '{ "sources": [], "sourcesContent": ["x"] }', 'carries its sources'],
    ['a map that leads elsewhere', 'dist/index.js.map', '{ "sources": ["../../elsewhere/x.ts"] }', 'names ../../elsewhere'],
    ['a map of tests', 'dist/index.js.map', '{ "sources": ["../ts/a.test.ts"] }', 'names ../ts/a.test.ts'],
    ['scripts', 'package.json', '{ "scripts": { "install": "x" } }', 'scripts is no business'],
    ['dependencies', 'package.json', '{ "dependencies": { "x": "1" } }', 'dependencies is no business'],
    [
      'an addon of another version',
      'package.json',
      '{ "version": "2.0.0", "optionalDependencies": { "x": "^2.0.0" } }',
      'not bound to version'
    ]
  ])('are not: %s', (_, name, content, problem) => {
    const problems = problemsWith(text(name, content))
    expect(problems).toHaveLength(1)
    expect(problems[0]).toContain(name)
    expect(problems[0]).toContain(problem)
  })

  it('are not: without what it is for', () => {
    expect(
      problemsOf(
        pack(
          'package',
          good.filter(({ name }) => name !== 'dist/cli.cjs')
        )
      )
    ).toEqual(['dist/cli.cjs: missing'])
  })

  it('are read as bytes, in an addon too', () => {
    const addon = Buffer.concat([
      Buffer.from([0x7f, 0x45, 0x4c, 0x46, 0, 0xff]),
      Buffer.from(`${root}/crates/engine/src/lib.rs`),
      Buffer.from([0])
    ])
    expect(findTraces(addon).length).toBeGreaterThan(0)
    expect(findTraces(Buffer.from('registry/index.crates.io/tokio-1/src/lib.rs /usr/lib/debug'))).toEqual([])
  })
})

it('the glibc that an addon needs is the newest that it names', () => {
  expect(glibcNeeded(Buffer.from('GLIBC_2.17\0GLIBC_2.4\0GLIBC_2.28\0GLIBC_2.3.4'))).toBe('2.28')
  expect(glibcNeeded(Buffer.from('libc.so'))).toBeUndefined()
})

describe('platforms', () => {
  it('have a folder each in npm/, as `npm run release -- folders` writes it', () => {
    expect(readdirSync(join(root, 'npm')).sort()).toEqual(targets.map(({ platform }) => platform).sort())
    for (const target of targets) expect(JSON.parse(read(`npm/${target.platform}/package.json`))).toEqual(platformManifest(target))
  })

  it('are called what the loader looks for', () => {
    for (const { platform, os, cpu } of targets) expect(platformName(os, cpu, () => platform.endsWith('-musl'))).toBe(platform)
  })

  it('are those that napi knows of', () => {
    const { napi } = JSON.parse(read('package.json')) as { napi: { targets: string[] } }
    const ours = targets.map(({ triple }) => triple.replace('windows-gnu', 'windows-msvc'))
    expect(napi.targets.toSorted()).toEqual(ours.toSorted())
  })

  it('are in docs/releasing.md and in the workflow', () => {
    const [docs, workflow] = [read('docs/releasing.md'), read('.github/workflows/release.yml')]
    const missing = targets.filter(({ platform }) => !docs.includes(`| ${platform} |`) || !workflow.includes(`platform: ${platform},`))
    expect(missing).toEqual([])
  })

  it('are optional, and bound to the version, in what is published', () => {
    const { version } = JSON.parse(read('package.json')) as { version: string }
    const published = publishedManifest(['linux-x64-gnu', 'darwin-arm64'])
    expect(published.optionalDependencies).toEqual({ '@anonnet/linux-x64-gnu': version, '@anonnet/darwin-arm64': version })
    expect(Object.keys(published)).not.toEqual(expect.arrayContaining(['scripts']))
  })
})

describe('versions', () => {
  it('are one, in package.json, Cargo.toml and at the head of CHANGELOG.md', () => {
    const { version } = JSON.parse(read('package.json')) as { version: string }
    const cargo = parse(read('Cargo.toml')) as { workspace: { package: { version: string } } }
    expect(cargo.workspace.package.version).toBe(version)
    expect(/^## (\S+)/m.exec(read('CHANGELOG.md'))?.[1]).toBe(version)
  })
})

describe('licences', () => {
  it('are met as their expressions say', () => {
    const allowed = ['MIT', 'ISC']
    for (const expression of ['MIT', 'MIT OR GPL-3.0', 'MIT/Apache-2.0', 'MIT AND ISC', '(GPL-3.0 OR MIT) AND ISC', 'GPL-3.0 AND X OR MIT'])
      expect([expression, satisfied(expression, allowed)]).toEqual([expression, true])
    for (const expression of ['', 'GPL-3.0', 'MIT AND GPL-3.0', 'MIT AND (GPL-3.0 OR X)', 'MIT WITH LLVM-exception', 'MIT ISC'])
      expect([expression, satisfied(expression, allowed)]).toEqual([expression, false])
  })

  it('and bans and sources are those of deny.toml', () => {
    const source = 'registry+https://github.com/rust-lang/crates.io-index'
    const rules = parse(read('deny.toml'))
    const crate = { name: 'x', version: '1.0.0', license: 'MIT', source }
    expect(licenceProblems([crate, { ...crate, source: null, license: null }], rules)).toEqual([])
    expect(licenceProblems([{ ...crate, license: 'AGPL-3.0' }], rules)).toEqual(['x 1.0.0: licence AGPL-3.0'])
    expect(licenceProblems([{ ...crate, license: null }], rules)).toEqual(['x 1.0.0: licence unknown'])
    expect(licenceProblems([{ ...crate, name: 'openssl-sys' }], rules)).toEqual(['openssl-sys 1.0.0: banned'])
    expect(licenceProblems([{ ...crate, source: 'git+https://example.org/x' }], rules)).toEqual(['x 1.0.0: from git+https://example.org/x'])
  })
})
