/** The handle of one holder: what it may do with the connection while it is its. */
import { randomBytes } from 'node:crypto'
import {
  CommitRolledBackError,
  ConnectionLostError,
  ConnectionReleasedError,
  TransactionOrderError,
  UnfinishedStatementError,
  outOfOrder,
} from '../errors.js'
import { ControlRequest } from '../pipeline/control-request.js'
import { QueryRequest } from '../pipeline/query-request.js'
import { TextRequest } from '../pipeline/text-request.js'
import { readRows } from '../pipeline/row-stream.js'
import { SubmittableRequest } from '../pipeline/submittable-request.js'
import { checkNested, checkOptionNames } from './option-names.js'
import { checkBoolean } from '../options.js'
import { callbackOf, isSubmittable, readCall, readLimits } from './query-arguments.js'
import { NESTED, checkCommitted } from '../lease/release.js'
import { sqlState } from '../lease/failures.js'
import { runCallback } from '../lease/holder-context.js'
import { StatementGuard } from '../pipeline/statement-guard.js'
import { reasonOf } from '../util/abort-signals.js'
import { withCallersFrames } from '../util/callers-frames.js'
import { clock } from '../util/clock.js'
import type {
  QueryArrayConfig,
  QueryArrayResult,
  QueryConfigValues,
  QueryResult,
  QueryResultRow,
  Submittable,
} from 'pg'
import type { DriverSubmittable } from '../pipeline/submittable-request.js'
import type { StreamOptions, Submitted } from '../pipeline/row-stream.js'
import type { Request, RequestGuard } from '../pipeline/request.js'
import type { Failure } from '../util/failure.js'
import type { Lease } from '../lease/lease.js'
import type {
  AnyRow,
  AnyValues,
  CallDefaults,
  QueryCallback,
  QueryConfig,
  StatementCall,
  StatementOptions,
} from './query-arguments.js'
import type { StatementLimits } from '../pipeline/statement-guard.js'
import type { Instruments, ShownCalls } from './shown-calls.js'
import type { Deadlines } from '../util/deadlines.js'

/** libpq's names for what a backend is doing (`PQTRANS_…`). */
export type TransactionStatus = 'idle' | 'active' | 'intrans' | 'inerror' | 'unknown'

/** What a handle needs of its manager. */
export interface HandleServices {
  /** The manager, as the key of its holders' scopes. */
  readonly manager: object
  readonly defaults: CallDefaults
  readonly instruments: Instruments
  readonly deadlines: Deadlines
  /** Settles the turn as "returned". */
  release(turn: Lease): Promise<void>
  /** Waits until nothing of the turn is in flight, and no longer than a release would. */
  settleDown(turn: Lease): Promise<void>
}

/** One level of the handle's transactions: the turn itself, or a nested `transaction()`. */
interface Level {
  /** The library ends it: commit() and rollback() are out of order. */
  readonly owned: boolean
  /** A nested transaction is open, and speaks alone. */
  nested: boolean
  over: boolean
}

/**
 * The exclusive right to use the connection. Given to the callbacks of `use` and `transaction`, and by `acquire`,
 * which has to release it. After the release it is a tombstone: what would reach the server rejects with
 * `ConnectionReleasedError`.
 *
 * Statements that are issued without awaiting each other are pipelined and answered in order. Statements that
 * cannot run in a transaction (VACUUM, CREATE DATABASE) need `autocommit`.
 */
export class Connection implements AsyncDisposable {
  readonly #turn: Lease
  readonly #services: HandleServices
  readonly #level: Level
  #released: Promise<void> | null = null
  #savepoints = 0

  /** @internal Handles are made by a manager. */
  constructor(
    turn: Lease,
    services: HandleServices,
    level: Level = { owned: turn.owned, nested: false, over: false },
  ) {
    this.#turn = turn
    this.#services = services
    this.#level = level
  }

  /**
   * Sends a statement: pg's signatures and results. The first one opens a transaction, unless `autocommit` is on.
   *
   * @throws pg's `DatabaseError` for what the server refuses; `StatementTimeoutError`; `signal.reason`;
   * `ConnectionLostError`; `ConnectionReleasedError`; `TransactionOrderError` while a nested transaction is open.
   *
   * ```ts
   * const { rows } = await connection.query<{ one: number }>('SELECT $1::int AS one', [1])
   * ```
   */
  query<T extends Submittable>(queryStream: T): T
  query<R extends AnyValues = AnyValues, I = AnyValues>(
    queryConfig: QueryArrayConfig<I> & StatementOptions,
    values?: QueryConfigValues<I>,
  ): Promise<QueryArrayResult<R>>
  query<R extends QueryResultRow = AnyRow, I = AnyValues>(
    queryConfig: QueryConfig<I>,
  ): Promise<QueryResult<R>>
  query<R extends QueryResultRow = AnyRow, I = AnyValues>(
    queryTextOrConfig: string | QueryConfig<I>,
    values?: QueryConfigValues<I>,
  ): Promise<QueryResult<R>>
  query<R extends AnyValues = AnyValues, I = AnyValues>(
    queryConfig: QueryArrayConfig<I> & StatementOptions,
    callback: (error: Error, result: QueryArrayResult<R>) => void,
  ): void
  query<R extends QueryResultRow = AnyRow, I = AnyValues>(
    queryTextOrConfig: string | QueryConfig<I>,
    callback: QueryCallback<R>,
  ): void
  query<R extends QueryResultRow = AnyRow, I = AnyValues>(
    queryText: string,
    values: QueryConfigValues<I>,
    callback: QueryCallback<R>,
  ): void
  query(config: unknown, values?: unknown, callback?: unknown): unknown {
    if (isSubmittable(config)) {
      const listener = callbackOf(undefined, values, callback)
      if (listener !== undefined) (config as { callback?: unknown }).callback ??= listener
      void this.#submit(config)
      return config
    }
    const listener = callbackOf(config, values, callback)
    const answered = this.#query(config, values)
    if (listener === undefined) return answered
    answered.then(
      (result) => clock.nextTick(listener, null, result),
      (error: unknown) => clock.nextTick(listener, error, undefined),
    )
    return undefined
  }

  #query(config: unknown, values: unknown): Promise<QueryResult> {
    try {
      const asked = readCall(config, values, this.#services.defaults)
      const shown = this.#services.instruments.show(asked)
      return this.#ask(shown?.calls[0] ?? asked, shown)
    } catch (error) {
      return Promise.reject(error as Error)
    }
  }

  #ask(call: StatementCall, shown: ShownCalls | null): Promise<QueryResult> {
    const refusal = this.#refusalOf(call)
    if (refusal !== null) {
      const refused = Promise.reject<QueryResult>(refusal.reason as Error)
      return shown === null ? refused : shown.follow(refused)
    }
    const request = createUnit(this.#turn, call)
    const answered = request.callersPromise<QueryResult>(shown)
    this.#guard(request, call.limits)
    this.#turn.issue(request, call.text)
    return answered
  }

  /**
   * The rows of one statement as an async iterable, fetched a batch at a time, so that memory stays flat. It speaks
   * alone: until it has been read to its end or left (`break`, an error) the handle refuses everything else.
   *
   * @throws while it is read: what `query` throws
   *
   * ```ts
   * for await (const row of connection.stream<{ n: number }>('SELECT generate_series(1, $1::int) AS n', [1e6])) {
   *   if (row.n === 1000) break
   * }
   * ```
   */
  stream<R extends QueryResultRow = AnyRow>(
    text: string,
    values?: AnyValues,
    options: StreamOptions = {},
  ): AsyncIterableIterator<R> {
    checkOptionNames('stream', options)
    return readRows<R>(text, values, options, (cursor) => this.#openStream(cursor, options))
  }

  #openStream(cursor: DriverSubmittable, options: StreamOptions): Submitted {
    const limits = readLimits({ ...options }, this.#services.defaults.timeoutMillis)
    const turn = this.#turn
    const request = this.#submit(cursor)
    turn.streams++
    // Until its reader has left, even if all rows have come: few rows are to behave as many do.
    return { over: request.over, watch: () => this.#guard(request, limits), left: () => void turn.streams-- }
  }

  /** Why a statement is not sent; null where it is. */
  #refusalOf({ limits: { signal } }: StatementCall): Failure | null {
    const refusal = this.#refusal()
    if (refusal !== null) return { reason: refusal }
    return signal?.aborted === true ? { reason: reasonOf(signal) } : null
  }

  #guard(request: Request, limits: StatementLimits): RequestGuard | null {
    if (limits.timeoutMillis === 0 && limits.signal === undefined) return null
    const turn = this.#turn
    return (request.guard = new StatementGuard(request, limits, {
      deadlines: this.#services.deadlines,
      withdraw: () => turn.withdrawn(request),
      cancel: () => turn.backend?.cancel(request),
      retrySafe: () => turn.retrySafe,
    }))
  }

  #submit(submittable: DriverSubmittable): SubmittableRequest {
    const request = new SubmittableRequest(this.#turn, submittable, this.#services.defaults.texts)
    const refusal = this.#refusalOfSubmittable(request)
    if (refusal === null) this.#turn.issue(request, request.facts)
    else clock.nextTick(() => request.reject(refusal))
    return request
  }

  /** Why the submittable is not sent; null where it is. */
  #refusalOfSubmittable(request: SubmittableRequest): Error | null {
    try {
      this.#services.instruments.showSubmittable(request)
    } catch (error) {
      return error as Error
    }
    return this.#refusal()
  }

  /**
   * Commits the open transaction; resolves once the server has confirmed it. With nothing open it does nothing and
   * costs nothing.
   *
   * @throws `CommitRolledBackError` where the transaction had failed; `ConnectionLostError`, with `commitOutcome`
   * `'unknown'`, where the connection died before the answer; `TransactionOrderError` inside `transaction()`.
   */
  async commit(): Promise<void> {
    this.#checkMayEnd('commit')
    const answered = this.#turn.commit()
    if (answered === null) return
    const request = await answered.catch(withCallersFrames)
    // Not sent where an earlier statement of the holder's had ended the transaction.
    if (request.tag !== null) checkCommitted(request, this.#turn)
  }

  /** Rolls the open transaction back. With nothing open it does nothing and costs nothing. */
  async rollback(): Promise<void> {
    this.#checkMayEnd('rollback')
    await this.#turn.rollback()?.catch(withCallersFrames)
  }

  /**
   * Runs `work` in a transaction: BEGIN…COMMIT when none is open, else a SAVEPOINT. Committed, or released, when
   * `work` returns; rolled back when it throws. Until then this handle waits for it: use the one that `work` gets.
   *
   * @throws what `work` throws; `CommitRolledBackError` where `work` swallowed the error of a statement;
   * `TransactionEndedError`; `UnfinishedStatementError`; `TransactionOrderError` for a sibling that is still open.
   */
  transaction<T>(work: (connection: Connection) => T | PromiseLike<T>, ...none: never[]): Promise<T> {
    const refusal = this.#refusal() ?? checkNested(work, none)
    if (refusal !== null) return Promise.reject(refusal)
    const level: Level = { owned: true, nested: false, over: false }
    const running = this.#nest(work, level)
    this.#turn.nested ??= new Map()
    this.#turn.nested.set(level, running)
    return running
  }

  async #nest<T>(work: (connection: Connection) => T | PromiseLike<T>, level: Level): Promise<T> {
    this.#level.nested = true
    try {
      return await this.#runNested(work, await this.#nestedEnding(), level)
    } finally {
      this.#turn.nested?.delete(level)
      this.#level.nested = false
      level.over = true
    }
  }

  /** Whether a transaction is open is known for certain once everything before is answered. */
  async #nestedEnding(): Promise<NestedEnding> {
    const turn = this.#turn
    if (turn.outstanding > 0) await turn.quiet()
    const refusal = turn.refusal()
    if (refusal !== null) throw refusal
    const idle = !turn.owned && !turn.transactionOpen
    return idle ? new OwnTransaction(turn) : new Savepoint(turn, `${SAVEPOINT_PREFIX}_${++this.#savepoints}`)
  }

  async #runNested<T>(
    work: (connection: Connection) => T | PromiseLike<T>,
    ending: NestedEnding,
    level: Level,
  ): Promise<T> {
    // Its holder may have left since: a SAVEPOINT of nobody's would open a transaction of nobody's.
    const refusal = this.#turn.refusal()
    if (refusal !== null) throw refusal
    const child = new Connection(this.#turn, this.#services, level)
    // Names are unique along a branch: a child counts on where its parent stands.
    child.#savepoints = this.#savepoints
    let result: T
    try {
      ending.begin()
      result = await runCallback(this.#services.manager, () => work(child))
    } catch (error) {
      await this.#endNested(level, () => ending.abort())
      throw error
    }
    await this.#endNested(level, (unfinished) => ending.finish(unfinished))
    return result
  }

  /** What the nested work left in flight is answered first. */
  async #endNested(
    level: Level,
    end: (unfinished: readonly string[] | null) => Promise<void>,
  ): Promise<void> {
    level.over = true
    const turn = this.#turn
    const unfinished = turn.unfinished()
    if (level.nested) {
      unfinished.push(NESTED)
      turn.markNestedHandled()
    }
    if (turn.outstanding > 0) {
      turn.markUnfinishedHandled()
      await this.#services.settleDown(turn)
    }
    await end(unfinished.length > 0 ? unfinished : null)
  }

  /** What the backend is doing, as the server's last ReadyForQuery says; `'unknown'` once released or lost. */
  get status(): TransactionStatus {
    const turn = this.#turn
    if (this.#level.over || turn.state !== 'held' || turn.serverState === 'lost') return 'unknown'
    if (turn.outstanding > 0) return 'active'
    return turn.serverState as TransactionStatus
  }

  /**
   * Whether each statement commits by itself. It can be set only while no transaction is open.
   *
   * @throws `TransactionOrderError` when it is set while one is.
   */
  get autocommit(): boolean {
    return this.#turn.autocommit
  }

  set autocommit(autocommit: boolean) {
    checkBoolean('autocommit', autocommit)
    const refusal = this.#refusal()
    if (refusal !== null) throw refusal
    if (this.#level.owned || this.#turn.transactionOpen || this.#turn.outstanding > 0) {
      throw new TransactionOrderError('autocommit can be set only while no transaction is open')
    }
    this.#turn.autocommit = autocommit
  }

  /** The server process; null once released or lost. */
  get processID(): number | null {
    const { backend, state } = this.#turn
    return state === 'held' && backend !== null && backend.lost === null ? backend.processID : null
  }

  /**
   * Gives the connection back, for handles from `acquire()`; `use` and `transaction` do it by themselves. An open
   * transaction is rolled back. Further calls do nothing and resolve.
   *
   * @throws `UncommittedTransactionError`, `UnfinishedStatementError`, `ConnectionLostError`, `HoldTimeoutError`, as
   * the settlement table says.
   */
  async release(): Promise<void> {
    if (this.#released !== null) {
      // The first call has reported what there was to report.
      await this.#released.catch(() => {})
      return
    }
    if (this.#level.owned) {
      if (this.#turn.state !== 'held') return
      throw new TransactionOrderError(
        'release() was called inside transaction(), which returns the connection itself',
      )
    }
    this.#released = this.#services.release(this.#turn)
    await this.#released
  }

  /**
   * @internal Drops the connection at once, where a statement of the handle's runs: that is cancelled on the server,
   * and everything on the handle rejects. Null where none does, and where another's COMMIT is answered first.
   */
  drop(): Promise<void> | null {
    const { backend, state } = this.#turn
    if (state !== 'held' || backend === null || !backend.answers(this.#turn)) return null
    return backend.abandon(new Error('the client was dropped'))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release()
  }

  #refusal(): Error | null {
    if (this.#level.over) {
      return this.#turn.refusal() ?? new ConnectionReleasedError('transaction')
    }
    const refusal = this.#turn.refusal()
    if (refusal !== null) return refusal
    return outOfOrder(this.#level.nested, this.#turn.streams)
  }

  #checkMayEnd(verb: 'commit' | 'rollback'): void {
    const refusal = this.#refusal()
    // With nothing open the loss has undone nothing, and what was committed before must not look as if it had not been.
    const nothingLost = refusal instanceof ConnectionLostError && !this.#turn.openWhenLost
    if (refusal !== null && !nothingLost) throw refusal
    if (!this.#level.owned) return
    throw new TransactionOrderError(
      `${verb}() was called inside transaction(), which ${verb === 'commit' ? 'commits when its callback returns' : 'rolls back when its callback throws'}`,
    )
  }
}

/** The request for a statement: by the extended protocol where that is safe, alone where it must be. */
export function createUnit(owner: Request['owner'], call: StatementCall): QueryRequest | TextRequest {
  const { kind } = call.text
  const joins = kind === 'plain' || kind === 'other'
  if (!joins && !call.extended) return new TextRequest(owner, call.statement)
  const request = new QueryRequest(owner, call.statement)
  if (!joins) request.pipelining = 'exclusive'
  // pg learns from ParseComplete which statements the user named; nobody asks for one before that is known.
  else if (call.statement.name !== undefined) request.pipelining = 'tail'
  return request
}

/** How a nested transaction begins and ends. */
interface NestedEnding {
  begin(): void
  finish(unfinished: readonly string[] | null): Promise<void>
  abort(): Promise<void>
}

/** BEGIN…COMMIT inside a turn that had nothing open. */
class OwnTransaction implements NestedEnding {
  readonly #turn: Lease

  constructor(turn: Lease) {
    this.#turn = turn
  }

  begin(): void {
    this.#turn.owned = true
  }

  async finish(unfinished: readonly string[] | null): Promise<void> {
    const turn = this.#turn
    try {
      if (unfinished !== null)
        throw new UnfinishedStatementError({ statements: unfinished, retrySafe: turn.retrySafe })
      const refusal = turn.refusal()
      if (refusal !== null) throw refusal
      const answered = turn.commit()
      if (answered !== null) checkCommitted(await answered.catch(withCallersFrames), turn)
    } catch (error) {
      await this.abort()
      throw error
    } finally {
      turn.owned = false
    }
  }

  async abort(): Promise<void> {
    // A rollback that fails has lost the backend, and the next statement tells; the first error is the one to throw.
    if (this.#turn.state === 'held') await this.#turn.rollback()?.catch(() => {})
    this.#turn.owned = false
  }
}

/** Nobody's own savepoint has such a name, nor can anybody mean ours. */
const SAVEPOINT_PREFIX = `pgmc_${randomBytes(6).toString('hex')}`

/** invalid_savepoint_specification: there is none of that name. */
const NO_SAVEPOINT = '3B001'

/** SAVEPOINT…RELEASE inside an open transaction. */
class Savepoint implements NestedEnding {
  readonly #turn: Lease
  readonly #name: string
  #begun: Promise<ControlRequest> | null = null

  constructor(turn: Lease, name: string) {
    this.#turn = turn
    this.#name = name
  }

  begin(): void {
    // Not waited for: it goes out with the first statement, and both fail alike in a failed transaction.
    this.#begun = this.#turn.control(new ControlRequest(this.#turn, `SAVEPOINT ${this.#name}`, true))
    this.#begun.catch(() => {})
  }

  async finish(unfinished: readonly string[] | null): Promise<void> {
    const turn = this.#turn
    await this.#begun
    const refusal = turn.refusal()
    if (refusal !== null) throw refusal
    if (unfinished === null && turn.serverState === 'intrans') {
      await this.#release()
      return
    }
    if (unfinished === null && turn.serverState === 'idle') throw turn.endedError()
    const cause = turn.swallowed ?? undefined
    await this.abort()
    if (unfinished !== null)
      throw new UnfinishedStatementError({ statements: unfinished, retrySafe: turn.retrySafe, cause })
    throw new CommitRolledBackError({ retrySafe: turn.retrySafe, cause })
  }

  async #release(): Promise<void> {
    const turn = this.#turn
    try {
      await turn.control(new ControlRequest(turn, `RELEASE SAVEPOINT ${this.#name}`, true))
    } catch (error) {
      // Released or ended by user text, and perhaps another transaction is open now.
      throw sqlState(error) === NO_SAVEPOINT ? turn.endedError(error) : error
    }
  }

  async abort(): Promise<void> {
    if (this.#turn.refusal() !== null || !this.#turn.transactionOpen) return
    try {
      await this.#begun
      // Both at once: a savepoint that is rolled back to is still there.
      const back = this.#turn.control(
        new ControlRequest(this.#turn, `ROLLBACK TO SAVEPOINT ${this.#name}`, true),
        'rollback',
      )
      await Promise.all([back, this.#release()])
    } catch {
      // The transaction around it has failed or is gone, which its own end will tell; the first error is thrown.
    }
  }
}
