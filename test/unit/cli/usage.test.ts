import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { main } from '../../../ts/cli/program.js'
import { temporaryFolder } from '../../helpers/folder.js'
import { testIo } from '../../helpers/io.js'

const entry = `${'ab'.repeat(32)}@127.0.0.1:9501`
const folder = temporaryFolder()

describe('wrong usage ends with 2 and says what is wrong', () => {
  it.each([
    [['rely'], 'Did you mean relay?'],
    [['run', '--sock', '127.0.0.1:0'], 'Did you mean --socks?'],
    [['run', 'extra'], 'too many arguments'],
    [['run'], 'which network?'],
    [['relay', '--listen', '127.0.0.1:0'], 'which network?'],
    [['run', '--bootstrap', 'nobody'], 'expected a list of <public key>@ip:port'],
    [['run', '--bootstrap', entry, '--socks', 'localhost:9050'], '--socks: expected ip:port'],
    [['run', '--bootstrap', entry, '--log-level', 'loud'], 'Allowed choices are error, warn, info, debug, silent'],
    [['run', '--bootstrap', entry, '--drain-ms', 'soon'], "expected a whole number, not 'soon'"],
    [['relay', '--bootstrap', entry, '--list-interval-ms', '10'], '--list-interval-ms: expected milliseconds'],
    [['relay', '--bootstrap', entry], '0.0.0.0:9501 is no address that others can use'],
    [['relay', '--bootstrap', entry, '--listen', '[::]:9501'], '--advertise'],
    [['relay', '--bootstrap', entry, '--listen', '127.0.0.1:0', '--exit-policy', 'accept *:80'], 'an exit policy needs --exit'],
    [
      ['relay', '--bootstrap', entry, '--listen', '127.0.0.1:0', '--exit', '--exit-policy', 'allow all'],
      '--exit-policy: expected a list of lines'
    ],
    [['relay', '--bootstrap', entry, '--listen', '127.0.0.1:0', '--bandwidth-burst-bytes', '5'], 'needs --bandwidth-rate-bytes'],
    [['fetch'], "missing required argument 'url'"],
    [['fetch', 'ftp://example.org/'], 'not of the form host:port'],
    [['fetch', 'http://example.org/', '--json'], 'say -o FILE'],
    [['demo', '--url', 'not a url'], 'expected an http or https URL'],
    [['keys', 'new'], "required option '-o, --out <file>' not specified"],
    [['keys', 'shwo', 'x'], 'Did you mean show?']
  ])('%j', async (args, words) => {
    const io = testIo()
    expect(await main(args, io)).toBe(2)
    expect(io.err()).toContain(words)
    expect(io.out()).not.toContain('Usage')
  })

  it('names the nearest key of a file, and of the environment', async () => {
    const file = join(folder, 'bad.toml')
    writeFileSync(file, '[relay]\nlistem = "127.0.0.1:0"\n')
    const io = testIo()
    expect(await main(['relay', '--config', file], io)).toBe(2)
    expect(io.err()).toContain('did you mean relay.listen?')
    const other = testIo({ ANONNET_CLIENT_SOCKSS: '127.0.0.1:1' })
    expect(await main(['run'], other)).toBe(2)
    expect(other.err()).toContain('did you mean ANONNET_CLIENT_SOCKS?')
  })
})

describe('failures end with 1', () => {
  it('when a configuration file is not there', async () => {
    const io = testIo()
    expect(await main(['run', '--config', join(folder, 'absent.toml')], io)).toBe(1)
    expect(io.err()).toContain('the configuration file could not be read')
  })

  it.each(['status', 'circuits'])('when no node answers %s', async (verb) => {
    const io = testIo()
    expect(await main([verb, '--state-dir', folder], io)).toBe(1)
    expect(io.err()).toContain('no node answers there')
    const anywhere = testIo({ XDG_STATE_HOME: folder })
    expect(await main([verb, '--control', join(folder, 'no.sock')], anywhere)).toBe(1)
  })
})

describe('errors', () => {
  it('come as JSON on stdout with --json, with the stable code', async () => {
    const io = testIo()
    expect(await main(['status', '--json', '--state-dir', folder], io)).toBe(1)
    expect(JSON.parse(io.out())).toEqual({ error: { code: 'ERR_ANONNET_NOT_FOUND', message: expect.any(String) } })
    const usage = testIo()
    expect(await main(['run', '--json', '--bootstrap', 'x'], usage)).toBe(2)
    expect(JSON.parse(usage.out()).error.code).toBe('ERR_ANONNET_CONFIG_INVALID')
  })

  it.each([
    [{}, true, true],
    [{}, false, false],
    [{ NO_COLOR: '1' }, true, false],
    [{ NO_COLOR: '1', FORCE_COLOR: '1' }, true, false],
    [{ FORCE_COLOR: '1' }, false, true],
    [{ CLICOLOR: '0' }, true, false],
    [{ TERM: 'dumb' }, true, false]
  ])('with %j and a terminal: %s are coloured: %s', async (environment, terminal, coloured) => {
    const io = testIo(environment as Record<string, string>, terminal)
    await main(['run'], io)
    expect(io.err().includes('\u001b[')).toBe(coloured)
  })
})
