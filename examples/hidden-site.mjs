// A web site behind a .anon address, made by node:http; the server itself listens nowhere. With the same key it comes back under its address.

import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createTestnet } from 'anonnet'

const net = await createTestnet()
const [host, visitor] = await Promise.all([net.createNode(), net.createNode()])
const stateDir = await mkdtemp(join(tmpdir(), 'hidden-site-'))

const server = createServer((request, response) => response.end(`you asked for ${request.url}, and I do not know where you are\n`))
const publish = () => host.listen({ port: 80, stateDir }, (socket) => server.emit('connection', socket))
const site = await publish()
console.log('address:', /^[a-z2-7]{56}\.anon$/.test(site.address) ? 'well-formed' : site.address)

const page = await fetch(`http://${site.address}/page`, { dispatcher: visitor.dispatcher() })
console.log(page.status, (await page.text()).trim())
const image = await fetch(`http://images.${site.address}.alt/1.png`, { dispatcher: visitor.dispatcher() })
console.log(image.status, (await image.text()).trim())

await site.close()
const again = await publish()
console.log('the same address after a restart:', again.address === site.address)

await net.close()
await rm(stateDir, { recursive: true })
