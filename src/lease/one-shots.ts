/**
 * Whoever stands in for one-shots and batches on the session: they have no holder. Each is a transaction of its
 * own; one that leaves a transaction open is rolled back before anyone else is served.
 */
import { ConnectionLostError, StatementTimeoutError, UncommittedTransactionError } from '../errors.js'
import { BatchUnit } from '../driver/batch-unit.js'
import { ControlUnit } from '../driver/control-unit.js'
import { QueryUnit } from '../driver/query-unit.js'
import { SILENT_OWNER } from '../session/silent-owner.js'
import type { RollbackEvent } from '../events.js'
import type { ReadyStatus, Unit, UnitOwner } from '../driver/unit.js'
import type { Failure } from '../util/failure.js'
import type { Session } from '../session/session.js'
import type { ControlLimits } from './control-limits.js'

export interface OneShotHost {
  readonly limits: ControlLimits
  /** The live session. */
  readonly session: Session | null
  onRollback(event: RollbackEvent): void
  /** A one-shot was answered and its transaction is over. */
  onDone(): void
}

export class OneShots implements UnitOwner {
  readonly #host: OneShotHost
  /** Those that were sent a second time, because their prepared statement had become stale. */
  readonly #retried = new WeakSet<Unit>()

  constructor(host: OneShotHost) {
    this.#host = host
  }

  admit(unit: Unit): null {
    unit.mayCommit = true
    return null
  }

  onAnswered(unit: Unit, status: ReadyStatus): void {
    if (status !== 'idle') this.#rollBack(unit)
    else if (this.#isStale(unit)) this.#sendAgain(unit)
    else {
      this.#report(unit)
      this.#host.onDone()
    }
  }

  /**
   * Its statement failed because a prepared name was stale; nothing of it has happened. It is sent again only where
   * nothing was sent behind it, which would be done before it then.
   */
  #isStale(unit: Unit): boolean {
    const stale = (unit instanceof QueryUnit || unit instanceof BatchUnit) && unit.staleName
    return stale && this.#host.session?.inFlight === 0 && !this.#retried.has(unit)
  }

  #sendAgain(unit: Unit): void {
    this.#retried.add(unit)
    this.#host.session?.submit(unit)
  }

  #report(unit: Unit): void {
    const failure = unit.failure()
    if (failure === null) unit.resolve(unit.outcome)
    else unit.reject(withIndex(unit, failure.reason))
  }

  /** Only what travels alone can leave a transaction open: a plain statement that does has broken the protocol. */
  #rollBack(unit: Unit): void {
    const session = this.#host.session!
    if (unit.travel !== 'alone') {
      const violation = new Error('protocol violation: a single statement left a transaction open')
      unit.giveUp(this.#lostError(violation))
      session.lose(violation)
      return
    }
    // Answered, it cannot be cancelled any more.
    const limit = limitOf(unit)
    const rollback = new ControlUnit(SILENT_OWNER, 'ROLLBACK')
    rollback.seal = true
    rollback.limitMillis = this.#host.limits.rollback
    void rollback
      .promise<ControlUnit>()
      .then(() => null)
      .catch((error: Error) => error)
      .then((failure) => this.#rolledBack(unit, failure, limit))
    session.submit(rollback)
  }

  #rolledBack(unit: Unit, failure: Error | null, limit: Failure | null): void {
    const statement = unit.text
    this.#host.onRollback({ reason: 'one-shot', statement, ...(failure === null ? {} : { error: failure }) })
    // A batch's own failure is its error; the open transaction is the library's doing then.
    if (unit instanceof BatchUnit) this.#report(unit)
    else {
      const uncommitted = new UncommittedTransactionError({
        statement,
        oneShot: true,
        retrySafe: unit.ended !== 'committed',
        cause: unit.error ?? undefined,
      })
      unit.reject(limit === null ? uncommitted : limit.reason)
    }
    this.#host.onDone()
  }

  onWithdrawn(unit: Unit, error: Error | null): void {
    unit.giveUp(error)
  }

  onLost(unit: Unit, cause: Error): void {
    unit.giveUp(this.#lostError(cause, unit.sent))
  }

  #lostError(cause: Error, sent = true): ConnectionLostError {
    return new ConnectionLostError({ commitOutcome: sent ? 'unknown' : 'none', cause, retrySafe: !sent })
  }
}

/** The error of a batch says which of its statements failed; the reason of an abort is the program's own. */
function withIndex(unit: Unit, error: unknown): unknown {
  if (!(unit instanceof BatchUnit) || unit.failedIndex === null) return error
  const isOurs = error === unit.error || error instanceof StatementTimeoutError
  return isOurs ? Object.assign(error as Error, { index: unit.failedIndex }) : error
}

/** What a unit is rejected with because a limit of it was reached; null where none was. */
function limitOf({ guard, error }: Unit): Failure | null {
  if (guard === null) return null
  const failure = guard.settle(error)
  return guard.reached && failure !== null && failure.reason !== error ? failure : null
}
