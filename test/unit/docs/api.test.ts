/** docs/api.md names what the package has, and no code that does not exist. */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { DIAGNOSTIC_TYPES } from '../../../ts/diagnostics/index.js'
import { ERROR_CLASSES, isErrorCode } from '../../../ts/errors/index.js'
import * as api from '../../../ts/index.js'
import { AnonNode } from '../../../ts/node/client.js'
import { ProxyListener } from '../../../ts/node/proxy-listener.js'
import { AnonSocket } from '../../../ts/node/socket.js'

const text = readFileSync(new URL('../../../docs/api.md', import.meta.url), 'utf8')
const named = (name: string): boolean => new RegExp(`\\b${name}\\b`).test(text)

/** Members of a class and of those above it, as far as they are ours and not marked internal. */
function members(type: { prototype: object }): string[] {
  const names: string[] = []
  for (let at = type.prototype; at !== null && !/^(Duplex|Object)$/.test(at.constructor.name); at = Object.getPrototypeOf(at)) {
    names.push(...Object.getOwnPropertyNames(at))
  }
  // Of streams, and of node kinds among themselves.
  const internal =
    /^(constructor|emit|_.*|begin|stop|hold|assertOpen|progress|baseStatus|bootstrapStatus|openControl|onCommonEvent|defaultDrainMs|(prepare|sleep|stop)Services|service(Circuit|Failed)|openService|onServiceEvent)$/
  return [...new Set(names)].filter((name) => !internal.test(name))
}

describe('docs/api.md', () => {
  it('names every function of the package and every member of a client, its sockets and its proxies', () => {
    const classes: string[] = ERROR_CLASSES.map(({ name }) => name)
    const functions = Object.keys(api).filter((name) => !classes.includes(name))
    // What net.Socket has and nobody calls by name.
    const plain = ['timeout', 'remoteFamily', 'remotePort', 'proxies']
    const all = [...functions, ...members(AnonNode), ...members(AnonSocket), ...members(ProxyListener)]
    expect(all.length).toBeGreaterThan(40)
    expect(all.filter((name) => !named(name) && !plain.includes(name))).toEqual([])
  })

  it('names every type of event', () => {
    expect(DIAGNOSTIC_TYPES.filter((type) => !text.includes(`\`${type}\``))).toEqual([])
  })

  it('names only codes of the registry', () => {
    const codes = [...text.matchAll(/\b[A-Z]{2,}(?:_[A-Z]+)+\b/g)].map(([code]) => code).filter((code) => !code.startsWith('ERR_'))
    expect(codes.length).toBeGreaterThan(20)
    expect(codes.filter((code) => !isErrorCode(`ERR_ANONNET_${code}`))).toEqual([])
  })
})
