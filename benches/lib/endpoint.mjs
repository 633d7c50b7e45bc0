// What the bench's streams reach: a TCP server that sends as many bytes as it is asked for ("GET <n>\n"), or takes as many ("PUT <n>\n")
// and answers with their SHA-256. The bytes repeat a random block, so that neither side is busy making them.
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'

const BLOCK = randomBytes(1 << 20)

createServer((socket) => {
  socket.setNoDelay(true)
  let head = Buffer.alloc(0)
  const onHead = (chunk) => {
    head = Buffer.concat([head, chunk])
    const end = head.indexOf('\n')
    if (end < 0) return
    socket.off('data', onHead)
    const [verb, count, hashed] = head.subarray(0, end).toString().split(' ')
    if (verb === 'GET') send(socket, Number(count), hashed === 'hashed')
    else take(socket, Number(count), head.subarray(end + 1))
  }
  socket.on('data', onHead)
  socket.on('error', () => socket.destroy())
}).listen(0, '127.0.0.1', function listening() {
  process.send({ ready: { port: this.address().port } })
})
process.on('disconnect', () => process.exit(0))

async function send(socket, count, hashed) {
  const hash = createHash('sha256')
  const closed = new AbortController()
  socket.once('close', () => closed.abort())
  for (let left = count; left > 0; ) {
    const piece = left < BLOCK.length ? BLOCK.subarray(0, left) : BLOCK
    if (hashed) hash.update(piece)
    left -= piece.length
    // Ends by an error when the socket closes first: then there is nobody left to send to.
    if (!socket.write(piece)) await once(socket, 'drain', { signal: closed.signal }).catch(() => {})
    if (socket.destroyed) return
  }
  socket.end(hashed ? hash.digest() : undefined)
}

function take(socket, count, first) {
  const hash = createHash('sha256')
  let left = count
  const onData = (chunk) => {
    hash.update(chunk)
    left -= chunk.length
    if (left <= 0) socket.end(hash.digest())
  }
  onData(first)
  socket.on('data', onData)
}
