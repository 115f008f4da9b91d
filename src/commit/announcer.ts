/** Tells those who have waited together, one behind the other, a few in each turn of the event loop. */
import { clock } from '../util/clock.js'
import type { Deferred } from '../util/deferred.js'

/**
 * How many are told in one turn. What they ask for next is on its way before the others are told, so that the server
 * does not stand still while this process wakes all of them.
 */
const TOLD_AT_ONCE = 3

export class Announcer {
  #waiting: Deferred[] = []
  /** How many of them have been told. */
  #told = 0

  /** Resolves them, behind those that are still to be told. */
  announce(all: readonly Deferred[]): void {
    const isIdle = this.#waiting.length === 0
    for (const one of all) this.#waiting.push(one)
    if (isIdle) this.#tellSome()
  }

  readonly #tellSome = (): void => {
    const waiting = this.#waiting
    const end = Math.min(this.#told + TOLD_AT_ONCE, waiting.length)
    while (this.#told < end) waiting[this.#told++]!.resolve()
    if (end < waiting.length) clock.setImmediate(this.#tellSome)
    else {
      this.#waiting = []
      this.#told = 0
    }
  }
}
