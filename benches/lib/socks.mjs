// The bench's SOCKS client: one TCP connection through a proxy, as a promise.
import { connect } from 'node:net'

/** A connection to 127.0.0.1:`port` through the proxy at `address`; `user` names the circuit. */
export function socks(address, port, user = '0') {
  const [host, proxyPort] = address.split(':')
  const socket = connect({ host, port: Number(proxyPort), noDelay: true, onread: undefined })
  const name = Buffer.from(user)
  const greeting = Buffer.from([5, 1, 2])
  const credentials = Buffer.concat([Buffer.from([1, name.length]), name, Buffer.from([0])])
  const request = Buffer.from([5, 1, 0, 1, 127, 0, 0, 1, port >> 8, port & 255])
  return new Promise((resolve, reject) => {
    // 2 for the method, 2 for the credentials, 10 for the answer.
    let answer = Buffer.alloc(0)
    const onData = (chunk) => {
      answer = Buffer.concat([answer, chunk])
      if (answer.length < 14) return
      socket.off('data', onData)
      socket.pause()
      if (answer[5] !== 0) return reject(new Error(`SOCKS reply ${answer[5]}`))
      if (answer.length > 14) socket.unshift(answer.subarray(14))
      resolve(socket)
    }
    socket.on('data', onData)
    socket.once('error', reject)
    socket.once('close', () => reject(new Error('the proxy closed the connection')))
    socket.write(Buffer.concat([greeting, credentials, request]))
  })
}

/** Downloads `count` bytes; resolves to how many came. `onProgress` is told the count so far. */
export async function download(address, port, count, user, onProgress) {
  const socket = await socks(address, port, user)
  let got = 0
  socket.resume()
  socket.write(`GET ${count}\n`)
  return new Promise((resolve, reject) => {
    socket.on('data', (chunk) => {
      got += chunk.length
      onProgress?.(got)
    })
    socket.on('end', () => (got === count ? resolve(got) : reject(new Error(`${got} of ${count} bytes came`))))
    socket.on('error', reject)
  })
}

/** Uploads `count` bytes and waits until the other end has them. */
export async function upload(address, port, count, user) {
  const socket = await socks(address, port, user)
  const block = Buffer.alloc(1 << 18, 7)
  socket.write(`PUT ${count}\n`)
  for (let left = count; left > 0; left -= block.length) {
    if (!socket.write(left < block.length ? block.subarray(0, left) : block)) await new Promise((resolve) => socket.once('drain', resolve))
  }
  socket.resume()
  for await (const _ of socket) return count
  throw new Error('no answer to the upload')
}
