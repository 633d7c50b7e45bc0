// AnonNet: the dialler's end is the Duplex of `node.connect`, the other end a socket behind the exit; three relays in a process of their own.
import { once } from 'node:events'
import { createServer } from 'node:net'
import { createNode } from '../../dist/index.js'
import { duplexSide } from './duplex.mjs'

export async function listen(onBytes, onSide) {
  const server = createServer({ noDelay: true }, (socket) => onSide(duplexSide(socket, onBytes)))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { port: server.address().port }
}

export async function dial({ port, network }, onBytes) {
  const node = await createNode(network)
  return duplexSide(await node.connect({ host: '127.0.0.1', port }), onBytes)
}
