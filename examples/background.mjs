// A program that goes to the background: the node sleeps, sends nothing and wakes when it is used.
import { createTestnet } from 'anonnet'
import { startSite } from './site.mjs'

const net = await createTestnet()
const node = await net.createNode()
const site = await startSite()
const { host } = new URL(site.url)

await node.dormant()
const { links, circuits } = node.status()
console.log('asleep:', node.asleep, 'links:', links, 'circuits:', circuits.ready)

const socket = await node.connect(host) // wakes it; node.wake() does so ahead of need
console.log('asleep:', node.asleep)
socket.destroy()

site.close()
await net.close()
