/**
 * The line of those who wait, strictly in order of asking. Pure: it knows neither pg nor time, but for the
 * deadlines that it is handed.
 */
import type { Wait } from '../api/ports.js'
import { onAbort } from '../util/abort-listeners.js'
import { reasonOf } from '../util/abort-signals.js'
import { LinkedList, type Linked } from '../util/linked-list.js'
import type { Deadlines, Timed, Watch } from '../util/deadlines.js'

/**
 * One who waits for a `G`. It leaves the line by being granted one or rejected, and by nothing else; once it has
 * left, nothing reaches it. One object for everything, because a hundred thousand may wait.
 */
export abstract class Waiter<G> implements Linked<Waiter<G>>, Timed {
  previous: Waiter<G> | null = null
  next: Waiter<G> | null = null
  dueAt = 0
  earlier: Timed | null = null
  later: Timed | null = null
  watch: Watch | null = null
  #queue: WaitQueue<G> | null = null
  #ignoreAbort: (() => void) | null = null

  protected abstract accept(granted: G): void
  protected abstract refuse(error: unknown): void
  /** Makes the error for a deadline that has passed. */
  protected abstract timedOut(): Error

  /** For `WaitQueue` alone. */
  joined(queue: WaitQueue<G>, signal: AbortSignal | undefined): void {
    this.#queue = queue
    if (signal !== undefined) this.#ignoreAbort = onAbort(signal, () => this.reject(reasonOf(signal)))
  }

  onDue(): void {
    if (this.#leave()) this.refuse(this.timedOut())
  }

  /** False when it has left the line, or its time had passed and only the timer had not fired yet. */
  grant(granted: G, now: number): boolean {
    const late = this.watch !== null && this.dueAt < now
    if (late) this.onDue()
    else if (this.#leave()) {
      this.accept(granted)
      return true
    }
    return false
  }

  /** False when it is too late: it has left the line. */
  reject(error: unknown): boolean {
    const left = this.#leave()
    if (left) this.refuse(error)
    return left
  }

  #leave(): boolean {
    if (this.#queue === null) return false
    this.#queue.remove(this)
    this.#queue = null
    this.#ignoreAbort?.()
    return true
  }
}

export class WaitQueue<G> {
  readonly #waiters = new LinkedList<Waiter<G>>()
  readonly #deadlines: Deadlines

  constructor(deadlines: Deadlines) {
    this.#deadlines = deadlines
  }

  get length(): number {
    return this.#waiters.size
  }

  get first(): Waiter<G> | null {
    return this.#waiters.head
  }

  /** Joins at the end. The signal must not be aborted yet. */
  join(waiter: Waiter<G>, { timeoutMillis, signal }: Wait): void {
    this.#waiters.push(waiter)
    if (timeoutMillis !== Infinity) this.#deadlines.add(waiter, timeoutMillis)
    waiter.joined(this, signal)
  }

  /** For `Waiter` alone: a waiter leaves by being granted or rejected. */
  remove(waiter: Waiter<G>): void {
    this.#waiters.remove(waiter)
    this.#deadlines.remove(waiter)
  }

  /** Rejects all who wait, each with an error of its own. */
  rejectAll(error: () => unknown): void {
    // Only those who wait now: a rejected one may ask again at once.
    for (const waiter of [...this.#waiters]) waiter.reject(error())
  }
}
