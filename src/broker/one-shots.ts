/**
 * The owner of the requests of one-shots and batches, which have no holder. Each is a transaction of its
 * own; one that leaves a transaction open is rolled back before anyone else is served.
 */
import { SEND_COMMITTING, type Admission, type RequestOwner } from '../pipeline/request-owner.js'
import { SILENT_OWNER } from '../backend/silent-owner.js'
import { ConnectionLostError, UncommittedTransactionError } from '../errors.js'
import { withIndex } from '../lease/batch.js'
import { leadOf } from '../lease/lease-settings.js'
import { BatchRequest } from '../pipeline/batch-request.js'
import { ControlRequest } from '../pipeline/control-request.js'
import { createRequest } from '../pipeline/create-request.js'
import { StatementsRequest } from '../pipeline/query-request.js'
import { TRAITS, type Pipelining, type Request } from '../pipeline/request.js'
import { guardRequest } from '../pipeline/statement-guard.js'
import { localCommands, meaningOf, type TurnSettings } from '../sql/turn-settings.js'
import type { BatchTerms } from '../api/ports.js'
import type { Statement, StatementCall, StatementLimits, ReadyStatus } from '../api/statement.js'
import type { Failure } from '../util/failure.js'
import type { Dispatcher } from './dispatcher.js'
import type { OneShot } from './waiters.js'

export class OneShots implements RequestOwner {
  readonly isolated = true
  readonly #dispatcher: Dispatcher
  /** Those that were sent a second time, because their prepared statement had become stale. */
  readonly #retried = new WeakSet<Request>()

  constructor(dispatcher: Dispatcher) {
    this.#dispatcher = dispatcher
  }

  query(call: StatementCall): OneShot<StatementCall> {
    const { kind, reads } = call.text
    return { call, pipelining: this.#pipelining(kind === 'plain', reads), create: this.#createQuery }
  }

  /** What is sent here could not be sent again if the connection died behind a COMMIT. */
  readonly #createQuery = (call: StatementCall, exclusive: boolean): Request => {
    call.onSent?.()
    return this.#guarded(createRequest(this, call, false, exclusive), call.limits)
  }

  /** Each result is of its own statement; the limits are those of the whole. */
  batch(
    calls: readonly StatementCall[],
    { begin, settings }: BatchTerms,
    signal: AbortSignal | undefined,
  ): OneShot<readonly Statement[]> {
    // What is to be set for them all is set behind a BEGIN.
    const own = { begin: settings === null ? begin : (begin ?? 'BEGIN'), settings }
    const limits = { timeoutMillis: this.#dispatcher.options.statementTimeoutMillis, signal }
    return {
      call: calls.map(({ statement }) => statement),
      pipelining: this.#pipelining(own.begin === null, false),
      create: (statements, exclusive) => {
        calls[0]!.onSent?.()
        return this.#guarded(new BatchRequest(this, statements, own, exclusive), limits)
      },
    }
  }

  /** Where each one-shot is followed by a reset, no other statement may come in between. */
  #pipelining(sharable: boolean, reads: boolean): Pipelining {
    if (!sharable || this.#dispatcher.options.reset === 'session') return 'exclusive'
    return reads ? 'read' : 'shared'
  }

  #guarded(request: Request, limits: StatementLimits): Request {
    guardRequest(request, limits, this.#dispatcher.deadlines)
    return request
  }

  withdraw(request: Request): void {
    this.#dispatcher.backend?.pipeline.withdraw(request)
  }

  mayRetry({ ended, traits }: Request): boolean {
    return ended !== 'committed' && !traits.facts.inParts
  }

  admit(request: Request): Admission {
    const settings = settingsOf(request)
    if (settings === null) return SEND_COMMITTING
    const isExplicit = request instanceof BatchRequest
    return isExplicit
      ? { ...SEND_COMMITTING, locals: localCommands(settings) }
      : { ...SEND_COMMITTING, lead: leadOf(settings) }
  }

  meaningOf(request: Request): string {
    const settings = settingsOf(request)
    return settings === null ? '' : meaningOf(settings)
  }

  onAnswered(request: Request, status: ReadyStatus): void {
    if (status !== 'idle') this.#rollBack(request)
    else if (this.#isStale(request)) {
      this.#retried.add(request)
      this.#dispatcher.backend?.pipeline.submit(request)
    } else {
      this.#report(request)
      this.#dispatcher.tidySession()
    }
  }

  /**
   * Its statement failed because a prepared name was stale; nothing of it has happened. It is sent again only where
   * nothing was sent behind it, which would be done before it then.
   */
  #isStale(request: Request): boolean {
    const last = this.#dispatcher.backend?.pipeline.inFlight === 0
    return request.staleName && last && !this.#retried.has(request)
  }

  #report(request: Request): void {
    const failure = request.failure()
    if (failure === null) request.resolve(request.outcome)
    else if (request instanceof BatchRequest) request.reject(withIndex(request, failure.reason))
    else request.reject(failure.reason)
  }

  /** Only an exclusive request can leave a transaction open. Where another one does, the protocol is broken. */
  #rollBack(request: Request): void {
    const backend = this.#dispatcher.backend!
    if (request.traits.pipelining !== 'exclusive') {
      const violation = new Error('protocol violation: a single statement left a transaction open')
      request.giveUp(lostError(violation, true))
      backend.lose(violation)
      return
    }
    // Answered, it cannot be cancelled any more.
    const limit = limitOf(request)
    const traits = { ...TRAITS, endsTransaction: true, limitMillis: this.#dispatcher.limits.rollback }
    const rollback = new ControlRequest(SILENT_OWNER, 'ROLLBACK', traits, true)
    void rollback
      .promise<unknown>()
      .then(() => null)
      .catch((error: Error) => error)
      .then((failure) => this.#rolledBack(request, failure, limit))
    backend.pipeline.submit(rollback)
    // Before the next in line, who may be served as soon as the ROLLBACK has been sent.
    this.#dispatcher.tidySession()
  }

  #rolledBack(request: Request, failure: Error | null, limit: Failure | null): void {
    const statement = request.text
    const failed = failure === null ? {} : { error: failure }
    this.#dispatcher.onRollback({ reason: 'one-shot', label: null, statement, ...failed })
    // A batch rejects with its own error, because the open transaction is one that the library began.
    if (request instanceof BatchRequest) this.#report(request)
    else if (limit !== null) request.reject(limit.reason)
    else {
      const cause = request.error ?? undefined
      const retrySafe = request.ended !== 'committed'
      request.reject(new UncommittedTransactionError({ statement, oneShot: true, retrySafe, cause }))
    }
  }

  onWithdrawn(request: Request, error: Error | null): void {
    request.giveUp(error)
  }

  onLost(request: Request, cause: Error): void {
    request.giveUp(lostError(cause, request.sent))
  }
}

function settingsOf(request: Request): TurnSettings | null {
  return request instanceof StatementsRequest ? request.settings : null
}

function lostError(cause: Error, sent: boolean): ConnectionLostError {
  return new ConnectionLostError({ commitOutcome: sent ? 'unknown' : 'none', cause, retrySafe: !sent })
}

/** What a request is rejected with because a limit of it was reached; null where none was. */
function limitOf({ guard, error }: Request): Failure | null {
  if (guard === null) return null
  const failure = guard.settle(error)
  return guard.reached && failure !== null && failure.reason !== error ? failure : null
}
