/**
 * A Map for entries that come and go by the thousand, of which few are there at a time.
 *
 * V8's own keeps its entries in a table that is replaced, once deletions have filled it with holes, by a new one to
 * which the old one refers. An old table that has reached the old generation keeps all of its successors alive, and
 * what was in them, until the next full collection: with them, what should have died young is copied twice and then
 * marked. A table that nothing refers to ends that row.
 */

/**
 * So many deletions, at least, before the table is replaced: what one row may keep alive. Copying the few entries that
 * are there costs next to nothing.
 */
const RENEWED_AFTER = 64

export class BriefMap<K, V> {
  #map = new Map<K, V>()
  #deleted = 0

  get size(): number {
    return this.#map.size
  }

  has(key: K): boolean {
    return this.#map.has(key)
  }

  get(key: K): V | undefined {
    return this.#map.get(key)
  }

  set(key: K, value: V): void {
    this.#map.set(key, value)
  }

  delete(key: K): boolean {
    if (!this.#map.delete(key)) return false
    // In proportion to what has to be copied, so that a large one costs no more a deletion.
    if (++this.#deleted >= Math.max(RENEWED_AFTER, this.#map.size)) this.#renew()
    return true
  }

  clear(): void {
    this.#map = new Map()
    this.#deleted = 0
  }

  /** The keys that are there now. */
  keys(): K[] {
    return [...this.#map.keys()]
  }

  /** The values that are there now. */
  values(): V[] {
    return [...this.#map.values()]
  }

  /** The entries that are there now. */
  entries(): [K, V][] {
    return [...this.#map]
  }

  #renew(): void {
    this.#map = new Map(this.#map)
    this.#deleted = 0
  }
}
