// A WebSocket server behind a .anon address, and its client: the package `ws` on both sides.
import { once } from 'node:events'
import { createServer } from 'node:http'
import { createTestnet } from 'anonnet'
import { WebSocket, WebSocketServer } from 'ws'

const net = await createTestnet()
const [host, visitor] = await Promise.all([net.createNode(), net.createNode()])

const server = createServer()
const sockets = new WebSocketServer({ server })
sockets.on('connection', (socket) => socket.on('message', (data) => socket.send(`echo: ${data}`)))
const service = await host.listen({ port: 80 }, (socket) => server.emit('connection', socket))

const socket = new WebSocket(`ws://${service.address}/`, { agent: visitor.agent() })
await once(socket, 'open')
for (const text of ['hello', 'who are you?']) {
  socket.send(text)
  const [message] = await once(socket, 'message')
  console.log(String(message))
}

socket.close()
await once(socket, 'close')
await net.close()
