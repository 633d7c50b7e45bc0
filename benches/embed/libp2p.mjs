// js-libp2p: TCP, Noise, Yamux, one stream.
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { tcp } from '@libp2p/tcp'
import { createLibp2p } from 'libp2p'

// js-libp2p asks for Node 22; of what Node 20 lacks, it needs this here.
Promise.withResolvers ??= () => {
  const all = {}
  all.promise = new Promise((resolve, reject) => Object.assign(all, { resolve, reject }))
  return all
}

const PROTOCOL = '/anonnet-bench/1'
const BLOCK = new Uint8Array(64 * 1024).fill(97)

const create = (listen) =>
  createLibp2p({ addresses: { listen }, transports: [tcp()], connectionEncrypters: [noise()], streamMuxers: [yamux()] })

function side(stream, onBytes) {
  stream.addEventListener('message', ({ data }) => onBytes(data.byteLength))
  return {
    async send(bytes) {
      for (let left = bytes; left > 0; left -= BLOCK.length) {
        if (!stream.send(left < BLOCK.length ? BLOCK.subarray(0, left) : BLOCK)) await stream.onDrain()
      }
    }
  }
}

export async function listen(onBytes, onSide) {
  const node = await create(['/ip4/127.0.0.1/tcp/0'])
  await node.handle(PROTOCOL, (stream) => onSide(side(stream, onBytes)))
  return { address: node.getMultiaddrs()[0].toString() }
}

export async function dial({ address }, onBytes) {
  const { multiaddr } = await import('@multiformats/multiaddr')
  const node = await create([])
  return side(await node.dialProtocol(multiaddr(address), PROTOCOL), onBytes)
}
