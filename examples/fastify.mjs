// An existing Fastify app, published in three lines. An Express app goes the same way: http.createServer(app) takes the sockets.
import { createTestnet } from 'anonnet'
import Fastify from 'fastify'

const net = await createTestnet()
const [node, visitor] = await Promise.all([net.createNode(), net.createNode()])

// The app as it was.
const app = Fastify()
app.get('/hello/:name', async (request) => ({ hello: request.params.name }))

// The three lines.
await app.ready()
const service = await node.listen({ port: 80 }, (socket) => app.server.emit('connection', socket))
const url = `http://${service.address}`

const answer = await fetch(`${url}/hello/world`, { dispatcher: visitor.dispatcher() })
console.log(answer.status, JSON.stringify(await answer.json()))
const missing = await fetch(`${url}/missing`, { dispatcher: visitor.dispatcher() })
console.log(missing.status, (await missing.json()).message)

await net.close()
await app.close()
