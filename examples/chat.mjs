// A chat room as a .anon service: nobody in it can tell where the room or the others are. Each line goes to everybody else.
import { createInterface } from 'node:readline'
import { createTestnet } from 'anonnet'

const net = await createTestnet()
const [host, alice, bob] = await Promise.all([net.createNode(), net.createNode(), net.createNode()])

const present = new Set()
const room = await host.listen({ port: 6667 }, (socket) => {
  present.add(socket)
  socket.on('close', () => present.delete(socket))
  createInterface({ input: socket }).on('line', (line) => {
    for (const other of present) if (other !== socket) other.write(`${line}\n`)
  })
  socket.write('welcome\n')
})

/** Joins under a name; what is said to it is printed. */
async function join(node, name) {
  const socket = await node.connect(`${room.address}:6667`)
  const lines = createInterface({ input: socket })[Symbol.asyncIterator]()
  const hear = async () => console.log(`${name} hears: ${(await lines.next()).value}`)
  await hear()
  return { hear, say: (text) => socket.write(`${name}: ${text}\n`), leave: () => socket.destroy() }
}
const a = await join(alice, 'alice')
const b = await join(bob, 'bob')
a.say('hello, whoever you are')
await b.hear()
b.say('hello, wherever you are')
await a.hear()

a.leave()
b.leave()
await net.close()
