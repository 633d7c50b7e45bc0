import { newPool, type PoolAction, type PoolEvent, type PoolState, step } from '../../../ts/churn/index.js'
import type { Target } from '../../../ts/routing/index.js'
import { id } from '../routing/relays.js'

/** A pool driven by hand: every exit takes everything, unless said otherwise. */
export class Hand {
  state: PoolState
  nowMs = 0
  wakeAtMs: number | undefined
  last: readonly PoolAction[] = []
  accepts = (_exit: string, _target: Target | undefined): boolean => true
  rng = (): number => 0.5

  constructor(limits: Parameters<typeof newPool>[0] = {}) {
    this.state = newPool(limits)
  }

  send(event: PoolEvent): readonly PoolAction[] {
    const result = step(this.state, event, { nowMs: this.nowMs, rng: this.rng, accepts: this.accepts })
    this.state = result.state
    this.wakeAtMs = result.wakeAtMs
    this.last = result.actions
    return result.actions
  }

  after(ms: number, event: PoolEvent = { type: 'tick' }): readonly PoolAction[] {
    this.nowMs += ms
    return this.send(event)
  }

  ask(request: number, isolation = 'a', port = 443, rest: Partial<Extract<PoolEvent, { type: 'request' }>> = {}): readonly PoolAction[] {
    return this.send({ type: 'request', request, isolation, kind: 'connect', target: { host: 'example.org', port }, ...rest })
  }

  /** Everything that is being built is done, with circuits of these ids on. */
  finish(from = 100): number[] {
    const ids: number[] = []
    for (const build of [...this.state.builds.keys()]) {
      const circuit = from + build
      this.send({ type: 'buildStarted', build, path: [id(1), id(1000 + build), id(2000 + build)] })
      this.send({ type: 'built', build, circuit })
      ids.push(circuit)
    }
    return ids
  }
}

export const of = <Type extends PoolAction['type']>(actions: readonly PoolAction[], type: Type): Extract<PoolAction, { type: Type }>[] =>
  actions.filter((action): action is Extract<PoolAction, { type: Type }> => action.type === type)

export function ready(limits: Parameters<typeof newPool>[0] = {}): Hand {
  const hand = new Hand(limits)
  hand.send({ type: 'list', usable: true })
  hand.finish()
  return hand
}
