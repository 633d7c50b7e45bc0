// Builds dist/: index.js (ESM, bundled), cli.cjs (CommonJS, bundled), the public types, and the licences of what went in.
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { builtinModules } from 'node:module'
import { dirname, join, relative, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { cacheDir, fail, output, root, run } from './lib.mjs'

const dist = join(root, 'dist')
/** What this build wrote, relative to dist/. */
const written = new Set()

/** Writes one file of dist/ in one step: a process that starts meanwhile finds the old one or the new one, whole. */
function put(name, content, mode = 0o644) {
  const target = join(dist, name)
  const temporary = `${target}.${process.pid}`
  mkdirSync(dirname(target), { recursive: true })
  writeFileSync(temporary, content, { mode })
  renameSync(temporary, target)
  written.add(name)
}

/** Removes what an earlier build left and this one did not write. */
function tidy() {
  for (const entry of readdirSync(dist, { recursive: true, withFileTypes: true })) {
    const full = join(entry.parentPath ?? entry.path, entry.name)
    if (entry.isFile() && !written.has(relative(dist, full))) rmSync(full)
  }
}

const licenceName = /^(licen[cs]e|copying|notice)([.-].*)?$/i

async function bundle(esbuild) {
  const common = {
    absWorkingDir: root,
    bundle: true,
    platform: 'node',
    target: 'node20.19',
    metafile: true,
    write: false,
    legalComments: 'none',
    logLevel: 'warning',
    logOverride: { 'empty-import-meta': 'error' }
  }
  const library = await esbuild.build({
    ...common,
    entryPoints: ['ts/index.ts'],
    format: 'esm',
    outfile: 'dist/index.js',
    sourcemap: 'linked',
    sourcesContent: false
  })
  // commander is CommonJS and dies in an ESM bundle, and a single executable wants CommonJS; import.meta.url has to be made there.
  const command = await esbuild.build({
    ...common,
    entryPoints: ['ts/cli/main.ts'],
    format: 'cjs',
    outfile: 'dist/cli.cjs',
    minifySyntax: true,
    define: { 'import.meta.url': '__moduleUrl' },
    banner: { js: "#!/usr/bin/env node\nconst __moduleUrl = require('node:url').pathToFileURL(__filename).href;" }
  })
  for (const { path, contents } of [...library.outputFiles, ...command.outputFiles])
    put(relative(dist, path), contents, path.endsWith('.cjs') ? 0o755 : 0o644)
  const external = Object.values(library.metafile.outputs).flatMap((entry) =>
    entry.imports.filter((item) => item.external).map((item) => item.path)
  )
  const foreign = external.filter((name) => !builtinModules.includes(name.replace(/^node:/, '')))
  if (foreign.length > 0) fail(`dist/index.js would need ${foreign.join(', ')} at run time: bundle it or do without.`)
  return [...Object.keys(library.metafile.inputs), ...Object.keys(command.metafile.inputs)]
}

/** Emits all declarations aside and copies what index.d.ts reaches: private rooms stay out of the package. */
async function types() {
  const aside = join(cacheDir, 'types')
  rmSync(aside, { recursive: true, force: true })
  const code = await run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.build.json', '--outDir', aside])
  if (code !== 0) fail('The TypeScript sources do not type-check: see the messages above.')
  const seen = new Set()
  const visit = (file) => {
    if (seen.has(file)) return
    seen.add(file)
    const text = readFileSync(file, 'utf8')
    for (const [, name] of text.matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)) {
      if (name.startsWith('.')) visit(resolve(dirname(file), name.replace(/\.js$/, '.d.ts')))
      else if (!builtinModules.includes(name.replace(/^node:/, '')))
        fail(`${relative(aside, file)} gives users a type from '${name}', which they do not have.`)
    }
    put(relative(aside, file), text.replace(/\n\/\/# sourceMappingURL=.*\n?$/, '\n'))
  }
  visit(join(aside, 'index.d.ts'))
}

const textsIn = (folder) =>
  readdirSync(folder)
    .filter((name) => licenceName.test(name))
    .sort()
    .flatMap((name) => {
      try {
        return [readFileSync(join(folder, name), 'utf8').trim()]
      } catch {
        return [] // a folder of licences
      }
    })

function npmPackages(inputs) {
  const folders = new Set()
  for (const input of inputs) {
    const match = /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(input)
    if (match?.[1]) folders.add(match[1])
  }
  return [...folders].map((folder) => {
    const { name, version, license } = JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8'))
    return { title: `${name} ${version} (npm)`, licence: String(license), texts: textsIn(join(root, folder)) }
  })
}

/** The crates that are linked into the addon: normal dependencies only, from the root package on. */
function crates() {
  const metadata = JSON.parse(output('cargo', ['metadata', '--format-version', '1', '--locked']) ?? 'null')
  if (metadata === null) fail('`cargo metadata` failed: Cargo.lock does not fit Cargo.toml, or crates could not be fetched.')
  const packages = new Map(metadata.packages.map((item) => [item.id, item]))
  const nodes = new Map(metadata.resolve.nodes.map((node) => [node.id, node]))
  const seen = new Set()
  const visit = (id) => {
    if (seen.has(id)) return
    seen.add(id)
    for (const dependency of nodes.get(id)?.deps ?? []) {
      if (dependency.dep_kinds.some((kind) => kind.kind === null)) visit(dependency.pkg)
    }
  }
  visit(metadata.resolve.root)
  return [...seen]
    .map((id) => packages.get(id))
    .filter((item) => item?.source)
    .map((item) => {
      const folder = dirname(item.manifest_path)
      return {
        title: `${item.name} ${item.version} (crate)`,
        licence: item.license ?? 'see its text',
        texts: existsSync(folder) ? textsIn(folder) : []
      }
    })
}

function licences(inputs) {
  const parts = [...npmPackages(inputs), ...crates()].sort((a, b) => a.title.localeCompare(b.title, 'en'))
  const byText = new Map()
  for (const part of parts) {
    const text = part.texts.join('\n\n----\n\n') || '(no licence text in the published package)'
    byText.set(text, [...(byText.get(text) ?? []), `${part.title}: ${part.licence}`])
  }
  const body = [...byText].map(([text, titles]) => `${'='.repeat(78)}\n${titles.join('\n')}\n${'='.repeat(78)}\n\n${text}\n`).join('\n')
  put('THIRD_PARTY_LICENSES', `What is inside dist/ and the addon besides AnonNet itself, and under which licence.\n\n${body}`)
}

export async function buildTypeScript() {
  const esbuild = await import('esbuild')
  const inputs = await bundle(esbuild)
  await types()
  licences(inputs)
  tidy()
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await buildTypeScript()
