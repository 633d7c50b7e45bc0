import { describe, expect, it } from 'vitest'
import { createProgram, main } from '../../../ts/cli/program.js'
import { testIo } from '../../helpers/io.js'

const verbs = ['demo', 'run', 'relay', 'bootstrap', 'service', 'fetch', 'status', 'circuits', 'keys']
const keyVerbs = ['new', 'show', 'rotate', 'export', 'import', 'auth']

async function help(...args: string[]): Promise<string> {
  const io = testIo()
  expect(await main([...args, '--help'], io)).toBe(0)
  expect(io.err()).toBe('')
  return io.out()
}

describe('help', () => {
  it('lists the verbs that there are, and no others', async () => {
    const visible = createProgram(testIo()).createHelp().visibleCommands(createProgram(testIo()))
    expect(visible.map((command) => command.name())).toEqual([...verbs, 'help'])
    expect(await help()).toMatchSnapshot()
  })

  it.each(verbs)('%s', async (verb) => {
    const text = await help(verb)
    expect(text).toContain(`Usage: anonnet ${verb}`)
    expect(text).toMatch(new RegExp(`Example:\\n(?: {2}.*\\n)* {2}\\$ anonnet ${verb}`))
    expect(text).toMatchSnapshot()
  })

  it.each(keyVerbs)('keys %s', async (verb) => {
    const text = await help('keys', verb)
    expect(text).toMatch(new RegExp(`Example:\\n {2}\\$ anonnet keys ${verb}`))
    expect(text).toMatchSnapshot()
  })

  it('fits a terminal', async () => {
    const texts = await Promise.all([help(), ...verbs.map((verb) => help(verb))])
    for (const line of texts.join('\n').split('\n')) expect(line.length).toBeLessThanOrEqual(120)
  })

  it('every example is a command line that parses', async () => {
    const texts = await Promise.all([help(), ...verbs.map((verb) => help(verb)), ...keyVerbs.map((verb) => help('keys', verb))])
    for (const [, line = ''] of texts.join('\n').matchAll(/^ {2}\$ anonnet (.+)$/gm)) {
      const program = createProgram(testIo())
      const [verb = '', second = ''] = line.split(' ')
      const command = program.commands.find((item) => item.name() === verb)
      const leaf = command?.commands.find((item) => item.name() === second) ?? command
      const known = new Set(leaf?.options.flatMap((option) => [option.long, option.short]))
      for (const flag of line.split(' ').filter((word) => word.startsWith('-'))) expect(known).toContain(flag)
      expect(leaf, line).toBeDefined()
    }
  })

  it('is what an empty command line prints, as wrong usage', async () => {
    const io = testIo()
    expect(await main([], io)).toBe(2)
    expect(io.err()).toContain('Usage: anonnet')
  })
})
