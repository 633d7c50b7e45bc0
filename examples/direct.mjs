// NOT anonymous: two programs that may know each other's address, over one encrypted link that no relay carries.
import { createTestnet } from 'anonnet'

const net = await createTestnet()
const [server, client] = await Promise.all([net.createNode(), net.createNode()])

const listener = await server.listenDirect({ listen: '127.0.0.1:0' }, (socket, peer) => {
  console.log('proved who it is:', /^[0-9a-f]{64}$/.test(peer.nodeId))
  socket.pipe(socket)
})
console.log('address:', listener.address.replace(/^[0-9a-f]{64}@127\.0\.0\.1:\d+$/, '<id>@ip:port'))

const socket = await client.connectDirect(listener.address)
socket.end('hello, neighbour')
for await (const chunk of socket) console.log(String(chunk))

// Another id at the same address: whoever answers there is not believed.
const other = `${'0'.repeat(64)}${listener.address.slice(64)}`
await client.connectDirect(other).catch(({ code }) => console.log(code))
await net.close()
