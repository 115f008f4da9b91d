/**
 * Which statements of a backend are to be cancelled. Any number may be, each as soon as it is the one that the server
 * runs. A CancelRequest names a server process, not a statement, so nothing is sent until both the statement and the
 * request are over: else it would hit a neighbour.
 */
import { timerFor, type Timer } from '../util/timer.js'
import type { OpenedClient } from '../connect/index.js'
import type { Request } from './request.js'

/** Before the server is asked again, in milliseconds. */
const AGAIN_MILLIS = 250

export interface CancelHooks {
  /** How long a statement may go on, in milliseconds. */
  readonly patienceMillis: number
  /** A statement and its CancelRequest are both over. */
  onOver(): void
  /** A statement goes on all the same. */
  onIgnored(reason: Error): void
}

export class Cancels {
  readonly #opened: OpenedClient
  readonly #hooks: CancelHooks
  readonly #lost = new AbortController()
  /** Unanswered statements that are to be cancelled, in the order of asking. */
  readonly #wanted = new Set<Request>()
  /** The one that is being cancelled, or whose CancelRequest has not come back yet. */
  #target: Request | null = null
  #answered = false
  /** A CancelRequest is on its way. */
  #asking = false
  #impatience: Timer | undefined
  #again: Timer | undefined

  constructor(opened: OpenedClient, hooks: CancelHooks) {
    this.#opened = opened
    this.#hooks = hooks
  }

  /** Something is to be cancelled, or a CancelRequest is on its way: what is sent now might be hit. */
  get pending(): boolean {
    return this.#target !== null || this.#wanted.size > 0
  }

  /** It is `request` that is to be cancelled, or being so. */
  concerns(request: Request): boolean {
    return this.#target === request || this.#wanted.has(request)
  }

  /** `request`, which was sent, is to be cancelled; `head` is the one that the server runs. */
  ask(request: Request, head: Request | null): void {
    if (this.#target === request) return
    this.#wanted.add(request)
    this.headIs(head)
  }

  /** The server runs `head` now. */
  headIs(head: Request | null): void {
    if (head === null || this.#target !== null || !this.#wanted.delete(head)) return
    this.#target = head
    this.#answered = false
    const { patienceMillis } = this.#hooks
    this.#impatience = timerFor(patienceMillis, () =>
      this.#hooks.onIgnored(new Error(`a cancelled statement did not end within ${patienceMillis}ms`)),
    )
    void this.#ask()
  }

  /** ReadyForQuery has come for `request`. */
  answered(request: Request): void {
    this.#wanted.delete(request)
    if (this.#target !== request) return
    this.#answered = true
    this.#stopTimers()
    this.#finish()
  }

  /** The connection is lost: there is nothing to cancel. */
  abandon(): void {
    this.#wanted.clear()
    this.#target = null
    this.#stopTimers()
    this.#lost.abort()
  }

  #stopTimers(): void {
    this.#impatience?.stop()
    this.#again?.stop()
  }

  /**
   * The server says nothing to a request. One that is lost on its way, or arrives before the statement does, has no
   * effect, so the server is asked again while the statement goes on.
   */
  async #ask(): Promise<void> {
    const { signal } = this.#lost
    this.#asking = true
    // Where it fails the next may arrive, or the statement end by itself. If neither happens, the patience ends.
    await this.#opened.cancel({ timeoutMillis: this.#hooks.patienceMillis, signal }).catch(() => {})
    this.#asking = false
    if (signal.aborted) return
    if (!this.#answered) this.#again = timerFor(AGAIN_MILLIS, () => void this.#ask())
    this.#finish()
  }

  #finish(): void {
    if (!this.#answered || this.#asking) return
    this.#target = null
    this.#hooks.onOver()
  }
}
