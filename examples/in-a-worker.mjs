// A node in a worker thread: the main thread asks it for pages and is never busy with them.
import { once } from 'node:events'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { createNode, createTestnet, isAnonNetError } from 'anonnet'
import { startSite } from './site.mjs'

if (isMainThread) {
  const net = await createTestnet()
  const site = await startSite()
  const worker = new Worker(new URL(import.meta.url), { workerData: { bootstrap: net.bootstrap, testNetwork: net.testNetwork } })
  for (const url of [`${site.url}/from-a-worker`, 'http://no-such-name.invalid/']) {
    worker.postMessage({ url })
    const [answer] = await once(worker, 'message')
    console.log(answer)
  }
  // A worker that is ended takes its node with it; asked nicely, it closes it first.
  worker.postMessage({ close: true })
  await once(worker, 'exit')
  site.close()
  await net.close()
} else {
  const node = await createNode(workerData)
  parentPort.on('message', async ({ url, close }) => {
    if (close) {
      await node.close()
      parentPort.close()
      return
    }
    try {
      const response = await fetch(url, { dispatcher: node.dispatcher() })
      parentPort.postMessage((await response.text()).trim())
    } catch (error) {
      // Errors are classes; a code is what survives the way between threads.
      parentPort.postMessage(isAnonNetError(error.cause) ? error.cause.code : String(error))
    }
  })
}
