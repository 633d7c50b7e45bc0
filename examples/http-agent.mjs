// node:http (and node:https, with the same object) through three relays. What takes an agent works so: axios, got, node-fetch.
import { get } from 'node:http'
import { text } from 'node:stream/consumers'
import { createTestnet } from 'anonnet'
import { startSite } from './site.mjs'

const net = await createTestnet()
const node = await net.createNode()
const site = await startSite()

const agent = node.agent()
const page = (path) =>
  new Promise((resolve, reject) => {
    get(site.url + path, { agent }, (response) => resolve(text(response))).once('error', reject)
  })

for (const path of ['/one', '/two', '/three']) console.log((await page(path)).trim())
// One connection served all three: one stream on one circuit.
console.log('streams:', node.status().circuits.streams)

agent.destroy()
site.close()
await net.close()
