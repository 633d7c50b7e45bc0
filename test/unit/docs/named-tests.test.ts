/** The tests that docs/security.md and docs/limits.md name exist. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const sources = (folder: string, end: string) =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(end) && !name.includes('node_modules'))
    .map((name) => readFileSync(join(root, folder, name), 'utf8'))

const functions = sources('crates', '.rs').flatMap((text) => [...text.matchAll(/\bfn (\w+)/g)].map(([, name]) => name ?? ''))
const titles = sources('test', '.test.ts').join('\n')

/** Rows of tables; the last cell names tests. */
const cells = (path: string) =>
  [...readFileSync(join(root, path), 'utf8').matchAll(/^\|(.*)\|$/gm)].map(([, row]) => (row ?? '').split(/(?<!\\)\|/).pop() ?? '')

describe.each(['docs/security.md', 'docs/limits.md'])('%s', (path) => {
  it('names Rust tests that exist', () => {
    const named = cells(path).flatMap((cell) => [...cell.matchAll(/`([a-z0-9]+(?:_[a-z0-9]+){2,}_?…?)`/g)].map(([, name]) => name ?? ''))
    expect(named.length).toBeGreaterThan(20)
    const missing = named.filter(
      (name) => !functions.some((one) => (name.endsWith('…') ? one.startsWith(name.slice(0, -1)) : one === name))
    )
    expect(missing).toEqual([])
  })

  it('names TypeScript tests that exist', () => {
    const named = cells(path).flatMap((cell) => [...cell.matchAll(/"([^"]+)"/g)].map(([, title]) => title ?? ''))
    expect(named.length).toBeGreaterThan(10)
    const missing = named.filter((title) => !title.split('…').every((part) => titles.includes(part.trim())))
    expect(missing).toEqual([])
  })
})

it('docs/security.md has all 54 attacks, each with what meets it or that nothing does yet', () => {
  const numbers = [...readFileSync(join(root, 'docs/security.md'), 'utf8').matchAll(/^\| (\d+) \| .+ \| .* \| \S.* \|$/gm)].map(
    ([, number]) => Number(number)
  )
  expect(numbers).toEqual(Array.from({ length: 54 }, (_, index) => index + 1))
})
