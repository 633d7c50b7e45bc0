/** docs/errors.md is the registry, the classes, and what the proxies answer. */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { ERROR_REGISTRY, errorFromCode } from '../../../ts/errors/index.js'

const read = (path: string) => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8')

const rows = [...read('docs/errors.md').matchAll(/^\| (ERR_ANONNET_\w+) \|(.*)\|$/gm)].map(([, code = '', rest = '']) => {
  const [blame, retry, socks, http, type, advice] = rest.split('|').map((cell) => cell.trim())
  return { code, blame, retry, socks, http, type, advice }
})

/** Kind → code, from the Rust registry. */
const codeOfKind = new Map(
  [...read('crates/errors/src/lib.rs').matchAll(/^\s+(\w+) = "([A-Z_]+)", \w+, \w+, "/gm)].map(([, kind, code]) => [
    kind,
    `ERR_ANONNET_${code}`
  ])
)

/** What a Rust `match` on kinds answers: by code, and `_` for the rest. */
function answers(source: string, from: string): Map<string | undefined, string> {
  const start = source.indexOf(from)
  expect(start).toBeGreaterThan(0)
  const text = source.slice(start)
  const body = text.slice(0, text.search(/_ => [^\n]*\n/) + 60)
  const found = new Map<string | undefined, string>()
  for (const [, kinds = '', answer = ''] of body.matchAll(/((?:\s*\|?\s*ErrorKind::\w+)+)\s*=>\s*(?:Self::)?(\w+)/g)) {
    for (const [, kind] of kinds.matchAll(/ErrorKind::(\w+)/g)) found.set(codeOfKind.get(kind ?? ''), answer)
  }
  found.set('_', /_ => (?:Self::)?(\w+)/.exec(body)?.[1] ?? '')
  return found
}

describe('docs/errors.md', () => {
  it('is the registry, entry by entry', () => {
    expect(rows.map(({ code, blame, retry, advice }) => ({ code, blame, retry, advice }))).toEqual([...ERROR_REGISTRY])
  })

  it('names the class of each code', () => {
    for (const { code, type } of rows) expect([code, type]).toEqual([code, errorFromCode(code).name])
  })

  it('has the SOCKS replies that the proxy gives', () => {
    const source = read('crates/engine/src/proxy/socks.rs')
    const numbers = new Map(
      [...source.matchAll(/^ {4}(\w+) = 0x([0-9a-f]{2}),/gm)].map(([, name, number]) => [name, String(Number.parseInt(number ?? '', 16))])
    )
    const replies = answers(source, 'pub fn from_kind(kind')
    expect(replies.size).toBeGreaterThan(8)
    for (const { code, socks } of rows) {
      expect([code, socks?.split(' ')[0]]).toEqual([code, numbers.get(replies.get(code) ?? replies.get('_') ?? '')])
    }
  })

  it('has the HTTP statuses that the proxy gives', () => {
    const statuses = answers(read('crates/engine/src/proxy/http.rs'), 'pub fn status_of')
    expect(statuses.size).toBeGreaterThan(8)
    for (const { code, http } of rows) expect([code, http]).toEqual([code, statuses.get(code) ?? statuses.get('_')])
  })
})
