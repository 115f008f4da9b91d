/**
 * Watches one statement's deadline and its signal. When either comes, the caller is rejected on time: a statement
 * that has not been sent is taken back; one that runs is cancelled, and its caller hears what the server says
 * about that, but waits no longer than a short grace for it.
 */
import { StatementTimeoutError } from '../errors.js'
import { onAbort } from '../util/abort-listeners.js'
import { reasonOf } from '../util/abort-signals.js'
import { deadline, type Deadlines } from '../util/deadlines.js'
import type { StatementLimits } from '../api/statement.js'
import type { Failure } from '../util/failure.js'
import type { Request } from './request.js'

/** How long a caller waits for the server's word on a cancelled statement, in milliseconds. */
const GRACE_MILLIS = 400

export class StatementGuard {
  readonly #request: Request
  readonly #timeoutMillis: number
  readonly #deadlines: Deadlines
  readonly #ignoreAbort: (() => void) | null
  /** Of the statement; once a limit was reached, of the grace. */
  readonly #deadline = deadline(() => {
    if (this.#reason === null) this.#fire((cause) => this.#timedOut(cause))
    else this.#request.reject(this.#reason())
  })
  /** Makes what the caller is rejected with, once a limit was reached. */
  #reason: ((cause?: unknown) => unknown) | null = null

  constructor(request: Request, { timeoutMillis, signal }: StatementLimits, deadlines: Deadlines) {
    this.#request = request
    this.#timeoutMillis = timeoutMillis
    this.#deadlines = deadlines
    if (timeoutMillis > 0) deadlines.add(this.#deadline, timeoutMillis)
    this.#ignoreAbort =
      signal === undefined ? null : onAbort(signal, () => this.#fire(() => reasonOf(signal)))
  }

  /** A limit was reached: its caller has been told, or will be in a moment. */
  get reached(): boolean {
    return this.#reason !== null
  }

  /** The request was answered. Gives what its caller gets in place of `error`; null where all went well. */
  settle(error: Error | null): Failure | null {
    this.#stop()
    if (error === null) return null
    const cancelled = (error as { code?: unknown }).code === '57014'
    return { reason: this.#reason !== null && cancelled ? this.#reason(error) : error }
  }

  /** The request will not be answered. Gives the failure for the limit that was reached before; else null. */
  abandon(): Failure | null {
    this.#stop()
    return this.#reason === null ? null : { reason: this.#reason() }
  }

  #stop(): void {
    this.#deadlines.remove(this.#deadline)
    this.#ignoreAbort?.()
  }

  #timedOut(cause: unknown): StatementTimeoutError {
    const timeoutMillis = this.#timeoutMillis
    const { text: statement, owner, sent } = this.#request
    const isUndone = cause !== undefined || !sent
    const retrySafe = isUndone && owner.mayRetry(this.#request)
    return new StatementTimeoutError({ timeoutMillis, statement, sent, retrySafe, cause })
  }

  #fire(reason: (cause?: unknown) => unknown): void {
    if (this.#reason !== null) return
    this.#stop()
    this.#reason = reason
    if (this.#request.sent) {
      this.#deadlines.add(this.#deadline, GRACE_MILLIS)
      this.#request.cancel()
    } else {
      this.#request.owner.withdraw(this.#request)
      this.#request.reject(reason())
    }
  }
}

/** Puts a guard on a request that has limits, and gives it. */
export function guardRequest(
  request: Request,
  limits: StatementLimits,
  deadlines: Deadlines,
): StatementGuard | null {
  if (limits.timeoutMillis === 0 && limits.signal === undefined) return null
  return (request.guard = new StatementGuard(request, limits, deadlines))
}
