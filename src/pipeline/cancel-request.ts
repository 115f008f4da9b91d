/**
 * The cancelling of one statement, which is the one that the server runs. A CancelRequest names a server process, not
 * a statement, so the backend sends nothing until both the statement and the request are over: else it would hit a
 * neighbour.
 */
import { timerFor } from '../util/timer.js'
import type { OpenedClient } from '../connect/index.js'
import type { Request } from './request.js'
import type { Timer } from '../util/timer.js'

/** Before the server is asked again, in milliseconds. */
const AGAIN_MILLIS = 250

export interface CancelHooks {
  /** How long the statement may go on, in milliseconds. */
  readonly patienceMillis: number
  /** The statement and the request are both over. */
  onOver(): void
  /** The statement goes on all the same. */
  onIgnored(reason: Error): void
}

export class CancelRequest {
  readonly target: Request
  readonly #opened: OpenedClient
  readonly #hooks: CancelHooks
  readonly #abort = new AbortController()
  readonly #impatience: Timer | undefined
  #again: Timer | undefined
  /** A request is on its way. */
  #underWay = false
  #answered = false

  constructor(target: Request, opened: OpenedClient, hooks: CancelHooks) {
    this.target = target
    this.#opened = opened
    this.#hooks = hooks
    const { patienceMillis } = hooks
    this.#impatience = timerFor(patienceMillis, () =>
      hooks.onIgnored(new Error(`a cancelled statement did not end within ${patienceMillis}ms`)),
    )
    void this.#send()
  }

  /** ReadyForQuery has come for the statement. */
  answered(): void {
    this.#answered = true
    this.#impatience?.stop()
    this.#again?.stop()
    this.#finish()
  }

  /** The connection is lost: there is nothing to cancel. */
  abandon(): void {
    this.#impatience?.stop()
    this.#again?.stop()
    this.#abort.abort()
  }

  /**
   * The server says nothing to a request. One that is lost on its way, or arrives before the statement does, has no
   * effect, so the server is asked again while the statement goes on.
   */
  async #send(): Promise<void> {
    this.#underWay = true
    try {
      await this.#opened.cancel({ timeoutMillis: this.#hooks.patienceMillis, signal: this.#abort.signal })
    } catch {
      // The next request may arrive, or the statement end by itself. If neither happens, the timer fires.
    }
    this.#underWay = false
    if (!this.#answered && !this.#abort.signal.aborted)
      this.#again = timerFor(AGAIN_MILLIS, () => void this.#send())
    this.#finish()
  }

  #finish(): void {
    if (this.#answered && !this.#underWay && !this.#abort.signal.aborted) this.#hooks.onOver()
  }
}
