/** Loopback addresses of the demo's nodes. */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'

/** Whether each node can have an address prefix of its own: Linux takes all of 127.0.0.0/8 for loopback. */
export const OWN_PREFIXES = process.platform === 'linux'

/** The address of the n-th node, 1 to 254. */
export function loopback(n: number): string {
  return OWN_PREFIXES ? `127.${n}.0.1` : '127.0.0.1'
}

/** `host:port`, IPv6 in brackets. */
export function joinHost(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** A UDP port that is free at that address now. */
export async function freePort(host: string): Promise<number> {
  const socket = createSocket('udp4')
  socket.bind(0, host)
  await once(socket, 'listening')
  const { port } = socket.address()
  socket.close()
  await once(socket, 'close')
  return port
}
