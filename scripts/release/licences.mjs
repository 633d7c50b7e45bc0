// Licences, banned crates and sources of what is linked into the addon, as deny.toml says: by cargo deny, or here where that is missing.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fail, output, root, run } from '../lib.mjs'

/** Whether an SPDX expression can be met with the licences allowed: AND binds closer than OR, a WITH is a licence of its own. */
export function satisfied(expression, allowed) {
  const tokens = expression.replaceAll('/', ' OR ').match(/\(|\)|[^\s()]+/g) ?? []
  let at = 0
  const one = () => {
    if (tokens[at] === '(') {
      at += 1
      const inner = either()
      at += 1
      return inner
    }
    let name = tokens[at++]
    if (tokens[at] === 'WITH') {
      name = `${name} WITH ${tokens[at + 1]}`
      at += 2
    }
    return allowed.includes(name)
  }
  const both = () => {
    let ok = one()
    while (tokens[at] === 'AND') {
      at += 1
      ok = one() && ok
    }
    return ok
  }
  const either = () => {
    let ok = both()
    while (tokens[at] === 'OR') {
      at += 1
      ok = both() || ok
    }
    return ok
  }
  const ok = either()
  return ok && at === tokens.length
}

/** The crates that the addon is linked from, and what its build runs; development dependencies are not shipped. */
function linked() {
  const text = output('cargo', ['metadata', '--format-version', '1', '--locked', '--all-features'])
  if (text === undefined) fail('`cargo metadata --locked` failed: Cargo.lock does not fit Cargo.toml.')
  const { packages, resolve } = JSON.parse(text)
  const nodes = new Map(resolve.nodes.map((node) => [node.id, node]))
  const seen = new Set()
  const visit = (id) => {
    if (seen.has(id)) return
    seen.add(id)
    for (const { pkg, dep_kinds } of nodes.get(id)?.deps ?? []) if (dep_kinds.some(({ kind }) => kind !== 'dev')) visit(pkg)
  }
  visit(resolve.root)
  return packages.filter(({ id }) => seen.has(id))
}

/** What is wrong with a list of crates under the rules of deny.toml. */
export function licenceProblems(crates, rules) {
  const problems = []
  const banned = rules.bans.deny.map((entry) => entry.crate)
  const registries = rules.sources['allow-registry'].map((address) => `registry+${address}`)
  for (const { name, version, license, source } of crates) {
    if (source === null || source === undefined) continue
    const crate = `${name} ${version}`
    if (!satisfied(license ?? '', rules.licenses.allow)) problems.push(`${crate}: licence ${license ?? 'unknown'}`)
    if (banned.includes(name)) problems.push(`${crate}: banned`)
    if (!registries.includes(source)) problems.push(`${crate}: from ${source}`)
  }
  return problems
}

/** Checks the tree; resolves with `{ problems, how }`. */
export async function checkLicences() {
  if (output('cargo', ['deny', '--version']) !== undefined) {
    const said = []
    const code = await run('cargo', ['deny', '--all-features', 'check', 'licenses', 'bans', 'sources'], {
      quiet: true,
      onLine: (line) => said.push(line)
    })
    return { problems: code === 0 ? [] : said.filter((line) => /^error/.test(line)), how: 'cargo deny' }
  }
  const { parse } = await import('smol-toml')
  const crates = linked()
  return {
    problems: licenceProblems(crates, parse(readFileSync(join(root, 'deny.toml'), 'utf8'))),
    how: `cargo metadata, ${crates.length} crates`
  }
}
