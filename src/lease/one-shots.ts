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
import type { Session } from '../session/session.js'
import type { ControlLimits } from './control-limits.js'

export interface OneShotHost {
  readonly limits: ControlLimits
  /** The live session. */
  readonly session: Session | null
  onRollback(event: RollbackEvent): void
  /** An error has come out that may say something about the connection. */
  onError(error: Error): void
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
    if (unit.error !== null) this.#host.onError(unit.error)
    if (status !== 'idle') this.#rollBack(unit)
    else if (this.#isStale(unit)) this.#sendAgain(unit)
    else {
      this.#report(unit)
      this.#host.onDone()
    }
  }

  /** Its statement failed because a prepared name was stale; nothing of it has happened. */
  #isStale(unit: Unit): boolean {
    const stale = (unit instanceof QueryUnit || unit instanceof BatchUnit) && unit.staleName
    return stale && !this.#retried.has(unit)
  }

  #sendAgain(unit: Unit): void {
    this.#retried.add(unit)
    this.#host.session?.submit(unit)
  }

  #report(unit: Unit): void {
    const error: unknown = unit.guard === null ? unit.error : unit.guard.settle(unit.error)
    if (error !== null) unit.reject(withIndex(unit, error))
    else if (unit.parseError !== null) unit.reject(unit.parseError)
    else unit.resolve(unit.outcome)
  }

  /** Only what travels alone can leave a transaction open: a plain statement that does has broken the protocol. */
  #rollBack(unit: Unit): void {
    const session = this.#host.session!
    if (unit.travel !== 'alone') {
      unit.reject(
        this.#lostError(new Error('protocol violation: a single statement left a transaction open')),
      )
      session.lose(new Error('protocol violation: a single statement left a transaction open'))
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

  #rolledBack(unit: Unit, failure: Error | null, limit: unknown): void {
    const statement = unit.text
    this.#host.onRollback({ reason: 'one-shot', statement, ...(failure === null ? {} : { error: failure }) })
    // A batch's own failure is its error; the open transaction is the library's doing then.
    if (unit instanceof BatchUnit) this.#report(unit)
    else {
      unit.reject(
        limit ??
          new UncommittedTransactionError({
            statement,
            oneShot: true,
            retrySafe: unit.ended !== 'committed',
            cause: unit.error ?? undefined,
          }),
      )
    }
    this.#host.onDone()
  }

  onWithdrawn(unit: Unit, error: Error | null): void {
    unit.reject(unit.guard?.abandon() ?? error)
  }

  onLost(unit: Unit, cause: Error): void {
    unit.reject(unit.guard?.abandon() ?? this.#lostError(cause, unit.sent))
  }

  #lostError(cause: Error, sent = true): ConnectionLostError {
    return new ConnectionLostError({ commitOutcome: sent ? 'unknown' : 'none', cause, retrySafe: !sent })
  }
}

/** The error of a batch says which of its statements failed; the reason of an abort is the program's own. */
function withIndex(unit: Unit, error: unknown): unknown {
  const isOurs = error instanceof StatementTimeoutError || (error !== null && error === unit.error)
  if (unit instanceof BatchUnit && unit.failedIndex !== null && isOurs) {
    Object.assign(error, { index: unit.failedIndex })
  }
  return error
}

/** What a unit is rejected with because a limit of it was reached; null where none was. */
function limitOf(unit: Unit): unknown {
  const { guard } = unit
  if (guard === null) return null
  const error = guard.settle(unit.error)
  return guard.reached && error !== unit.error ? error : null
}
