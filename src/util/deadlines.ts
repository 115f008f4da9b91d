/**
 * Deadlines that share timers. Everything that waits for the same length of time falls due in the order in which it was
 * added, so each length has one list and one timer: one for each turn would cost about a fifth of the throughput.
 */
import { now } from './clock.js'
import { LONGEST_TIMER_MILLIS, timerFor, type Timer } from './timer.js'

/** What an element carries to be watched. A fresh one has `dueAt` 0, and `null` for the rest. */
export interface Timed {
  /** On the clock of `now()`, in milliseconds. */
  dueAt: number
  earlier: Timed | null
  later: Timed | null
  /** The list it stands in; null when it is not watched. */
  watch: Watch | null
  /** Called once, when the time has come; the element is no longer watched then. */
  onDue(): void
}

/** A fresh, unwatched deadline that calls `onDue`. */
export function deadline(onDue: () => void): Timed {
  return { dueAt: 0, earlier: null, later: null, watch: null, onDue }
}

export class Deadlines {
  readonly #watches = new Map<number, Watch>()

  /** Watches `item` for `millis` from now. `Infinity` watches nothing. */
  add(item: Timed, millis: number): void {
    if (millis > LONGEST_TIMER_MILLIS) return
    const watch = this.#watches.get(millis) ?? new Watch(millis, this.#watches)
    watch.add(item)
  }

  /** Stops watching `item`; harmless when it is not watched. */
  remove(item: Timed): void {
    item.watch?.remove(item)
  }

  /** Drops the timers of lists that are empty: a list keeps its timer for the next to come. */
  clear(): void {
    for (const watch of this.#watches.values()) watch.dropIfEmpty()
  }
}

/** The deadlines of one length. */
export class Watch {
  readonly #millis: number
  readonly #all: Map<number, Watch>
  #first: Timed | null = null
  #last: Timed | null = null
  #timer: Timer | null = null

  /** It stands in `all` until it is dropped. */
  constructor(millis: number, all: Map<number, Watch>) {
    this.#millis = millis
    this.#all = all
    all.set(millis, this)
  }

  add(item: Timed): void {
    // A whole number: a fraction would be an object of its own, for each of a hundred thousand waiters.
    item.dueAt = Math.ceil(now() + this.#millis)
    item.watch = this
    item.earlier = this.#last
    item.later = null
    if (this.#last === null) {
      this.#first = item
      // An empty list's timer does not keep the process alive, one with a waiter does.
      this.#timer?.ref()
    } else this.#last.later = item
    this.#last = item
    this.#timer ??= timerFor(this.#millis, this.#fire)!
  }

  remove(item: Timed): void {
    if (item.earlier === null) this.#first = item.later
    else item.earlier.later = item.later
    if (item.later === null) this.#last = item.earlier
    else item.later.earlier = item.earlier
    item.earlier = null
    item.later = null
    item.watch = null
    if (this.#first === null) this.#timer?.unref()
  }

  dropIfEmpty(): void {
    if (this.#first !== null) return
    this.#timer?.stop()
    this.#timer = null
    this.#all.delete(this.#millis)
  }

  readonly #fire = (): void => {
    this.#timer = null
    const time = now()
    // A timer may fire a little before its time by this clock; what is due within a millisecond is due.
    while (this.#first !== null && this.#first.dueAt <= time + 1) {
      const due = this.#first
      this.remove(due)
      due.onDue()
    }
    // Narrowing would call it null still; what fell due may have added another meanwhile.
    const next = this.#first as Timed | null
    if (next === null) this.dropIfEmpty()
    else this.#timer ??= timerFor(Math.max(1, next.dueAt - now()), this.#fire)!
  }
}
