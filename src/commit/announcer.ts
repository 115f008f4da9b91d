/** Tells those who have waited together, one behind the other. */
import { clock, now } from '../util/clock.js'
import type { Deferred } from '../util/deferred.js'

/**
 * Each is told in a turn of the event loop of its own, so that what it asks for next is on its way before the others
 * wake, and the server does not stand still meanwhile. But nobody waits longer than that for each of those before it:
 * where the process is busy, turns take long, and more of them are told in one. In milliseconds.
 */
const LONGEST_FOR_EACH = 0.02

export class Announcer {
  #waiting: Deferred[] = []
  /** How many of them have been told. */
  #told = 0
  /** When the last of those was told. */
  #toldAt = 0

  /** Resolves them, behind those that are still to be told. */
  announce(all: readonly Deferred[]): void {
    const isIdle = this.#waiting.length === 0
    for (const one of all) this.#waiting.push(one)
    if (isIdle) this.#tell(1)
  }

  readonly #onTurn = (): void => {
    const due = Math.floor((now() - this.#toldAt) / LONGEST_FOR_EACH)
    this.#tell(Math.max(1, due))
  }

  #tell(count: number): void {
    const waiting = this.#waiting
    const end = Math.min(this.#told + count, waiting.length)
    while (this.#told < end) waiting[this.#told++]!.resolve()
    this.#toldAt = now()
    if (end < waiting.length) clock.setImmediate(this.#onTurn)
    else {
      this.#waiting = []
      this.#told = 0
    }
  }
}
