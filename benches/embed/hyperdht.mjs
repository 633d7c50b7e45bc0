// hyperdht: a key, a duplex (UDP, Noise), found through a small DHT that the listener's process holds.
import { once } from 'node:events'
import DHT from 'hyperdht'
import createTestnet from 'hyperdht/testnet.js'
import { duplexSide } from './duplex.mjs'

// No firewall stands between them: said, since its test of that fails where both ends have one address, and then it waits for a hole to be punched.
const OPEN = { host: '127.0.0.1', firewalled: false }

export async function listen(onBytes, onSide) {
  const { bootstrap } = await createTestnet(3)
  const dht = new DHT({ ...OPEN, bootstrap })
  const server = dht.createServer((socket) => onSide(duplexSide(socket, onBytes)))
  await server.listen()
  return { bootstrap, key: server.publicKey.toString('hex') }
}

export async function dial({ bootstrap, key }, onBytes) {
  const socket = new DHT({ ...OPEN, bootstrap }).connect(Buffer.from(key, 'hex'))
  await once(socket, 'open')
  return duplexSide(socket, onBytes)
}
