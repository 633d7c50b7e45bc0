import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import {
  channelName,
  createDiagnostics,
  createLogger,
  DIAGNOSTIC_TYPES,
  type DiagnosticEvent,
  EVENT_QUEUE_CAPACITY,
  type LogLine,
  MAX_EVENT_STREAMS,
  NO_LOGGER,
  onDiagnostic,
  SCRUBBED,
  sensitive
} from '../../../ts/diagnostics/index.js'

const built = (circuit: number) => ({ circuit, kind: 'exit', buildMs: 12 }) as const

describe('channels', () => {
  it('publishes to node:diagnostics_channel by name and instance', () => {
    const first = createDiagnostics({ now: () => 1000 })
    const second = createDiagnostics({ now: () => 2000 })
    const seen: DiagnosticEvent[] = []
    const stop = onDiagnostic('circuit:built', (event) => seen.push(event))
    first.emit('circuit:built', built(1))
    first.emit('network', { state: 'down' })
    second.emit('circuit:built', built(2))
    stop()
    first.emit('circuit:built', built(3))
    expect(seen).toEqual([
      { type: 'circuit:built', instance: first.instance, atMs: 1000, ...built(1) },
      { type: 'circuit:built', instance: second.instance, atMs: 2000, ...built(2) }
    ])
    expect(second.instance).not.toBe(first.instance)
    expect(Object.isFrozen(seen[0])).toBe(true)
  })

  it('has the names that are documented', () => {
    expect(DIAGNOSTIC_TYPES.map(channelName)).toEqual([
      'anonnet:bootstrap',
      'anonnet:circuit:built',
      'anonnet:circuit:failed',
      'anonnet:circuit:closed',
      'anonnet:guard',
      'anonnet:network',
      'anonnet:dormant',
      'anonnet:list:updated',
      'anonnet:link',
      'anonnet:stream',
      'anonnet:proxy',
      'anonnet:dht',
      'anonnet:warning',
      'anonnet:closed'
    ])
  })
})

describe('events()', () => {
  it('gives every reader what was emitted since it began, and ends at close after the rest', async () => {
    const diagnostics = createDiagnostics()
    const early = diagnostics.events()
    diagnostics.emit('circuit:built', built(1))
    const late = diagnostics.events()
    diagnostics.emit('circuit:built', built(2))
    diagnostics.close()
    diagnostics.emit('circuit:built', built(3))
    const circuits = async (stream: AsyncIterable<DiagnosticEvent>) => {
      const ids: number[] = []
      for await (const event of stream) if (event.type === 'circuit:built') ids.push(event.circuit)
      return ids
    }
    expect(await circuits(early)).toEqual([1, 2])
    expect(await circuits(late)).toEqual([2])
    expect(await circuits(diagnostics.events())).toEqual([])
  })

  it('wakes a waiting reader, and ends it at close', async () => {
    const diagnostics = createDiagnostics()
    const stream = diagnostics.events()
    const pending = stream.next()
    diagnostics.emit('network', { state: 'down' })
    expect((await pending).value).toMatchObject({ type: 'network', state: 'down' })
    const last = stream.next()
    diagnostics.close()
    expect(await last).toEqual({ done: true, value: undefined })
  })

  it('drops the oldest when nobody reads, and counts them', async () => {
    const diagnostics = createDiagnostics()
    const stream = diagnostics.events({ capacity: 3 })
    for (let circuit = 1; circuit <= 5; circuit++) diagnostics.emit('circuit:built', built(circuit))
    expect(stream.dropped).toBe(2)
    expect((await stream.next()).value).toMatchObject({ circuit: 3 })
    const full = diagnostics.events()
    for (let circuit = 0; circuit < EVENT_QUEUE_CAPACITY + 7; circuit++) diagnostics.emit('circuit:built', built(circuit))
    expect(full.dropped).toBe(7)
  })

  it('rejects with the reason of its signal, once, and lets go of the queue', async () => {
    const diagnostics = createDiagnostics()
    const controller = new AbortController()
    const stream = diagnostics.events({ signal: controller.signal })
    const pending = stream.next()
    const reason = new Error('mine')
    controller.abort(reason)
    await expect(pending).rejects.toBe(reason)
    diagnostics.emit('network', { state: 'down' })
    await expect(stream.next()).rejects.toBe(reason)
    expect(await stream.next()).toEqual({ done: true, value: undefined })
    await expect(diagnostics.events({ signal: AbortSignal.abort(reason) }).next()).rejects.toBe(reason)
  })

  it('ends when the loop is left', async () => {
    const diagnostics = createDiagnostics()
    const stream = diagnostics.events()
    diagnostics.emit('network', { state: 'down' })
    diagnostics.emit('network', { state: 'up' })
    for await (const event of stream) {
      expect(event.type).toBe('network')
      break
    }
    expect(await stream.next()).toEqual({ done: true, value: undefined })
  })

  it('bounds readers, capacity and requests', async () => {
    const diagnostics = createDiagnostics()
    for (const capacity of [0, -1, 1.5, EVENT_QUEUE_CAPACITY + 1]) {
      expect(() => diagnostics.events({ capacity })).toThrow(expect.objectContaining({ code: 'ERR_ANONNET_INVALID_ARGUMENT' }))
    }
    const streams = Array.from({ length: MAX_EVENT_STREAMS }, () => diagnostics.events({ capacity: 1 }))
    expect(() => diagnostics.events()).toThrow(expect.objectContaining({ code: 'ERR_ANONNET_RESOURCE_LIMIT' }))
    await streams[0]?.return?.()
    const again = diagnostics.events({ capacity: 1 })
    const waiting = again.next()
    await expect(again.next()).rejects.toMatchObject({ code: 'ERR_ANONNET_RESOURCE_LIMIT' })
    diagnostics.close()
    expect((await waiting).done).toBe(true)
  })
})

describe('logs', () => {
  const lines: LogLine[] = []
  const logger = (level: 'error' | 'warn' | 'info' | 'debug') => {
    lines.length = 0
    return createLogger((line) => lines.push(line), { level, target: 'churn' })
  }

  it('writes its level and what is more important', () => {
    const log = logger('warn')
    log.error('a')
    log.warn('b')
    log.info('c')
    log.debug('d')
    expect(lines.map((line) => line.level)).toEqual(['error', 'warn'])
    log.child('routing').error('e', { skipped: undefined, relays: 3 })
    expect(lines[2]).toEqual({ level: 'error', target: 'routing', message: 'e', fields: { relays: 3 } })
    logger('info').debug('never')
    expect(lines).toEqual([])
  })

  it('hides addresses, targets and marked values at info and above, and shows marked ones at debug', () => {
    const log = logger('debug')
    log.info('link to 198.51.100.7:443', { relay: sensitive('ab'.repeat(32)), why: 'example.org:80 refused', port: 80 })
    log.debug('link', { relay: sensitive('relay-name'), count: sensitive(7) })
    expect(lines[0]).toMatchObject({ message: 'link to <address>', fields: { relay: SCRUBBED, why: '<target> refused', port: 80 } })
    expect(lines[1]?.fields).toEqual({ relay: 'relay-name', count: 7 })
    const marked = sensitive('198.51.100.7')
    expect(`${marked}${JSON.stringify({ marked })}${inspect(marked)}`).not.toContain('198')
  })

  it('survives a sink that throws, and is silent by default', () => {
    const log = createLogger(() => {
      throw new Error('disk full')
    })
    expect(() => log.error('x')).not.toThrow()
    expect(NO_LOGGER.child('x')).toBe(NO_LOGGER)
    expect(() => NO_LOGGER.info('x', { a: 1 })).not.toThrow()
  })
})
