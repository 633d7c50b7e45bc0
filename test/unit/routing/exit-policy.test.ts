import { describe, expect, it } from 'vitest'
import { exitAccepts, parseExitPolicy, policyAccepts } from '../../../ts/routing/index.js'
import { EXIT_POLICY_MAX_LINES } from '../../../ts/routing/limits.js'
import { relay } from './relays.js'

const allows = (lines: readonly string[], host: string, port: number): boolean => {
  const policy = parseExitPolicy(lines)
  if (policy === undefined) throw new Error('malformed policy')
  return policyAccepts(policy, { host, port })
}

describe('parseExitPolicy', () => {
  it.each([
    'accept',
    'accept *',
    'accept *:',
    'allow *:80',
    'Accept *:80',
    'accept  *:80',
    ' accept *:80',
    'accept *:80 ',
    'accept *:0',
    'accept *:65536',
    'accept *:90-80',
    'accept *:80,',
    'accept *:80-',
    'accept *:*,80',
    'accept *:-80',
    'accept 10.0.0.0/33:*',
    'accept 10.0.0:*',
    'accept [::1]/129:*',
    'accept ::1:80',
    'accept [::1/64]/64:*',
    'accept example.org:80',
    'accept [::ffff:10.0.0.0]/95:*',
    'accept *:80\nreject *:*',
    `accept *:${'80,'.repeat(200)}80`
  ])('refuses %j', (line) => {
    expect(parseExitPolicy(['accept *:443', line])).toBeUndefined()
  })

  it('has a limit of lines', () => {
    const lines = (count: number) => new Array<string>(count).fill('accept *:80')
    expect(parseExitPolicy(lines(EXIT_POLICY_MAX_LINES))?.rules).toHaveLength(EXIT_POLICY_MAX_LINES)
    expect(parseExitPolicy(lines(EXIT_POLICY_MAX_LINES + 1))).toBeUndefined()
  })
})

describe('policyAccepts', () => {
  it('takes the first line that matches, and rejects without one', () => {
    const lines = ['reject *:25', 'accept *:20-30,80', 'reject *:80', 'accept *:443']
    expect([25, 20, 30, 31, 80, 443, 1].map((port) => allows(lines, 'example.org', port))).toEqual([
      false,
      true,
      true,
      false,
      true,
      true,
      false
    ])
    expect(allows([], 'example.org', 80)).toBe(false)
  })

  it('matches addresses by network, in every way of writing them', () => {
    const lines = [
      'reject 10.0.0.0/8:*',
      'reject [fc00::]/7:*',
      'reject [2001:db8::/32]:80',
      'reject 192.0.2.7:*',
      'reject [::1]:*',
      'accept *:*'
    ]
    const refused = ['10.1.2.3', '192.0.2.7', 'fd00::1', '[fd00::1]', '2001:db8::5', '::1', '::ffff:10.0.0.1']
    for (const host of refused) expect([host, allows(lines, host, 80)]).toEqual([host, false])
    for (const host of ['11.1.2.3', '192.0.2.8', '2001:db9::5', '::2']) expect([host, allows(lines, host, 80)]).toEqual([host, true])
    expect(allows(lines, '2001:db8::5', 81)).toBe(true)
    expect(allows(['reject [::ffff:10.0.0.0]/104:*', 'accept *:*'], '10.9.9.9', 80)).toBe(false)
  })

  it('goes by port only for names, as their address is not known here', () => {
    expect(allows(['reject 10.0.0.0/8:*', 'accept *:80'], 'example.org', 80)).toBe(true)
    expect(allows(['accept 192.0.2.7:80', 'reject *:*'], 'example.org', 80)).toBe(false)
    expect(allows(['reject 0.0.0.0/0:*', 'accept *:*'], 'example.org', 80)).toBe(true)
    expect(allows(['reject 0.0.0.0/0:*', 'reject [::]/0:*', 'accept *:*'], 'example.org', 80)).toBe(false)
    expect(allows(['accept 0.0.0.0/0:80'], 'example.org', 80)).toBe(true)
  })
})

describe('exitAccepts', () => {
  it('asks for the roles and a policy that can be read', () => {
    const target = { host: 'example.org', port: 80 }
    expect(exitAccepts(relay({ n: 1, exit: true }), target)).toBe(true)
    expect(exitAccepts(relay({ n: 1, exit: false, exitPolicy: ['accept *:*'] }), target)).toBe(false)
    expect(exitAccepts(relay({ n: 1, exit: true, relay: false }), target)).toBe(false)
    expect(exitAccepts(relay({ n: 1, exit: true, exitPolicy: ['accept *:*', 'nonsense'] }), target)).toBe(false)
  })

  it('without a target asks whether anything at all is let through', () => {
    const any = (...exitPolicy: string[]) => exitAccepts(relay({ n: 1, exit: true, exitPolicy }))
    expect(any('reject *:25', 'accept *:80')).toBe(true)
    expect(any('reject *:*', 'accept *:80')).toBe(false)
    expect(any('reject *:1-65535', 'accept *:80')).toBe(false)
    expect(any('reject *:*')).toBe(false)
    expect(any()).toBe(false)
  })
})
