// Services: many of them from one node, fetches over fresh circuits beside clearnet ones, goodput of both alternately, memory of a service.
// Every process runs on this machine, and all relays are one of them: ratios within a run are what counts.
import { Child } from './lib/processes.mjs'

const MIB = 1 << 20
/** Of all fetches so many succeed at least. */
const SUCCESS_MIN = 0.999
const SCRIPT = './service-process.mjs'

const sorted = (values) => [...values].sort((a, b) => a - b)
const quantile = (values, at) => sorted(values)[Math.min(values.length - 1, Math.floor(values.length * at))] ?? Number.NaN
const ms = (value) => `${value.toFixed(0)} ms`
const rate = (value) => `${(value / 1e6).toFixed(1)} MB/s`

export async function services({ short }) {
  const size = short
    ? { services: 10, fetches: 100, rounds: 3, bytes: 8 * MIB }
    : { services: 100, fetches: 1_000, rounds: 7, bytes: 64 * MIB }
  const env = { NODE_OPTIONS: '--expose-gc' }
  const children = ['network', 'host', 'client'].map((name) => new Child(name, SCRIPT, [], env))
  const [network, host, client] = children
  try {
    await Promise.all(children.map(({ ready }) => ready))
    const options = await network.call('network', { relays: 20, exits: 6 })
    await Promise.all([host, client].map((node) => node.call('start', options)))
    const clearnet = await host.call('clearnet')

    // One first: what the node needs for services at all is no part of what one more costs.
    await host.call('publish', { count: 1, atOnce: 1 })
    const before = await host.call('memory')
    const { tookMs, targets } = await host.call('publish', { count: size.services - 1, atOnce: 4 })
    const perService = ((await host.call('memory')) - before) / (size.services - 1)

    const done = await client.call('fetches', { targets, clearnet, count: size.fetches, perNode: 50, atOnce: 4, bytes: 1_000 })
    const failed = done.failed.filter(({ kind }) => kind === 'service')
    const success = done.service.length / size.fetches

    const goodput = { service: [], clearnet: [] }
    for (let round = 0; round < size.rounds; round++) {
      for (const [kind, target] of [
        ['service', targets[0]],
        ['clearnet', clearnet]
      ])
        goodput[kind].push(await client.call('goodput', { target, bytes: size.bytes, isolate: `goodput ${kind}` }))
    }
    const [ofService, ofClearnet] = [quantile(goodput.service, 0.5), quantile(goodput.clearnet, 0.5)]
    const first = (values) => `p50 ${ms(quantile(values, 0.5))}, p95 ${ms(quantile(values, 0.95))}`
    const lines = [
      `${size.services} services of one node: ${(perService / 1024).toFixed(0)} KiB of RSS each; published and found by others in ${first(tookMs)}`,
      `${size.fetches} fetches over fresh circuits: ${(100 * success).toFixed(2)} % succeeded (at least ${100 * SUCCESS_MIN} %)`,
      ...(failed.length === 0 ? [] : [`  failed: ${failed.map(({ code }) => code).join(', ')}`]),
      `  first byte of .anon:    ${first(done.service)}`,
      `  first byte of clearnet: ${first(done.clearnet)}`,
      `goodput of one stream, median of ${size.rounds}: .anon ${rate(ofService)}, clearnet ${rate(ofClearnet)}, ratio ${(ofService / ofClearnet).toFixed(2)}`
    ]
    const figures = {
      size,
      perService,
      tookMs,
      success,
      failed: done.failed,
      firstMs: { service: done.service, clearnet: done.clearnet },
      goodput
    }
    return { figures, text: lines.join('\n'), ok: success >= SUCCESS_MIN }
  } finally {
    for (const child of children) child.end()
  }
}
