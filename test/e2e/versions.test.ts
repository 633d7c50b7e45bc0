/** The built package on this Node and on Node 22, as ES module and by require(). */

import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestnet, type Testnet } from '../../ts/index.js'
import { node22 } from '../helpers/other-node.js'
import { root, start } from '../helpers/processes.js'
import { type Target, web } from '../helpers/servers.js'

let net: Testnet
let site: Target
beforeAll(async () => {
  net = await createTestnet(4)
  site = await web()
})
afterAll(async () => {
  await net?.close()
  await site?.close()
})

const file = join(root, 'dist', 'index.js')
const forms = {
  import: {
    flags: ['--input-type=module'],
    load: `const { createNode, isAnonNetError } = await import(${JSON.stringify(pathToFileURL(file).href)})`
  },
  require: { flags: ['--input-type=commonjs'], load: `const { createNode, isAnonNetError } = require(${JSON.stringify(file)})` }
}

/** What a program does with a node, printed as one line of JSON. */
const script = (load: string): string => `(async () => {
  ${load}
  const node = await createNode(${JSON.stringify({ bootstrap: net.bootstrap, testNetwork: net.testNetwork })})
  const url = ${JSON.stringify(`http://127.0.0.1:${site.port}/5/3000`)}
  const fetched = (await (await fetch(url, { dispatcher: node.dispatcher() })).arrayBuffer()).byteLength
  const got = await new Promise((resolve, reject) => {
    require_http().get(url, { agent: node.agent({ isolate: 'a' }) }, (response) => {
      let length = 0
      response.on('data', (data) => { length += data.length }).on('end', () => resolve(length))
    }).on('error', reject)
  })
  await node.dormant()
  await node.wake()
  const failed = await node.connect('127.0.0.1:1').catch((error) => isAnonNetError(error) && error.code)
  console.log(JSON.stringify({ fetched, got, failed, major: process.versions.node.split('.')[0] }))
})()
function require_http() { return process.getBuiltinModule('node:http') }
`

async function run(binary: string, form: keyof typeof forms): Promise<{ exit: number | string; err: string; out: string }> {
  const { flags, load } = forms[form]
  const child = start(binary, [...flags, '-e', script(load)])
  const timer = setTimeout(() => child.process.kill('SIGKILL'), 20_000)
  const exit = await child.exit
  clearTimeout(timer)
  return { exit, err: child.stderr(), out: child.stdout() }
}

const other = node22()
const versions = [
  { name: 'this Node', binary: process.execPath, major: process.versions.node.split('.')[0] },
  { name: 'Node 22', binary: other, major: '22' }
]

describe.each(versions)('on $name', ({ binary, major }) => {
  // No process.close: it ends by itself, with idle keep-alive connections open.
  it.skipIf(binary === undefined).each(['import', 'require'] as const)('%s works, and the process ends by itself', async (form) => {
    const { exit, out, err } = await run(binary!, form)
    expect(err.replace(/^\(node:\d+\) ExperimentalWarning: .*\n\(Use .*\n/gm, '')).toBe('')
    expect(exit).toBe(0)
    expect(JSON.parse(out)).toEqual({ fetched: 3000, got: 3000, failed: 'ERR_ANONNET_STREAM_REFUSED', major })
  })
})
