// What the other examples visit: a web site on this machine, which the exits of a test network may reach.
import { once } from 'node:events'
import { createServer } from 'node:http'

/** Starts the site; resolves to its URL and what ends it. `onUpgrade` gets WebSocket requests. */
export async function startSite({ onUpgrade } = {}) {
  const server = createServer((request, response) => response.end(`hello from ${request.url}\n`))
  if (onUpgrade) server.on('upgrade', onUpgrade)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const close = () => {
    server.close()
    server.closeAllConnections()
  }
  return { url: `http://127.0.0.1:${server.address().port}`, close }
}
