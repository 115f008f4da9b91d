/**
 * One CancelRequest. It names a server process, not a statement, so it goes out only when its statement is the
 * one being answered, and the session sends nothing until both the statement and the request are over: else it
 * would hit a predecessor's COMMIT or a neighbour.
 */
import { timerFor } from '../util/timer.js'
import type { OpenedClient } from '../driver/open/index.js'
import type { Unit } from '../driver/unit.js'

/** Before the server is asked again, in milliseconds. */
const AGAIN_MILLIS = 250

export interface CancelHooks {
  /** How long the statement may go on after it was to be cancelled, in milliseconds. */
  readonly patienceMillis: number
  /** The statement and the request are both over. */
  onOver(): void
  /** The statement goes on all the same. */
  onIgnored(reason: Error): void
}

export class CancelRequest {
  readonly #unit: Unit
  readonly #opened: OpenedClient
  readonly #hooks: CancelHooks
  readonly #abort = new AbortController()
  readonly #impatience: NodeJS.Timeout | undefined
  #again: NodeJS.Timeout | undefined
  /** `waiting` (others are answered first) → `sent` → `closed`; or `needless`. */
  #request: 'waiting' | 'sent' | 'closed' | 'needless' = 'waiting'
  #answered = false

  constructor(unit: Unit, opened: OpenedClient, hooks: CancelHooks) {
    this.#unit = unit
    this.#opened = opened
    this.#hooks = hooks
    const { patienceMillis } = hooks
    this.#impatience = timerFor(patienceMillis, () =>
      hooks.onIgnored(new Error(`a cancelled statement did not end within ${patienceMillis}ms`)),
    )
  }

  /** The unit that is to be cancelled. */
  get unit(): Unit {
    return this.#unit
  }

  /** `head` is the unit that the server is answering now. */
  headIs(head: Unit | null): void {
    if (head === this.#unit && this.#request === 'waiting') void this.#send()
  }

  /** ReadyForQuery has come for the unit. */
  answered(): void {
    this.#answered = true
    if (this.#request === 'waiting') this.#request = 'needless'
    clearTimeout(this.#again)
    this.#finish()
  }

  /** The connection is lost: there is nothing to cancel. */
  abandon(): void {
    clearTimeout(this.#impatience)
    clearTimeout(this.#again)
    this.#abort.abort()
  }

  /**
   * The server says nothing to a request. One that is lost on its way, or arrives before the statement does, has no
   * effect, so the server is asked again while the statement goes on.
   */
  async #send(): Promise<void> {
    this.#request = 'sent'
    try {
      await this.#opened.cancel({ timeoutMillis: this.#hooks.patienceMillis, signal: this.#abort.signal })
    } catch {
      // The next request may arrive; the statement may end by itself, and if it does not, patience does.
    }
    this.#request = 'closed'
    if (!this.#answered && !this.#abort.signal.aborted)
      this.#again = setTimeout(() => void this.#send(), AGAIN_MILLIS)
    this.#finish()
  }

  #finish(): void {
    if (!this.#answered || this.#request === 'sent' || this.#abort.signal.aborted) return
    clearTimeout(this.#impatience)
    this.#hooks.onOver()
  }
}
