/**
 * Watches one statement's deadline and its signal. When either comes, the caller is rejected on time: a statement
 * that has not been sent is taken back; one that runs is cancelled, and its caller hears what the server says
 * about that, but waits no longer than a short grace for it.
 */
import { StatementTimeoutError } from '../errors.js'
import { onAbort } from '../util/abort-listeners.js'
import { reasonOf } from '../util/abort-signals.js'
import { deadline } from '../util/deadlines.js'
import type { StatementLimits } from '../api/statement.js'
import type { Failure } from '../util/failure.js'
import type { Deadlines, Timed } from '../util/deadlines.js'
import type { Request, RequestGuard } from './request.js'

/** How long a caller waits for the server's word on a cancelled statement, in milliseconds. */
const GRACE_MILLIS = 400

class StatementGuard implements RequestGuard {
  readonly #request: Request
  readonly #limits: StatementLimits
  readonly #deadlines: Deadlines
  readonly #timeout: Timed | null
  readonly #grace: Timed
  readonly #ignoreAbort: (() => void) | null
  /** Makes what the caller is rejected with, once a limit was reached. */
  #reason: ((cause?: unknown) => unknown) | null = null

  constructor(request: Request, limits: StatementLimits, deadlines: Deadlines) {
    this.#request = request
    this.#limits = limits
    this.#deadlines = deadlines
    this.#grace = deadline(() => this.#request.reject(this.#reason!()))
    this.#timeout = limits.timeoutMillis > 0 ? deadline(this.#onTimeout) : null
    if (this.#timeout !== null) deadlines.add(this.#timeout, limits.timeoutMillis)
    this.#ignoreAbort = limits.signal === undefined ? null : onAbort(limits.signal, this.#onAbort)
  }

  get reached(): boolean {
    return this.#reason !== null
  }

  settle(error: Error | null): Failure | null {
    this.#stop()
    if (error === null) return null
    const cancelled = (error as { code?: unknown }).code === '57014'
    return { reason: this.#reason !== null && cancelled ? this.#reason(error) : error }
  }

  abandon(): Failure | null {
    this.#stop()
    return this.#reason === null ? null : { reason: this.#reason() }
  }

  #stop(): void {
    if (this.#timeout !== null) this.#deadlines.remove(this.#timeout)
    this.#deadlines.remove(this.#grace)
    this.#ignoreAbort?.()
  }

  readonly #onTimeout = (): void => {
    this.#fire(
      (cause) =>
        new StatementTimeoutError({
          timeoutMillis: this.#limits.timeoutMillis,
          statement: this.#request.text,
          retrySafe: cause !== undefined && this.#request.owner.mayRetry(this.#request),
          cause,
        }),
    )
  }

  readonly #onAbort = (): void => {
    const reason = reasonOf(this.#limits.signal!)
    this.#fire(() => reason)
  }

  #fire(reason: (cause?: unknown) => unknown): void {
    if (this.#reason !== null) return
    this.#stop()
    this.#reason = reason
    if (this.#request.sent) {
      this.#deadlines.add(this.#grace, GRACE_MILLIS)
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
): RequestGuard | null {
  if (limits.timeoutMillis === 0 && limits.signal === undefined) return null
  return (request.guard = new StatementGuard(request, limits, deadlines))
}
