// Everything but the client, for the browser's test: bootstrap nodes, relays, and a site behind a service. Options as JSON in the first argument:
// { bootstraps, relays: addresses, exits: how many of the relays, listIntervalMs, trap: an address that nobody has }. One line of JSON when the service
// is published; after each SIGUSR2 one more, with the node ids that the service's circuits of three relays end at.
import { createHash } from 'node:crypto'
import { createServer } from 'node:http'
import { deflateSync } from 'node:zlib'
import { WebSocketServer } from 'ws'
import { createBootstrap, createNode, createRelay } from '../../dist/index.js'

const options = JSON.parse(process.argv[2])
const testNetwork = { allowPrivate: true, listIntervalMs: options.listIntervalMs }

const crcs = Array.from({ length: 256 }, (_, n) => Array.from({ length: 8 }).reduce((c) => (c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1), n))
const crc32 = (bytes) => ~bytes.reduce((crc, byte) => crcs[(crc ^ byte) & 255] ^ (crc >>> 8), -1)

/** A PNG of noise, so that it is as large as it looks: a decoder that got other bytes would refuse it. */
function png(seed, size) {
  const chunk = (type, data) => {
    const body = Buffer.concat([Buffer.from(type), data])
    const out = Buffer.alloc(body.length + 8)
    out.writeUInt32BE(data.length, 0)
    body.copy(out, 4)
    out.writeInt32BE(crc32(body), body.length + 4)
    return out
  }
  const head = Buffer.alloc(13)
  head.writeUInt32BE(size, 0)
  head.writeUInt32BE(size, 4)
  head.set([8, 2], 8)
  const rows = Array.from({ length: size }, (_, row) => {
    const hash = createHash('shake256', { outputLength: size * 3 }).update(`${seed} ${row}`).digest()
    return Buffer.concat([Buffer.from([0]), hash])
  })
  const magic = Buffer.from([0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10])
  return Buffer.concat([magic, chunk('IHDR', head), chunk('IDAT', deflateSync(Buffer.concat(rows))), chunk('IEND', Buffer.alloc(0))])
}

// What a site may try to learn where its visitor is: names looked up ahead, UDP that goes around a proxy.
const page = `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><link rel="dns-prefetch" href="http://leak.example/">
<img id="a" src="/a.png"><img id="b" src="/b.png"><script src="/script.js"></script>`
const script = `
window.ran = location.host
const socket = new WebSocket('ws://' + location.host + '/socket')
socket.onopen = () => socket.send('through the overlay')
socket.onmessage = (event) => { window.echoed = event.data }
try {
  const peer = new RTCPeerConnection({ iceServers: [{ urls: ['stun:${options.trap}:3478', 'stun:leak.example:3478'] }] })
  window.candidates = []
  peer.onicecandidate = ({ candidate }) => { if (candidate?.candidate) window.candidates.push(candidate.candidate) }
  peer.onicegatheringstatechange = () => { window.gathering = peer.iceGatheringState }
  peer.createDataChannel('x')
  peer.createOffer().then((offer) => peer.setLocalDescription(offer))
} catch (error) { window.gathering = String(error) }
`
const files = { '/': ['text/html', page], '/script.js': ['text/javascript', script], '/a.png': ['image/png', png('a', 200)], '/b.png': ['image/png', png('b', 300)] }
const site = createServer((request, response) => {
  const [type, body] = files[request.url] ?? []
  if (type === undefined) response.writeHead(404).end()
  else response.writeHead(200, { 'content-type': type }).end(body)
})
new WebSocketServer({ server: site, path: '/socket' }).on('connection', (socket) => {
  socket.on('message', (data) => socket.send(String(data).toUpperCase()))
})
await new Promise((resolve) => site.listen(0, '127.0.0.1', resolve))

const authorities = await Promise.all(options.bootstraps.map((address) => createBootstrap({ listen: `${address}:0`, testNetwork })))
const bootstrap = authorities.map(({ entry }) => entry)
for (const authority of authorities) authority.join(bootstrap)
const relays = await Promise.all(
  options.relays.map((address, index) => createRelay({ bootstrap, testNetwork, listen: `${address}:0`, exit: index < options.exits }))
)
const complete = () => authorities.every((node) => node.status().list?.relays === relays.length)
while (!complete()) await new Promise((resolve) => setTimeout(resolve, 100))

const host = await createNode({ bootstrap, testNetwork })
const service = await host.listen({ port: 80, target: `127.0.0.1:${site.address().port}` })
const members = relays.map(({ nodeId, address }, index) => ({ nodeId, address, exit: index < options.exits }))
const say = (object) => process.stdout.write(`${JSON.stringify(object)}\n`)
say({ event: 'ready', address: service.address, bootstrap, relays: members })
process.on('SIGUSR2', () => {
  say({ event: 'ends', ends: host.circuits().flatMap(({ hops }) => (hops.length === 3 ? [hops[2].nodeId] : [])) })
})
