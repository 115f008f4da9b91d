/**
 * A Map for many entries that come and go, few at a time. V8's own keeps its entries in a table that is replaced, once deletions have filled it with holes, by a new one to
 * which the old one refers. An old table that has reached the old generation keeps all of its successors alive, and
 * what was in them, until the next full collection: with them, what should have died young is copied twice and then
 * marked. Copying the entries to a new table from time to time, which no old one refers to, prevents that.
 */

/** How many deletions, at least, come before the table is replaced. */
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
    if (++this.#deleted >= Math.max(RENEWED_AFTER, this.#map.size)) {
      this.#map = new Map(this.#map)
      this.#deleted = 0
    }
    return true
  }

  clear(): void {
    this.#map = new Map()
    this.#deleted = 0
  }

  // Copies, so that entries may come and go while they are gone through.

  keys(): K[] {
    return [...this.#map.keys()]
  }

  values(): V[] {
    return [...this.#map.values()]
  }

  entries(): [K, V][] {
    return [...this.#map]
  }
}
