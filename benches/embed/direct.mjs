// AnonNet's direct link: the Duplex of `node.connectDirect` at one end, that of `node.listenDirect` at the other; no relay carries it.
import { createNode } from '../../dist/index.js'
import { duplexSide } from './duplex.mjs'

export async function listen(onBytes, onSide, { network }) {
  const node = await createNode(network)
  const { address } = await node.listenDirect({}, (socket) => onSide(duplexSide(socket, onBytes)))
  return { address }
}

export async function dial({ address, network }, onBytes) {
  const node = await createNode(network)
  return duplexSide(await node.connectDirect(address), onBytes)
}
