/** Relays in processes of their own: one is killed with -9, and the bootstrap nodes, which test whether it answers, list it no longer. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type BootstrapNode, createBootstrap, createRelay } from '../../ts/index.js'
import { eventually, root, type Spawned, start } from '../helpers/processes.js'

const RELAYS = 4
const INTERVAL_MS = 2_000
/** Two tests of a second each, a second between them, up to a second before, and up to an interval until the next list. */
const WITHIN_MS = 3 * INTERVAL_MS
/** Processes on a busy machine are given more; a descriptor would keep the relay in the list for hours. */
const DEADLINE_MS = 5 * WITHIN_MS
const linux = process.platform === 'linux'
const testNetwork = { listIntervalMs: INTERVAL_MS, allowPrivate: true, relaxedPrefixes: !linux }
const listen = (index: number): string => (linux ? `127.${index}.0.1:0` : '127.0.0.1:0')

let authorities: BootstrapNode[] = []
let bootstrap: string[] = []
const relays: Spawned[] = []

const listed = (count: number): boolean => authorities.every((node) => node.status().list?.relays === count)

function relay(index: number): Spawned {
  const options = { bootstrap, testNetwork, listen: listen(121 + index), exit: index === 0 }
  return start(process.execPath, [`${root}/test/helpers/relay.mjs`, JSON.stringify(options)])
}

beforeAll(async () => {
  authorities = await Promise.all([111, 112, 113].map((index) => createBootstrap({ listen: listen(index), testNetwork })))
  bootstrap = authorities.map(({ entry }) => entry)
  for (const authority of authorities) authority.join(bootstrap)
  for (let index = 0; index < RELAYS; index++) relays.push(relay(index))
  await eventually('all relays are listed', 30_000, () => {
    const complaint = relays.map((child) => child.stderr()).find((text) => text !== '')
    if (complaint !== undefined) throw new Error(complaint)
    return listed(RELAYS) || undefined
  })
}, 60_000)

afterAll(async () => {
  for (const child of relays) child.process.kill('SIGTERM')
  await Promise.all(authorities.map((node) => node.close()))
})

describe('the relay list', () => {
  it('keeps relays that answer, loses one that was killed, and has the one that replaces it', { timeout: 3 * DEADLINE_MS }, async () => {
    // Several rounds of tests: nobody falls out.
    const until = Date.now() + 2 * INTERVAL_MS
    while (Date.now() < until) {
      expect(listed(RELAYS)).toBe(true)
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    const killed = relays[1]!
    killed.process.kill('SIGKILL')
    await killed.exit
    await eventually('the dead relay has left the list', DEADLINE_MS, () => listed(RELAYS - 1) || undefined)
    relays[1] = relay(1)
    await eventually('its successor is listed', DEADLINE_MS, () => listed(RELAYS) || undefined)
  })

  it('has no relay that lives but is not where it says', { timeout: 2 * DEADLINE_MS }, async () => {
    const stateOf = (): number[] => authorities.map((node) => node.status().list?.relays ?? 0)
    const before = stateOf()
    // It publishes over links that it dialled: over those it would answer.
    const elsewhere = await createRelay({ bootstrap, testNetwork, listen: listen(131), advertise: '127.132.0.1:9' })
    const found = await createRelay({ bootstrap, testNetwork, listen: listen(133) })
    try {
      await eventually(
        'the other one, begun later, is listed',
        DEADLINE_MS,
        () => authorities.every((_, at) => stateOf()[at]! > before[at]!) || undefined
      )
      await new Promise((resolve) => setTimeout(resolve, INTERVAL_MS))
      expect(stateOf()).toEqual(before.map((count) => count + 1))
    } finally {
      await Promise.all([elsewhere.close(), found.close()])
    }
  })
})
