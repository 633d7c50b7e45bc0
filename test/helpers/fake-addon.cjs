/**
 * An addon without Rust: nodes of one process that reach each other by a table. No encryption, no sockets but those of an exit.
 * For tests of what TypeScript decides; loaded by setting ANONNET_ADDON to this file.
 */
'use strict'
const { createHash, generateKeyPairSync, sign, verify, createPublicKey } = require('node:crypto')
const { createConnection, isIP } = require('node:net')

const network = new Map()
const made = []
let nextId = 1
let nextPort = 20_000
const SPKI = Buffer.from('302a300506032b6570032100', 'hex')

function coded(code) {
  return Object.assign(new Error(code), { code })
}

function nodeIdOf(publicKey) {
  return createHash('sha256').update('anonnet:1:node-id').update(publicKey).digest('hex')
}

class NativeNode {
  constructor(options, wake) {
    this.options = options
    this.wake = wake
    this.queue = []
    this.pair = generateKeyPairSync('ed25519')
    this.public = this.pair.publicKey.export({ type: 'spki', format: 'der' }).subarray(-32)
    this.id = nodeIdOf(this.public)
    this.onion = createHash('sha256').update(this.public).digest()
    this.paths = new Map()
    this.streams = new Map()
    this.answers = new Map()
    this.ops = new Set()
    this.alive = true
    made.push(this)
    if (options.listen !== undefined) {
      const [ip, port] = options.listen.split(':')
      this.address = `${ip}:${port === '0' ? nextPort++ : port}`
      network.set(this.id, this)
    }
  }

  emit(event) {
    this.queue.push(event)
    if (this.queue.length === 1) setImmediate(() => this.wake())
  }
  drain() {
    return this.queue.splice(0)
  }
  ok(op, value = {}) {
    if (this.ops.delete(op)) this.emit({ type: 'opOk', op, ...value })
  }
  fail(op, code, hop) {
    if (this.ops.delete(op)) this.emit(hop === undefined ? { type: 'opFailed', op, code } : { type: 'opFailed', op, code, hop })
  }
  nodeId() {
    return this.id
  }
  publicKey() {
    return this.public
  }
  onionKey() {
    return this.onion
  }
  localAddress() {
    return this.address
  }
  sign(message) {
    return sign(null, message, this.pair.privateKey)
  }
  rotateOnionKey() {
    this.onion = createHash('sha256').update(this.onion).digest()
    return this.onion
  }
  setKnownRelays(relays) {
    this.known = relays
  }
  ask(op, target, body, viaCircuit, timeoutMs) {
    this.ops.add(op)
    const timer = setTimeout(() => this.fail(op, 'ERR_ANONNET_TIMEOUT'), timeoutMs)
    if (target === undefined || !target.alive) return
    const request = nextId++
    target.answers.set(request, (reply) => {
      clearTimeout(timer)
      if (reply === undefined) this.fail(op, 'ERR_ANONNET_RPC_REFUSED')
      else this.ok(op, { bytes: reply })
    })
    const from = viaCircuit || this.address === undefined ? {} : { nodeId: this.id }
    target.emit({ type: 'rpcRequest', request, ...from, address: this.address ?? '127.0.0.1:9', viaCircuit, body: Buffer.from(body) })
  }
  rpc(op, peer, body, timeoutMs) {
    this.ask(op, network.get(peer.nodeId), body, false, timeoutMs)
  }
  rpcReply(request, body) {
    this.answers.get(request)?.(Buffer.from(body))
    return this.answers.delete(request)
  }
  rpcReject(request) {
    this.answers.get(request)?.(undefined)
    return this.answers.delete(request)
  }
  buildCircuit(op, path, timeoutMs) {
    this.ops.add(op)
    const dead = path.findIndex((hop) => !network.get(hop.nodeId)?.alive)
    if (dead >= 0) {
      setTimeout(() => this.fail(op, 'ERR_ANONNET_TIMEOUT', dead), timeoutMs)
      return
    }
    const id = nextId++
    this.paths.set(id, path)
    this.ok(op, { number: id })
  }
  closeCircuit(circuit) {
    if (!this.paths.delete(circuit)) return false
    for (const [stream, { circuit: of }] of this.streams) if (of === circuit) this.destroy(stream)
    for (const pending of [...(this.waiting ?? [])]) if (pending.circuit === circuit) pending.fail('ERR_ANONNET_CIRCUIT_CLOSED')
    return true
  }
  deadHop(circuit) {
    return this.paths.get(circuit).some((hop) => !network.get(hop.nodeId)?.alive)
  }
  circuitRpc(op, circuit, body, timeoutMs) {
    const path = this.paths.get(circuit)
    if (path === undefined) throw coded('ERR_ANONNET_CIRCUIT_CLOSED')
    this.ask(op, this.deadHop(circuit) ? undefined : network.get(path[2].nodeId), body, true, timeoutMs)
  }
  resolve(op, circuit, host) {
    this.ops.add(op)
    if (this.paths.has(circuit)) this.ok(op, { text: JSON.stringify([host === 'localhost' ? '127.0.0.1' : '192.0.2.1']) })
    else this.fail(op, 'ERR_ANONNET_CIRCUIT_CLOSED')
  }
  connect(op, circuit, host, port, timeoutMs) {
    this.ops.add(op)
    if (!this.paths.has(circuit)) {
      this.fail(op, 'ERR_ANONNET_CIRCUIT_CLOSED')
      return
    }
    this.waiting ??= new Set()
    const pending = { circuit, fail: (code) => (this.waiting.delete(pending), this.fail(op, code)) }
    this.waiting.add(pending)
    const timer = setTimeout(() => pending.fail('ERR_ANONNET_TIMEOUT'), timeoutMs)
    timer.unref()
    if (host === 'silent.example' || this.deadHop(circuit)) return
    const socket = createConnection({ host: isIP(host) ? host : '127.0.0.1', port, allowHalfOpen: true })
    socket.pause()
    socket.once('error', () => pending.fail('ERR_ANONNET_STREAM_REFUSED'))
    socket.once('connect', () => {
      this.waiting.delete(pending)
      clearTimeout(timer)
      const stream = nextId++
      this.streams.set(stream, { circuit, socket })
      socket.on('error', () => undefined)
      this.ok(op, { number: stream })
    })
  }
  read(op, stream) {
    this.ops.add(op)
    const socket = this.streams.get(stream)?.socket
    if (socket === undefined) throw coded('ERR_ANONNET_CLOSED')
    const finish = (value) => {
      socket.off('readable', take)
      socket.off('end', end)
      this.ok(op, value)
    }
    const end = () => finish({})
    const take = () => {
      const bytes = socket.read()
      if (bytes !== null) finish({ bytes })
    }
    if (socket.readableEnded) return end()
    socket.on('end', end)
    socket.on('readable', take)
    take()
  }
  write(op, stream, data) {
    this.ops.add(op)
    const socket = this.streams.get(stream)?.socket
    if (socket === undefined) throw coded('ERR_ANONNET_CLOSED')
    socket.write(Buffer.from(data), () => this.ok(op))
  }
  end(stream) {
    this.streams.get(stream)?.socket.end()
  }
  destroy(stream) {
    this.streams.get(stream)?.socket.destroy()
    this.streams.delete(stream)
  }
  listenProxy(op, address) {
    this.ops.add(op)
    this.ok(op, { number: nextId++, text: address.replace(/:0$/, `:${nextPort++}`) })
  }
  closeProxy() {
    return true
  }
  attach(request, circuit, standsMs, streams) {
    this.standing ??= new Map()
    this.standing.set(request, [standsMs, streams])
    this.attached ??= []
    this.attached.push([request, circuit])
    return this.paths.has(circuit)
  }
  withdraw(circuit) {
    this.withdrawn ??= []
    this.withdrawn.push(circuit)
  }
  refuse(request, code) {
    this.refused ??= []
    this.refused.push([request, code])
    return true
  }
  cancel(op) {
    this.fail(op, 'ERR_ANONNET_ABORTED')
  }
  circuits() {
    return [...this.paths].map(([id, path]) => ({
      id,
      hops: path.map(({ nodeId }) => nodeId),
      ageMs: 1,
      streams: [...this.streams.values()].filter(({ circuit }) => circuit === id).length,
      bytesRead: 0,
      bytesWritten: 0
    }))
  }
  links() {
    return []
  }
  snapshot() {
    const relay = {
      circuits: 0,
      cellsForwarded: 0,
      bytesForwarded: 0,
      handshakes: 0,
      handshakesRefused: 0,
      exitStreams: 0,
      destroyed: 0,
      memoryHeld: 0,
      memoryResets: 0
    }
    return { circuits: this.circuits(), relay, links: this.links(), proxy: { requests: 0, open: 0, refused: 0 } }
  }
  close(op) {
    this.kill()
    for (const other of [...this.ops]) this.fail(other, 'ERR_ANONNET_CLOSED')
    this.ops.add(op)
    this.ok(op)
  }
  /** As kill -9: says nothing to anybody. */
  kill() {
    this.alive = false
    network.delete(this.id)
    for (const stream of [...this.streams.keys()]) this.destroy(stream)
  }
}

module.exports = {
  NativeNode,
  network,
  made,
  verify: (publicKey, message, signature) =>
    verify(null, message, createPublicKey({ key: Buffer.concat([SPKI, publicKey]), format: 'der', type: 'spki' }), signature),
  nodeIdOf,
  errorRegistry: () => [],
  version: () => ({ version: '0.0.0-fake', protocol: 1, features: ['exit', 'metrics', 'proxy'] }),
  keyFileInspect: () => ({ nodeId: '', publicKey: Buffer.alloc(32), onionKey: Buffer.alloc(32), rotatedAt: Date.now() / 1000 }),
  keyFileCreate: () => ({})
}
