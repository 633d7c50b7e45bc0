/**
 * The records that a node keeps for others. Each class of records has its own share of the room, so that none can push out another.
 * Within a class that is full goes, newcomer included: what has expired, then what is far outside our radius, then of the heaviest
 * address prefix what expires first. A flood from few addresses so only pushes out itself.
 */
import { fault } from '../wire/index.js'
import { CLASS_SHARE_PERCENT, MAX_PUBLISHERS_PER_KEY, MAX_STORED_BYTES, MAX_STORED_RECORDS } from './limits.js'
import { checkTime, expiryMs, type RecordClass, type SignedRecord } from './record.js'

interface Entry {
  readonly id: string
  readonly signed: SignedRecord
  /** Prefix of the address of the node that stored it. */
  readonly prefix: string
  readonly expiresMs: number
  far: boolean
}

export interface StoreRoom {
  readonly records: number
  readonly bytes: number
}

/** The room of one class. */
class Pool {
  readonly #entries = new Map<string, Entry>()
  readonly #byKey = new Map<string, Map<string, Entry>>()
  readonly #byPrefix = new Map<string, Set<Entry>>()
  /** Prefixes by the number of their entries: the heaviest is found without a search. */
  readonly #byWeight = new Map<number, Set<string>>()
  readonly #far = new Set<Entry>()
  #heaviest = 0
  #bytes = 0
  #firstExpiryMs = Number.POSITIVE_INFINITY

  constructor(private readonly room: StoreRoom) {}

  get size(): number {
    return this.#entries.size
  }

  get(key: string): Entry[] {
    return [...(this.#byKey.get(key)?.values() ?? [])]
  }

  put(entry: Entry, nowMs: number): void {
    const known = this.#entries.get(entry.id)
    if (known) this.#remove(known)
    else if (this.get(entry.signed.record.key).length >= MAX_PUBLISHERS_PER_KEY) this.#makeRoomAt(entry)
    while (this.#entries.size >= this.room.records || this.#bytes + entry.signed.raw.length > this.room.bytes) {
      if (this.#firstExpiryMs <= nowMs && this.expire(nowMs) > 0) continue
      const victim = this.#victim(entry)
      if (victim === entry) {
        if (known) this.#add(known)
        throw fault('ERR_ANONNET_RESOURCE_LIMIT', 'stored records')
      }
      this.#remove(victim)
    }
    this.#add(entry)
  }

  expire(nowMs: number): number {
    let removed = 0
    this.#firstExpiryMs = Number.POSITIVE_INFINITY
    for (const entry of this.#entries.values()) {
      if (entry.expiresMs > nowMs) {
        this.#firstExpiryMs = Math.min(this.#firstExpiryMs, entry.expiresMs)
      } else {
        this.#remove(entry)
        removed++
      }
    }
    return removed
  }

  /** Judges anew which entries are far: the radius changes with the network. */
  measure(isFar: (key: string) => boolean): void {
    for (const entry of this.#entries.values()) {
      entry.far = isFar(entry.signed.record.key)
      if (entry.far) this.#far.add(entry)
      else this.#far.delete(entry)
    }
  }

  #victim(newcomer: Entry): Entry {
    if (newcomer.far) return newcomer
    const [far] = this.#far
    if (far) return far
    const weight = (this.#byPrefix.get(newcomer.prefix)?.size ?? 0) + 1
    let victim = weight >= this.#heaviest ? first(this.#byPrefix.get(newcomer.prefix) ?? [], newcomer) : undefined
    if (weight <= this.#heaviest) {
      for (const prefix of this.#byWeight.get(this.#heaviest) ?? []) victim = first(this.#byPrefix.get(prefix) ?? [], victim)
    }
    return victim ?? newcomer
  }

  /** The same record came from another prefix: it counts for the lighter one, so that nobody can weigh it down by copying it. */
  attribute(entry: Entry, prefix: string): void {
    if ((this.#byPrefix.get(prefix)?.size ?? 0) + 1 >= (this.#byPrefix.get(entry.prefix)?.size ?? 0)) return
    this.#remove(entry)
    this.#add({ ...entry, prefix })
  }

  /** One key is full of publishers: of the heaviest prefix among them the one that expires first makes room, or the newcomer does not get in. */
  #makeRoomAt(newcomer: Entry): void {
    const all = [...this.get(newcomer.signed.record.key), newcomer]
    const weight = (entry: Entry) => all.filter((other) => other.prefix === entry.prefix).length
    const heaviest = Math.max(...all.map(weight))
    const victim = first(
      all.filter((entry) => entry !== newcomer && weight(entry) === heaviest),
      weight(newcomer) === heaviest ? newcomer : undefined
    )
    if (victim === undefined || victim === newcomer) throw fault('ERR_ANONNET_RESOURCE_LIMIT', 'publishers of one key')
    this.#remove(victim)
  }

  #add(entry: Entry): void {
    const { key } = entry.signed.record
    this.#entries.set(entry.id, entry)
    const atKey = this.#byKey.get(key) ?? new Map<string, Entry>()
    this.#byKey.set(key, atKey.set(entry.signed.publisher, entry))
    const ofPrefix = this.#byPrefix.get(entry.prefix) ?? new Set<Entry>()
    this.#byPrefix.set(entry.prefix, ofPrefix.add(entry))
    this.#weigh(entry.prefix, ofPrefix.size - 1, ofPrefix.size)
    if (entry.far) this.#far.add(entry)
    this.#bytes += entry.signed.raw.length
    this.#firstExpiryMs = Math.min(this.#firstExpiryMs, entry.expiresMs)
  }

  #remove(entry: Entry): void {
    const { key } = entry.signed.record
    this.#entries.delete(entry.id)
    const atKey = this.#byKey.get(key)
    atKey?.delete(entry.signed.publisher)
    if (atKey?.size === 0) this.#byKey.delete(key)
    const ofPrefix = this.#byPrefix.get(entry.prefix)
    if (ofPrefix?.delete(entry)) this.#weigh(entry.prefix, ofPrefix.size + 1, ofPrefix.size)
    if (ofPrefix?.size === 0) this.#byPrefix.delete(entry.prefix)
    this.#far.delete(entry)
    this.#bytes -= entry.signed.raw.length
  }

  #weigh(prefix: string, before: number, after: number): void {
    this.#byWeight.get(before)?.delete(prefix)
    if (this.#byWeight.get(before)?.size === 0) this.#byWeight.delete(before)
    if (after > 0) this.#byWeight.set(after, (this.#byWeight.get(after) ?? new Set<string>()).add(prefix))
    // Weights change by one, so the heaviest is this one, or as before, or one less.
    if (after > this.#heaviest) this.#heaviest = after
    else if (!this.#byWeight.has(this.#heaviest)) this.#heaviest = Math.max(0, this.#heaviest - 1)
  }
}

/** Of `entries` and `start` the one that expires first; `start` only if it expires before or with all others. */
function first(entries: Iterable<Entry>, start: Entry | undefined): Entry | undefined {
  let found = start
  for (const entry of entries) if (found === undefined || entry.expiresMs < found.expiresMs) found = entry
  return found
}

export class RecordStore {
  readonly #pools: Readonly<Record<RecordClass, Pool>>

  /** `isFar` says whether a key (hex) is far outside our radius. */
  constructor(
    readonly isFar: (key: string) => boolean,
    room: StoreRoom = { records: MAX_STORED_RECORDS, bytes: MAX_STORED_BYTES }
  ) {
    const share = (percent: number) =>
      new Pool({ records: Math.floor((room.records * percent) / 100), bytes: Math.floor((room.bytes * percent) / 100) })
    this.#pools = {
      data: share(CLASS_SHARE_PERCENT.data),
      node: share(CLASS_SHARE_PERCENT.node),
      service: share(CLASS_SHARE_PERCENT.service)
    }
  }

  /** Number of records. */
  get size(): number {
    return Object.values(this.#pools).reduce((sum, pool) => sum + pool.size, 0)
  }

  /**
   * Keeps a record whose signature was verified. `prefix` is that of the address it came from. Storing the same again is fine.
   * Throws ERR_ANONNET_RECORD_INVALID when it has expired or is not newer than the one known, ERR_ANONNET_RESOURCE_LIMIT.
   */
  put(signed: SignedRecord, prefix: string, nowMs: number): void {
    const { record } = signed
    checkTime(record, nowMs)
    const pool = this.#pools[record.type]
    const known = pool.get(record.key).find((entry) => entry.signed.publisher === signed.publisher)
    if (known?.signed.digest === signed.digest) {
      // A service stores the same again to keep it alive.
      const renewed = { ...known, expiresMs: Math.max(known.expiresMs, expiryMs(record, nowMs)) }
      if (renewed.expiresMs > known.expiresMs) pool.put(renewed, nowMs)
      return pool.attribute(renewed.expiresMs > known.expiresMs ? renewed : known, prefix)
    }
    if (known && known.signed.record.seq >= record.seq) throw fault('ERR_ANONNET_RECORD_INVALID', 'not newer than the known one')
    const id = `${record.key}${signed.publisher}`
    pool.put({ id, signed, prefix, expiresMs: expiryMs(record, nowMs), far: this.isFar(record.key) }, nowMs)
  }

  /** All records under a key that have not expired. Under a service's key that is the service's: others would only bury it. */
  get(key: string, nowMs: number): SignedRecord[] {
    const alive = (pool: Pool): SignedRecord[] => pool.get(key).flatMap(({ expiresMs, signed }) => (expiresMs > nowMs ? [signed] : []))
    const service = alive(this.#pools.service)
    return service.length > 0 ? service : [...alive(this.#pools.data), ...alive(this.#pools.node)]
  }

  /** Removes what has expired, and judges anew what is far. Returns how many were removed. */
  cleanUp(nowMs: number): number {
    return Object.values(this.#pools).reduce((removed, pool) => {
      const expired = pool.expire(nowMs)
      pool.measure(this.isFar)
      return removed + expired
    }, 0)
  }
}
