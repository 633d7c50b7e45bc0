// Reproducible .tar.gz files, and reading them. ustar alone: names of at most 100 bytes, which is what a release has.
import { constants, gunzipSync, gzipSync } from 'node:zlib'

const BLOCK = 512
/** 1985-10-26, as in npm's tarballs: some tools take 0 for missing. */
const MTIME = 499_162_500

function header(name, size, mode, directory) {
  if (Buffer.byteLength(name) > 100) throw new Error(`${name}: longer than ustar's 100 bytes`)
  const block = Buffer.alloc(BLOCK)
  const octal = (value, at, length) => block.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at, 'latin1')
  block.write(name, 0)
  octal(mode, 100, 8)
  octal(0, 108, 8)
  octal(0, 116, 8)
  octal(size, 124, 12)
  octal(MTIME, 136, 12)
  block.write('        ', 148, 'latin1')
  block.write(directory ? '5' : '0', 156, 'latin1')
  block.write('ustar\x0000', 257, 'latin1')
  octal(
    block.reduce((sum, byte) => sum + byte, 0),
    148,
    7
  )
  return block
}

/** Packs entries `{ name, body, mode }` below one folder: sorted, owned by nobody, at one time. */
export function pack(folder, entries) {
  const parts = [header(`${folder}/`, 0, 0o755, true)]
  for (const { name, body, mode = 0o644 } of [...entries].sort((a, b) => (a.name < b.name ? -1 : 1))) {
    parts.push(header(`${folder}/${name}`, body.length, mode, false), body, Buffer.alloc((BLOCK - (body.length % BLOCK)) % BLOCK))
  }
  parts.push(Buffer.alloc(2 * BLOCK))
  const packed = gzipSync(Buffer.concat(parts), { level: constants.Z_BEST_COMPRESSION })
  packed[9] = 255 // the operating system, which zlib writes and nobody needs
  return packed
}

/** The files of a .tar.gz, npm's or ours: `{ name, body, mode }`. */
export function unpack(file) {
  const data = gunzipSync(file)
  const text = (from, length) => data.toString('utf8', from, from + length).replace(/\0.*$/s, '')
  const entries = []
  for (let at = 0; at + BLOCK <= data.length && data[at] !== 0; ) {
    const size = Number.parseInt(text(at + 124, 12), 8)
    const type = text(at + 156, 1)
    const prefix = text(at + 345, 155)
    const name = text(at, 100)
    if (type === 'x' || type === 'L')
      throw new Error('a tar file with extended headers, which neither npm nor this project writes for such names')
    const body = data.subarray(at + BLOCK, at + BLOCK + size)
    if (type === '0' || type === '')
      entries.push({ name: prefix ? `${prefix}/${name}` : name, body, mode: Number.parseInt(text(at + 100, 8), 8) })
    at += BLOCK + Math.ceil(size / BLOCK) * BLOCK
  }
  return entries
}
