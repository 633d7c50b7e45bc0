// A file drop as a .anon service that takes files from those alone who were given a key. Who was not cannot even read how to reach it.
import { createHash, generateKeyPairSync, randomBytes } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { createTestnet } from 'anonnet'

const net = await createTestnet()
const [host, source, stranger] = await Promise.all([net.createNode(), net.createNode(), net.createNode()])
const folder = await mkdtemp(join(tmpdir(), 'file-drop-'))
const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex')

// What comes is written as it comes: a file larger than memory does no harm.
const server = createServer(async (request, response) => {
  const name = randomBytes(8).toString('hex')
  await pipeline(request, createWriteStream(join(folder, name)))
  response.end(name)
})
// `anonnet keys auth` makes such a pair as well: x is for the service, d for its client.
const { x, d } = generateKeyPairSync('x25519').privateKey.export({ format: 'jwk' })
const drop = await host.listen({ port: 80, auth: [x] }, (socket) => server.emit('connection', socket))

source.authorize(drop.address, d)
const file = randomBytes(2_000_000)
const answer = await fetch(`http://${drop.address}/`, { method: 'POST', body: file, dispatcher: source.dispatcher() })
const kept = await readFile(join(folder, await answer.text()))
console.log('dropped:', kept.length, 'bytes, unharmed:', sha256(kept) === sha256(file))

const refused = await stranger.connect(`${drop.address}:80`).catch((error) => error)
console.log('a stranger:', refused.code)

await net.close()
await rm(folder, { recursive: true })
