/** A SOCKS5 client that tells the reply code. */
import { connect, type Socket } from 'node:net'

/** Asks a proxy ('ip:port') for a name; resolves with its reply and the socket. */
export function socksConnect(proxy: string, host: string, port: number): Promise<{ reply: number; socket: Socket }> {
  const [ip = '', at = ''] = proxy.split(':')
  const name = Buffer.from(host)
  const socket = connect(Number(at), ip)
  socket.write(Buffer.from([5, 1, 0]))
  socket.write(Buffer.concat([Buffer.from([5, 1, 0, 3, name.length]), name, Buffer.from([port >> 8, port & 255])]))
  return new Promise((resolve, reject) => {
    let seen = Buffer.alloc(0)
    const onReadable = (): void => {
      for (let chunk = socket.read() as Buffer | null; chunk !== null; chunk = socket.read() as Buffer | null) {
        seen = Buffer.concat([seen, chunk])
        // Method, then the reply with an IPv4 address: what stands behind them is the target's.
        if (seen.length < 12) continue
        socket.off('readable', onReadable)
        if (seen.length > 12) socket.unshift(seen.subarray(12))
        resolve({ reply: seen[3] ?? -1, socket })
        return
      }
    }
    socket.on('readable', onReadable)
    socket.once('error', reject)
    socket.once('close', () => reject(new Error('closed before a reply')))
  })
}
