import { describe, expect, it } from 'vitest'
import { POOL_LIMITS, type PoolAction, poolSummary } from '../../../ts/churn/index.js'
import { id } from '../routing/relays.js'
import { Hand, of, ready } from './hand.js'

describe('requests', () => {
  it('wait for a circuit, the longest waiting first, and adopt what is on its way', () => {
    const hand = new Hand()
    hand.send({ type: 'list', usable: true })
    for (const build of hand.state.builds.keys()) hand.send({ type: 'buildStarted', build, path: [id(1), id(2), id(3)] })
    const before = hand.state.nextBuild
    hand.ask(1, 'a')
    hand.ask(2, 'b')
    hand.ask(3, 'a')
    // Two builds were under way and are theirs now; two more make up for them.
    expect(hand.state.nextBuild - before).toBe(2)
    const attached: number[] = []
    for (const [index, build] of [...hand.state.builds.keys()].entries()) {
      const actions = hand.send({ type: 'built', build, circuit: index })
      attached.push(...of(actions, 'attach').map((action) => action.request))
      if (index === 1) break
    }
    expect(attached).toEqual([1, 3, 2])
  })

  it('are refused when their time is over, with the reason that is known', () => {
    const code = (prepare: (hand: Hand) => void) => {
      const hand = new Hand()
      prepare(hand)
      hand.ask(1, 'a', 443, { waitMs: 10_000 })
      for (let i = 0; i < 20; i++) {
        for (const action of hand.after(500)) if (action.type === 'refuse') return [action.code, hand.nowMs]
        for (const build of [...hand.state.builds.keys()]) {
          hand.send({ type: 'buildStarted', build, path: [id(1), id(2), id(3)] })
          const [refusal] = of(hand.send({ type: 'buildFailed', build, code: 'ERR_ANONNET_LINK_UNREACHABLE', hop: 0 }), 'refuse')
          if (refusal !== undefined) return [refusal.code, hand.nowMs]
        }
      }
      return undefined
    }
    expect(code(() => undefined)).toEqual(['ERR_ANONNET_NOT_BOOTSTRAPPED', 10_000])
    expect(code((hand) => hand.send({ type: 'list', usable: true }))).toEqual(['ERR_ANONNET_LINK_UNREACHABLE', 10_000])
    const silent = new Hand({ maxBuilds: 0 })
    silent.send({ type: 'list', usable: true })
    silent.ask(1, 'a')
    expect(silent.wakeAtMs).toBe(POOL_LIMITS.requestWaitMs)
    expect(silent.after(POOL_LIMITS.requestWaitMs)).toEqual([{ type: 'refuse', request: 1, code: 'ERR_ANONNET_TIMEOUT' }])
    silent.ask(2, 'a', 443, { waitMs: 1e12 })
    expect(silent.wakeAtMs).toBe(silent.nowMs + POOL_LIMITS.maxRequestWaitMs)
  })

  it('are refused at once where no exit takes them, and only they', () => {
    const hand = new Hand()
    hand.send({ type: 'list', usable: true })
    hand.accepts = (_exit, target) => target?.port !== 25
    hand.ask(1, 'a', 25)
    hand.ask(2, 'a', 443)
    hand.ask(3, 'b', 25)
    const failed: PoolAction[] = []
    for (const [build, { request }] of [...hand.state.builds]) {
      if (request.target?.port === 25) failed.push(...hand.send({ type: 'buildFailed', build, code: 'ERR_ANONNET_NO_PATH', rule: 'exit' }))
    }
    expect(of(failed, 'refuse')).toEqual([1, 3].map((request) => ({ type: 'refuse', request, code: 'ERR_ANONNET_NO_PATH' })))
    expect(hand.state.requests.has(2)).toBe(true)
  })

  it('wait for the next list where this one has no exit at all, if it is to come in time', () => {
    const hand = new Hand({ maxPoolBuilds: 0 })
    const noExits = (): PoolAction[] =>
      [...hand.state.builds.keys()].flatMap((build) => [
        ...hand.send({ type: 'buildFailed', build, code: 'ERR_ANONNET_NO_PATH', rule: 'exit' })
      ])
    hand.send({ type: 'list', usable: true, exitsMs: 10_000 })
    hand.ask(1, 'a', 443, { waitMs: 12_000 })
    hand.ask(2, 'b', 443, { waitMs: 9_000 })
    hand.ask(3, 'c', 443, { waitMs: 12_000 })
    expect(noExits()).toEqual([{ type: 'refuse', request: 2, code: 'ERR_ANONNET_NO_PATH' }])
    // Nothing is built before that list, for a newcomer only what tells him the same.
    expect(of(hand.after(5_000), 'build')).toEqual([])
    expect(of(hand.after(5_000, { type: 'list', usable: true }), 'build')).toHaveLength(2)
    const [circuit] = hand.finish()
    expect(hand.state.requests.get(1)?.attached?.circuit).toBe(circuit)
    hand.send({ type: 'list', usable: true, exitsMs: 12_000 })
    hand.ask(4, 'd', 443, { waitMs: 2_000 })
    expect(noExits()).toEqual([])
    expect(of(hand.after(2_000), 'refuse')).toEqual([{ type: 'refuse', request: 4, code: 'ERR_ANONNET_NO_PATH' }])
  })

  it('that fail with their circuit go on another one, at most three times', () => {
    const hand = ready({ cleanTarget: 5, maxPoolBuilds: 9 })
    hand.finish()
    const seen = [of(hand.ask(1, 'a'), 'attach')[0]!.circuit]
    let actions: readonly PoolAction[] = []
    for (let attempt = 2; attempt <= 4; attempt++) {
      actions = hand.send({ type: 'streamFailed', request: 1, code: 'ERR_ANONNET_CIRCUIT_CLOSED' })
      for (const attach of of(actions, 'attach')) seen.push(attach.circuit)
    }
    expect(new Set(seen).size).toBe(3)
    expect(of(actions, 'refuse')).toEqual([{ type: 'refuse', request: 1, code: 'ERR_ANONNET_CIRCUIT_CLOSED' }])
    expect(hand.state.requests.size).toBe(0)
    expect(poolSummary(hand.state).streams).toBe(0)
  })

  it('that the target refused are refused, and so are those with codes that are none', () => {
    for (const code of ['STREAM_REFUSED', 'HOST_UNREACHABLE', 'NAME_NOT_RESOLVED', 'EXIT_POLICY', 'TIMEOUT', 'STREAM_RESET']) {
      const hand = ready()
      hand.ask(1)
      expect(hand.send({ type: 'streamFailed', request: 1, code: `ERR_ANONNET_${code}` })).toEqual([
        { type: 'refuse', request: 1, code: `ERR_ANONNET_${code}` }
      ])
    }
    const hand = ready()
    hand.ask(1)
    expect(of(hand.send({ type: 'streamFailed', request: 1, code: 'EWHAT' }), 'refuse')[0]?.code).toBe('ERR_ANONNET_INTERNAL')
    expect(of(hand.send({ type: 'streamFailed', request: 77, code: 'ERR_ANONNET_CIRCUIT_CLOSED' }), 'refuse')).toEqual([
      { type: 'refuse', request: 77, code: 'ERR_ANONNET_CIRCUIT_CLOSED' }
    ])
  })

  it('that an exit had no room for go to another exit; a full circuit takes nobody any more', () => {
    const hand = ready()
    hand.ask(1)
    expect(of(hand.send({ type: 'streamFailed', request: 1, code: 'ERR_ANONNET_RATE_LIMITED' }), 'attach')[0]?.circuit).toBe(102)
    const build = of(hand.send({ type: 'streamFailed', request: 1, code: 'ERR_ANONNET_RESOURCE_LIMIT' }), 'build').at(-1)
    expect(build?.request.avoid).toEqual(expect.arrayContaining([id(2001), id(2002)]))
    const full = ready()
    full.ask(1)
    expect(of(full.send({ type: 'streamFailed', request: 1, code: 'ERR_ANONNET_STREAM_LIMIT' }), 'attach')[0]?.circuit).toBe(102)
    expect(of(full.ask(2), 'attach')[0]?.circuit).toBe(102)
    expect(of(full.after(1), 'close')).toEqual([{ type: 'close', circuit: 101 }])
  })

  it('are not tried again after their time', () => {
    const hand = ready()
    hand.ask(1, 'a', 443, { waitMs: 500 })
    hand.nowMs = 500
    expect(of(hand.send({ type: 'streamFailed', request: 1, code: 'ERR_ANONNET_CIRCUIT_CLOSED' }), 'refuse')).toHaveLength(1)
  })

  it('that went away are forgotten', () => {
    const hand = ready()
    hand.ask(1)
    hand.send({ type: 'cancel', request: 1 })
    expect(poolSummary(hand.state)).toMatchObject({ streams: 0, connecting: 0 })
    hand.send({ type: 'cancel', request: 1 })
    hand.send({ type: 'connected', request: 1 })
    const waiting = new Hand()
    waiting.ask(2)
    waiting.send({ type: 'cancel', request: 2 })
    expect(waiting.wakeAtMs).toBeUndefined()
  })

  it('are bounded in number, and checked', () => {
    const hand = new Hand({ maxRequests: 3 })
    for (let request = 1; request <= 3; request++) expect(hand.ask(request)).toEqual([])
    expect(hand.ask(4)).toEqual([{ type: 'refuse', request: 4, code: 'ERR_ANONNET_RESOURCE_LIMIT' }])
    expect(hand.ask(3)).toEqual([])
    expect(hand.ask(5, 'a', 1, { target: undefined })).toEqual([{ type: 'refuse', request: 5, code: 'ERR_ANONNET_INVALID_ARGUMENT' }])
    expect(() => hand.send({ type: 'nonsense' } as never)).toThrow(expect.objectContaining({ code: 'ERR_ANONNET_INTERNAL' }))
  })

  it('counts streams whose answer stood, and watches those that are slow without attaching them', () => {
    const hand = new Hand()
    hand.send({ type: 'list', usable: true })
    hand.finish()
    const circuit = of(hand.ask(1, 'a'), 'attach')[0]!.circuit
    hand.send({ type: 'connected', request: 1 })
    const open = () => hand.state.circuits.get(circuit)!.open
    hand.send({ type: 'taken', circuit })
    expect(open()).toBe(2)
    hand.send({ type: 'taken', circuit: 9_999 })
    hand.send({ type: 'streamClosed', circuit })
    expect(open()).toBe(1)
    expect(of(hand.ask(2, 'a', 443, { on: circuit }), 'attach')).toEqual([])
    expect(open()).toBe(2)
    expect(hand.state.requests.get(2)?.attached?.circuit).toBe(circuit)
    // Another key's circuit, or one that is gone, is nobody's answer.
    for (const [request, isolation, on] of [
      [3, 'b', circuit],
      [4, 'a', 9_999]
    ] as const) {
      expect(hand.ask(request, isolation, 443, { on })).toEqual([])
      expect(hand.state.requests.has(request)).toBe(false)
    }
    expect(open()).toBe(2)
    const again = of(hand.send({ type: 'streamFailed', request: 2, code: 'ERR_ANONNET_CIRCUIT_CLOSED' }), 'attach')
    expect(again[0]?.circuit).not.toBe(circuit)
    expect(open()).toBe(1)
  })
})
