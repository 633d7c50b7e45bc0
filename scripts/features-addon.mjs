// `node scripts/features-addon.mjs ADDON FEATURE…`: that an addon has these parts and no others, and says which one a call lacks.
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'

const [file, ...features] = process.argv.slice(2)
const addon = createRequire(import.meta.url)(file)
assert.deepEqual(addon.version().features, features)

const has = (feature) => features.includes(feature)
const open = []
const start = (options) => {
  const node = new addon.NativeNode({ listen: '127.0.0.1:0', ...options }, () => undefined)
  open.push(node)
  return node
}
/** What is built works; what is not says so, and names the part. */
function check(feature, call) {
  if (has(feature)) return call()
  assert.throws(call, (error) => error.code === 'ERR_ANONNET_NOT_BUILT' && error.message.endsWith(`(${feature})`), feature)
  return undefined
}
async function answer(node, op) {
  const deadline = Date.now() + 10_000
  while (Date.now() < deadline) {
    for (const event of node.drain()) if ('op' in event && event.op === op) return event
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  throw new Error(`operation ${op} was not answered in 10 s`)
}

const relay = start({ roles: { relay: true, exit: false, bootstrap: false } })
check('exit', () => start({ roles: { relay: true, exit: true, bootstrap: false } }))
check('exit', () => start({ exitPolicy: ['accept *:443'] }))
check('metrics', () => assert.equal(relay.snapshot().relay.circuits, 0))
assert.deepEqual(relay.circuits(), [])
if (check('proxy', () => relay.listenProxy(1, '127.0.0.1:0') === undefined)) {
  const bound = await answer(relay, 1)
  assert.equal(bound.type, 'opOk')
  assert.equal(relay.closeProxy(bound.number), true)
}
assert.equal(relay.closeProxy(77), false)
assert.equal(relay.attach(77, 77), false)
assert.equal(relay.refuse(77, 'ERR_ANONNET_TIMEOUT'), false)

// Whatever was left out, nodes talk, and a circuit is built through a relay.
const client = new addon.NativeNode({ allowPrivate: true }, () => undefined)
open.push(client)
client.buildCircuit(2, [{ nodeId: relay.nodeId(), onionKey: relay.onionKey(), address: relay.localAddress() }], 9_000)
const built = await answer(client, 2)
assert.equal(built.type, 'opOk')
assert.deepEqual(
  client.circuits().map(({ id }) => id),
  [built.number]
)
// No relay without the role of an exit opens anything, and one without the part cannot have the role.
client.connect(3, built.number, '127.0.0.1', 9, 9_000)
const refused = await answer(client, 3)
assert.deepEqual([refused.type, refused.code], ['opFailed', 'ERR_ANONNET_EXIT_POLICY'])
for (const node of open) {
  node.close(9, 0)
  await answer(node, 9)
}
