// node:tls over TCP: what a program gets without any of the others.
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, createServer } from 'node:tls'
import { duplexSide } from './duplex.mjs'

const fixture = (name) => readFileSync(new URL(`../../test/fixtures/${name}`, import.meta.url))

export async function listen(onBytes, onSide) {
  const options = { cert: fixture('localhost.pem'), key: fixture('localhost-key.pem'), noDelay: true }
  const server = createServer(options, (socket) => onSide(duplexSide(socket, onBytes)))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { port: server.address().port }
}

export async function dial({ port }, onBytes) {
  const socket = connect({ host: '127.0.0.1', port, ca: fixture('localhost.pem'), servername: 'localhost' })
  await once(socket, 'secureConnect')
  socket.setNoDelay(true)
  return duplexSide(socket, onBytes)
}
