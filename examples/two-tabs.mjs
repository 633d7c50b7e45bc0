// Two users of one node. Streams with different `isolate` values never share a circuit, so what one tab does cannot be tied to the other
// by the exit that sees both.
import { createTestnet } from 'anonnet'
import { startSite } from './site.mjs'

const net = await createTestnet()
const node = await net.createNode()
const site = await startSite()

async function visit(tab, path) {
  const response = await fetch(site.url + path, { dispatcher: node.dispatcher({ isolate: tab }) })
  return (await response.text()).trim()
}
console.log(await visit('tab-1', '/mail'), '|', await visit('tab-2', '/news'))

const target = new URL(site.url).host
const [one, again, two] = await Promise.all(['tab-1', 'tab-1', 'tab-2'].map((isolate) => node.connect(target, { isolate })))
console.log('same tab, same circuit:', one.circuit === again.circuit)
console.log('other tab, same circuit:', one.circuit === two.circuit)
for (const socket of [one, again, two]) socket.destroy()

site.close()
await net.close()
