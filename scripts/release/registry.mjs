// A registry on loopback that knows one release: npm installs from it as from the real one, and chooses the platform's package by itself.
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { basename } from 'node:path'
import { unpack } from './tar.mjs'

/** Serves the tarballs; `asked` collects the tarballs that were fetched. */
export async function serve(files) {
  const packages = new Map()
  const asked = []
  for (const file of files) {
    const bytes = readFileSync(file)
    const manifest = JSON.parse(
      unpack(bytes)
        .find(({ name }) => name === 'package/package.json')
        .body.toString('utf8')
    )
    packages.set(manifest.name, { manifest, bytes, path: `/-/${basename(file)}` })
  }
  let address = ''
  const document = ({ manifest, bytes, path }) => ({
    name: manifest.name,
    'dist-tags': { latest: manifest.version },
    versions: {
      [manifest.version]: {
        ...manifest,
        dist: { tarball: `${address}${path}`, integrity: `sha512-${createHash('sha512').update(bytes).digest('base64')}` }
      }
    }
  })
  const server = createServer((request, response) => {
    const path = decodeURIComponent(request.url ?? '')
    const tarball = [...packages.values()].find((item) => item.path === path)
    const item = packages.get(path.slice(1))
    if (tarball !== undefined) {
      asked.push(tarball.manifest.name)
      response.end(tarball.bytes)
    } else if (item !== undefined) {
      response.setHeader('content-type', 'application/json')
      response.end(JSON.stringify(document(item)))
    } else {
      response.statusCode = 404
      response.end('{"error":"not in this release"}')
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  address = `http://127.0.0.1:${server.address().port}`
  return { address, asked, close: () => server.close() }
}
