/** docs/limits.md lists every constant of the files of limits, with the value that stands there. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'

const root = new URL('../../../', import.meta.url)
const read = (path: string) => readFileSync(new URL(path, root), 'utf8')
const squeeze = (text: string) => text.replace(/\s+/g, ' ').trim()

/** Constant → value, of each section of the document, by the file in its heading. */
function documented(): Map<string, Map<string, string>> {
  const sections = new Map<string, Map<string, string>>()
  for (const section of read('docs/limits.md').split(/^### /m).slice(1)) {
    const rows = section.matchAll(/^\| (\w+) \| `([^`]*)` \|/gm)
    sections.set(
      section.split('\n', 1)[0] ?? '',
      new Map([...rows].map(([, name, value]) => [name ?? '', (value ?? '').replaceAll('\\|', '|')]))
    )
  }
  return sections
}

const files = [
  ...readdirSync(new URL('crates', root)).map((name) => `crates/${name}/src/limits.rs`),
  ...readdirSync(new URL('ts', root)).map((name) => `ts/${name}/limits.ts`)
].filter((path) => existsSync(new URL(path, root)))

function constants(path: string): Map<string, string> {
  const source = read(path)
  const found = path.endsWith('.rs')
    ? source.matchAll(/^pub const (\w+):[^=]+= ([^;]+);/gm)
    : source.matchAll(/^export const (\w+)(?:: [^=]+)? = ([^{\n][^\n]*|\{[^\n]*\} as const)$/gm)
  return new Map([...found].map(([, name, value]) => [name ?? '', squeeze(value ?? '')]))
}

describe('docs/limits.md', () => {
  const sections = documented()

  it('covers the rooms that have limits', () => {
    expect(files.length).toBeGreaterThanOrEqual(8)
    expect([...sections.keys()].filter((heading) => heading.includes('limits.'))).toEqual(expect.arrayContaining(files))
  })

  it.each(files)('has every constant of %s, with its value, and no other', (path) => {
    const inSource = constants(path)
    expect(inSource.size).toBeGreaterThan(0)
    const listed = sections.get(path) ?? new Map<string, string>()
    expect(Object.fromEntries([...listed].filter(([name]) => /^[A-Z]/.test(name)))).toEqual(Object.fromEntries(inSource))
  })

  it('has every field of the pool, with its value', () => {
    const body = /POOL_LIMITS: PoolLimits = \{([^}]*)\}/.exec(read('ts/churn/limits.ts'))?.[1] ?? ''
    const fields = [...body.matchAll(/(\w+): ([\d_.]+)/g)]
    expect(fields.length).toBeGreaterThan(30)
    const listed = sections.get('ts/churn/limits.ts')
    for (const [, name, value] of fields) expect([name, listed?.get(name ?? '')]).toEqual([name, value])
  })

  it('says of each which test reaches it, or that none does', () => {
    for (const [, row] of read('docs/limits.md').matchAll(/^\| (\w+ \| `.*)$/gm)) {
      const cells = (row ?? '').split(/(?<!\\)\|/).map((cell) => cell.trim())
      expect([cells[0], (cells[cells.length - 2] ?? '').length > 3]).toEqual([cells[0], true])
    }
  })
})
