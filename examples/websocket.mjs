// A WebSocket through three relays, with the package `ws`.
import { once } from 'node:events'
import { createTestnet } from 'anonnet'
import { WebSocket, WebSocketServer } from 'ws'
import { startSite } from './site.mjs'

const net = await createTestnet()
const node = await net.createNode()
const echo = new WebSocketServer({ noServer: true })
echo.on('connection', (socket) => socket.on('message', (data) => socket.send(`echo: ${data}`)))
const site = await startSite({
  onUpgrade: (request, socket, head) => echo.handleUpgrade(request, socket, head, (client) => echo.emit('connection', client))
})

const socket = new WebSocket(site.url.replace('http', 'ws'), { agent: node.agent({ isolate: 'chat' }) })
await once(socket, 'open')
socket.send('hello')
const [message] = await once(socket, 'message')
console.log(String(message))

socket.close()
await once(socket, 'close')
site.close()
await net.close()
