/**
 * The line of those who wait, strictly in order of asking. Pure: it knows neither pg nor time, but for the
 * deadlines that it is handed.
 */
import { LinkedList } from '../util/linked-list.js'
import type { Linked } from '../util/linked-list.js'
import type { Deadlines, Timed, Watch } from '../util/deadlines.js'

/** What a waiter wants, and how it is answered. `G` is what it is granted. */
export interface WaiterHooks<G> {
  grant(granted: G): void
  reject(error: unknown): void
  /** Makes the error for a deadline that has passed; the waiter has left the line by then. */
  timedOut(): Error
}

/**
 * One who waits. It leaves the line by being granted or rejected, and by nothing else; once it has left, nothing
 * reaches it.
 */
export class Waiter<G> implements Linked<Waiter<G>>, Timed {
  previous: Waiter<G> | null = null
  next: Waiter<G> | null = null
  dueAt = 0
  earlier: Timed | null = null
  later: Timed | null = null
  watch: Watch | null = null
  readonly hooks: WaiterHooks<G>
  #line: Line<G> | null
  #signal: AbortSignal | null = null
  #onAbort: (() => void) | null = null

  constructor(hooks: WaiterHooks<G>, line: Line<G>) {
    this.hooks = hooks
    this.#line = line
  }

  /** False once it has left. */
  get waiting(): boolean {
    return this.#line !== null
  }

  watchSignal(signal: AbortSignal): void {
    this.#signal = signal
    this.#onAbort = () => this.reject(signal.reason)
    signal.addEventListener('abort', this.#onAbort, { once: true })
  }

  onDue(): void {
    if (this.#leave()) this.hooks.reject(this.hooks.timedOut())
  }

  /**
   * Asks the waiter whether it still wants its turn; false when its time had passed and only the timer had not
   * fired yet.
   */
  grant(granted: G, now: number): boolean {
    const late = this.watch !== null && this.dueAt < now
    if (late) this.onDue()
    else if (this.#leave()) {
      this.hooks.grant(granted)
      return true
    }
    return false
  }

  reject(error: unknown): void {
    if (this.#leave()) this.hooks.reject(error)
  }

  #leave(): boolean {
    if (this.#line === null) return false
    this.#line.remove(this)
    this.#line = null
    if (this.#signal !== null) this.#signal.removeEventListener('abort', this.#onAbort!)
    return true
  }
}

export interface JoinOptions {
  readonly timeoutMillis: number
  readonly signal?: AbortSignal | undefined
}

export class Line<G> {
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
  join(hooks: WaiterHooks<G>, options: JoinOptions): Waiter<G> {
    const waiter = new Waiter(hooks, this)
    this.#waiters.push(waiter)
    if (options.timeoutMillis !== Infinity) this.#deadlines.add(waiter, options.timeoutMillis)
    if (options.signal !== undefined) waiter.watchSignal(options.signal)
    return waiter
  }

  /** For `Waiter` alone: whoever leaves does so by being granted or rejected. */
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
