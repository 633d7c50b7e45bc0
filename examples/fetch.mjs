// Node's own fetch through three relays. The name in the URL is resolved at the exit, never here.
import { createTestnet } from 'anonnet'
import { startSite } from './site.mjs'

const net = await createTestnet()
const node = await net.createNode() // on a real network: createNode({ bootstrap: [...] })
const site = await startSite()

const dispatcher = node.dispatcher()
const response = await fetch(`${site.url}/page`, { dispatcher, signal: AbortSignal.timeout(10_000) })
console.log(response.status, (await response.text()).trim())

// What goes wrong below fetch is the cause of its TypeError, with a stable code.
try {
  await fetch('http://no-such-name.invalid/', { dispatcher })
} catch (error) {
  console.log(error.cause.code, error.cause.retry)
}

site.close()
await net.close()
