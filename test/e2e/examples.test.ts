/** Every example runs as it stands, in a process of its own, and says what it is there to show. */

import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { root, start } from '../helpers/processes.js'

const said: Record<string, string[]> = {
  'background.mjs': ['asleep: true links: 0 circuits: 0', 'asleep: false'],
  'chat.mjs': [
    'alice hears: welcome',
    'bob hears: welcome',
    'bob hears: alice: hello, whoever you are',
    'alice hears: bob: hello, wherever you are'
  ],
  'direct.mjs': ['address: <id>@ip:port', 'proved who it is: true', 'hello, neighbour', 'ERR_ANONNET_LINK_IDENTITY'],
  'fastify.mjs': ['200 {"hello":"world"}', '404 Route GET:/missing not found'],
  'fetch.mjs': ['200 hello from /page', 'ERR_ANONNET_NAME_NOT_RESOLVED later'],
  'file-drop.mjs': ['dropped: 2000000 bytes, unharmed: true', 'a stranger: ERR_ANONNET_CLIENT_AUTH'],
  'hidden-site.mjs': [
    'address: well-formed',
    '200 you asked for /page, and I do not know where you are',
    '200 you asked for /1.png, and I do not know where you are',
    'the same address after a restart: true'
  ],
  'http-agent.mjs': ['hello from /one', 'hello from /two', 'hello from /three', 'streams: 1'],
  'in-a-worker.mjs': ['hello from /from-a-worker', 'ERR_ANONNET_NAME_NOT_RESOLVED'],
  'two-tabs.mjs': ['hello from /mail | hello from /news', 'same tab, same circuit: true', 'other tab, same circuit: false'],
  'websocket-service.mjs': ['echo: hello', 'echo: who are you?'],
  'websocket.mjs': ['echo: hello']
}

describe('the examples', () => {
  it('are these', () => {
    const files = readdirSync(join(root, 'examples')).filter((name) => name.endsWith('.mjs') && name !== 'site.mjs')
    expect(files.sort()).toEqual(Object.keys(said).sort())
  })

  it.each(Object.entries(said))(
    '%s',
    async (name, lines) => {
      const child = start(process.execPath, [join('examples', name)])
      const timer = setTimeout(() => child.process.kill('SIGKILL'), 60_000)
      const exit = await child.exit
      clearTimeout(timer)
      expect([exit, child.stderr(), child.stdout().trim().split('\n')]).toEqual([0, '', lines])
    },
    70_000
  )
})
