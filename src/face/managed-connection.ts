/** The manager that owns the connection. */
import { inspect } from 'node:util'
import { ManagerEndedError, ReentrantAcquireError, TransactionOrderError } from '../errors.js'
import { withCallersFrames } from '../util/callers-frames.js'
import { describeConninfo } from '../conninfo/mask.js'
import { explainStrayOption } from '../conninfo/other-names.js'
import { planConnection } from '../conninfo/plan.js'
import { readConninfo } from '../conninfo/read-conninfo.js'
import { BatchRequest } from '../pipeline/batch-request.js'
import { Connection, createUnit } from './connection.js'
import { readAutocommit, readBatchBegin, readClose, readRetries, readWait } from './call-options.js'
import { checkOptionNames, checkWork } from './option-names.js'
import { checkCount, checkMillis, detachmentOf, refuseOwnLimits, resolveOptions } from '../options.js'
import { callbackOf, isSubmittable, readCall } from './query-arguments.js'
import { release, drain, revoke } from '../lease/release.js'
import { enclosingScope, runCallback } from '../lease/holder-context.js'
import { SafeEmitter } from './safe-emitter.js'
import { Sharing } from '../sharing.js'
import { LocalBroker } from '../broker/local-broker.js'
import { Instruments } from './shown-calls.js'
import { StatementGuard } from '../pipeline/statement-guard.js'
import { ClassifiedTexts } from '../sql/classify.js'
import { beginText } from '../lease/begin.js'
import { isWorthRepeating } from '../lease/failures.js'
import { backoffMillis } from '../util/backoff.js'
import { clock, now } from '../util/clock.js'
import { pause } from '../util/pause.js'
import type { QueryArrayConfig, QueryArrayResult, QueryConfigValues, QueryResult, QueryResultRow } from 'pg'
import type {
  AcquireOptions,
  BatchOptions,
  CloseOptions,
  ListenOptions,
  TransactionOptions,
  UseOptions,
  WaitOptions,
} from './call-options.js'
import type { ConnectionParameters } from '../conninfo/parameters.js'
import type { ConnectPlan } from '../conninfo/plan.js'
import type { HandleServices, TransactionStatus } from './connection.js'
import type { ConnectionFacts } from '../pg/instruments/stand-in.js'
import type { Statement } from '../pipeline/statement-part.js'
import type { Request } from '../pipeline/request.js'
import type { Lease, LeaseTerms } from '../lease/lease.js'
import type { JoinOptions } from '../broker/wait-queue.js'
import type { EndOptions, Manager, ManagerStats } from '../api/manager.js'
import type { ManagedConnectionOptions, ResolvedOptions } from '../options.js'
import type {
  BatchResults,
  AnyRow,
  AnyValues,
  QueryCallback,
  QueryConfig,
  StatementCall,
  StatementOptions,
} from './query-arguments.js'
import type { StatementLimits } from '../pipeline/statement-guard.js'
import type { Subscription } from '../listen/subscription.js'

/** Before `work` is run again after a serialization failure or a deadlock. */
const RETRY_BACKOFF = { firstMillis: 5, maxMillis: 1_000 }

/** How many unread notifications a subscription keeps. */
const DEFAULT_MAX_BUFFERED = 10_000

const END_TIMEOUT_MILLIS = 30_000

/** The first statement opens a transaction, as in Python's DB-API. */
const DB_API: LeaseTerms = { autocommit: false, begin: 'BEGIN', owned: false }
const AUTOCOMMIT: LeaseTerms = { autocommit: true, begin: 'BEGIN', owned: false }
/** The library commits. */
const OWNED: LeaseTerms = { autocommit: false, begin: 'BEGIN', owned: true }

/**
 * One PostgreSQL connection that many concurrent tasks share safely. Each gets exclusive access for a while, in
 * the order of asking; nobody can hand the connection on with a transaction still open; a closed connection is
 * opened again when it is next wanted. Nothing connects before that.
 *
 * ```ts
 * const manager = new ManagedConnection('postgres:///postgres')
 * await manager.use(async (connection) => {
 *   await connection.query('SELECT 1')
 *   await connection.commit()
 * })
 * await manager.end()
 * ```
 */
export class ManagedConnection extends SafeEmitter implements Manager {
  readonly #conninfo: string
  /** Whom it will be connected to, as far as the parameters say. */
  readonly #planned: ConnectionFacts
  readonly #options: ResolvedOptions
  readonly #broker: LocalBroker
  readonly #services: HandleServices

  /**
   * @param conninfo any libpq connection string, or an object of libpq's keywords or of pg's config names; what it
   * leaves out comes from the PG* environment, the service file, the password file and libpq's defaults
   * @throws `ConninfoError` for a connection string that libpq refuses; TypeError or RangeError for an option
   */
  constructor(conninfo?: string | URL | ConnectionParameters, options: ManagedConnectionOptions = {}) {
    super()
    const given = readConninfo(conninfo)
    this.#conninfo = describeConninfo(given)
    const plan = planConnection(given)
    this.#planned = planned(plan)
    this.#options = resolveOptions(options, {
      explainStray: explainStrayOption,
      queryTimeoutMillis: plan.statementTimeoutMillis,
    })
    this.#broker = new LocalBroker(() => planConnection(given), this.#options, {
      manager: this,
      tell: (event, ...args) => this.tell(event, ...args),
      listens: (event) => this.listenerCount(event) > 0,
      onHoldTimeout: (turn, error) => void revoke(this.#broker, turn, error),
    })
    const texts = new ClassifiedTexts()
    this.#services = {
      manager: this,
      defaults: { texts, timeoutMillis: this.#options.statementTimeoutMillis },
      instruments: new Instruments(texts, () => this.facts),
      deadlines: this.#broker.deadlines,
      release: (turn) => release(this.#broker, turn, { left: 'returned', close: false }),
      settleDown: (turn) => drain(this.#broker, turn),
    }
  }

  /**
   * Gives `work` the connection, exclusively, until it settles; opens it if it is closed. The first statement opens
   * a transaction, unless `autocommit` is on, and `work` ends it with `commit()` or `rollback()`.
   *
   * @returns what `work` returns
   * @throws what `work` throws, after a rollback; `UncommittedTransactionError` where it left a transaction open;
   * `UnfinishedStatementError`; `ConnectionLostError`; `HoldTimeoutError`; what `acquire` throws
   *
   * ```ts
   * const one = await manager.use(async (connection) => {
   *   const { rows } = await connection.query('SELECT 1 AS one')
   *   await connection.commit()
   *   return rows[0].one
   * })
   * ```
   */
  use<T>(work: (connection: Connection) => T | PromiseLike<T>, options: UseOptions = {}): Promise<T> {
    // Not an async function, as none is that waits in line: a hundred thousand may, and each would keep its frame.
    try {
      const join = this.#readAsk('use', work, options)
      const close = readClose(options)
      return this.#take(this.#turnOptions(options), join, work, close)
    } catch (error) {
      return Promise.reject(error as Error)
    }
  }

  /** Waits for a turn and runs `work` with it. */
  #take<T>(
    options: LeaseTerms,
    join: JoinOptions,
    work: (connection: Connection) => T | PromiseLike<T>,
    close: boolean,
    onTurn?: (turn: Lease) => void,
  ): Promise<T> {
    const granted = this.#broker.acquire(options, join, itself)
    return granted.then((turn) => {
      onTurn?.(turn)
      return this.#hold(turn, work, close)
    }, withCallersFrames)
  }

  /**
   * Gives the connection until it is released: `await using connection = await manager.acquire()`.
   *
   * @throws `AcquireTimeoutError`, `TooManyWaitingError`, `ConnectError`, `ManagerEndedError`,
   * `ReentrantAcquireError`, `signal.reason`
   */
  acquire(options: AcquireOptions = {}): Promise<Connection> {
    try {
      this.#refuseReentrance('acquire', options)
      checkOptionNames('acquire', options)
      return this.#broker.acquire(this.#turnOptions(options), readWait(options, this.#options), this.#handle)
    } catch (error) {
      return Promise.reject(error as Error)
    }
  }

  readonly #handle = (turn: Lease): Connection => new Connection(turn, this.#services)

  /**
   * Like `acquire`, but resolves with null at once when someone holds the connection, waits for it, or is
   * unanswered. Connects if the connection is closed.
   */
  async tryAcquire(options: AcquireOptions = {}): Promise<Connection | null> {
    if (enclosingScope(this)?.kind === 'onConnect') this.#refuseReentrance('tryAcquire', {})
    checkOptionNames('tryAcquire', options)
    const join = readWait(options, this.#options)
    if (this.#broker.ending) throw new ManagerEndedError()
    if (!this.#broker.free) return null
    return this.#broker.acquire(this.#turnOptions(options), join, this.#handle)
  }

  /**
   * Runs `work` in a transaction, committed when `work` returns and rolled back when it throws. Resolves once the
   * server has confirmed the COMMIT; the next in line is served from when it has been sent.
   *
   * @returns what `work` returns
   * @throws what `work` throws; `CommitRolledBackError` where `work` swallowed the error of a statement;
   * `ConnectionLostError` with `commitOutcome` `'unknown'` where the COMMIT was not answered;
   * `TransactionEndedError`; `UnfinishedStatementError`; what `acquire` throws
   *
   * ```ts
   * await manager.transaction(
   *   async (connection) => {
   *     await connection.query('UPDATE counter SET n = n + 1')
   *   },
   *   { isolationLevel: 'serializable', retries: 5 },
   * )
   * ```
   */
  transaction<T>(
    work: (connection: Connection) => T | PromiseLike<T>,
    options: TransactionOptions = {},
  ): Promise<T> {
    try {
      const join = this.#readAsk('transaction', work, options)
      const turnOptions = transactionOptions(beginText(options))
      const close = readClose(options)
      const retries = readRetries(options)
      const attempt = (onTurn?: (turn: Lease) => void): Promise<T> =>
        this.#take(turnOptions, join, work, close, onTurn)
      return retries === 0 ? attempt() : this.#repeat(attempt, retries, options.signal)
    } catch (error) {
      return Promise.reject(error as Error)
    }
  }

  /** Makes up to so many more attempts at a transaction that may succeed when it is done again. */
  async #repeat<T>(
    attempt: (onTurn: (turn: Lease) => void) => Promise<T>,
    retries: number,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    for (let count = 0; ; count++) {
      let repeatable = (): boolean => false
      try {
        return await attempt((turn) => (repeatable = () => turn.retrySafe))
      } catch (error) {
        // What user text has committed in it must not be done twice.
        if (count >= retries || !isWorthRepeating(error) || !repeatable() || this.#broker.ending) throw error
      }
      await pause(backoffMillis(RETRY_BACKOFF, count, Math.random()), signal)
    }
  }

  /**
   * Sends one statement, which commits by itself. Statements that are plainly a SELECT, INSERT, UPDATE, DELETE,
   * MERGE, VALUES, TABLE or WITH are pipelined with their neighbours; others pipelining alone.
   *
   * @throws `DatabaseError`; `UncommittedTransactionError` where it left a transaction open; `ConnectionLostError`;
   * what `acquire` throws
   */
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
      this.#refuseReentrance('query', detachmentOf(config))
      if (isSubmittable(config)) {
        throw new TypeError(
          'a submittable needs the connection for a while: hand it to the query() of use() or acquire()',
        )
      }
      const asked = readCall(config, values, this.#services.defaults)
      const shown = this.#services.instruments.show(asked)
      const call = shown?.calls[0] ?? asked
      const answered = this.#broker.send<StatementCall, QueryResult>(
        { call, pipelining: call.text.kind === 'plain' ? 'shared' : 'exclusive', create: this.#createQuery },
        { timeoutMillis: this.#options.acquireTimeoutMillis, signal: call.limits.signal },
      )
      return shown === null ? answered : shown.follow(answered)
    } catch (error) {
      return Promise.reject(error as Error)
    }
  }

  readonly #createQuery = (call: StatementCall): Request => {
    const request = createUnit(this.#broker.oneShots, call)
    return this.#guarded(request, call.limits, () => request.ended !== 'committed' && !call.text.inParts)
  }

  /**
   * Sends several statements as one atomic transaction, in one round trip.
   *
   * @returns their results, in order
   * @throws the error of the first statement that failed, with its `index`; nothing of the batch has happened then.
   * `TransactionOrderError` for transaction control, before anything is sent
   */
  batch<const S extends readonly (string | QueryConfig)[]>(
    statements: S,
    options: BatchOptions = {},
  ): Promise<BatchResults<S>> {
    return this.#batch(statements, options) as Promise<BatchResults<S>>
  }

  async #batch(statements: readonly (string | QueryConfig)[], options: BatchOptions): Promise<QueryResult[]> {
    this.#refuseReentrance('batch', options)
    checkOptionNames('batch', options)
    const join = readWait(options, this.#options)
    if (!Array.isArray(statements)) throw new TypeError('batch() takes an array of statements')
    const modes = readBatchBegin(options)
    const asked = statements.map((statement, index) => this.#readBatched(statement, index))
    if (this.#broker.ending) throw new ManagerEndedError()
    if (asked.length === 0) return []
    const shown = this.#services.instruments.showAll(asked)
    const calls = shown?.calls ?? asked
    const explicit = modes !== null || calls.some(({ text }) => text.kind !== 'plain')
    const begin = explicit ? (modes ?? 'BEGIN') : null
    // Each result is the user's own request of it; the limits are those of the whole.
    const limits = { timeoutMillis: this.#options.statementTimeoutMillis, signal: join.signal }
    const answered = this.#broker.send<readonly Statement[], QueryResult[]>(
      {
        call: calls.map(({ statement }) => statement),
        pipelining: begin === null ? 'shared' : 'exclusive',
        create: (requests) => {
          const request = new BatchRequest(this.#broker.oneShots, requests, begin)
          return this.#guarded(request, limits, () => request.ended !== 'committed')
        },
      },
      join,
    )
    return shown === null ? answered : shown.followAll(answered)
  }

  #readBatched(statement: unknown, index: number): StatementCall {
    if (isSubmittable(statement)) throw new TypeError(`statement ${index} of the batch is a submittable`)
    const call = readCall(statement, undefined, this.#services.defaults)
    refuseOwnLimits(statement, index)
    if (call.text.controls) {
      throw new TransactionOrderError(
        `statement ${index} of the batch is transaction control; a batch is one transaction`,
      )
    }
    if (call.text.kind === 'copy')
      throw new TypeError(`statement ${index} of the batch is COPY, which needs a stream`)
    return call
  }

  /**
   * Subscribes to a channel (LISTEN); resolves once the server listens. While a subscription lives, the manager
   * reconnects by itself, without limit; a long holder delays notifications, because the server withholds them
   * during a transaction.
   *
   * @throws what `acquire` throws; TypeError for a channel name that PostgreSQL would cut
   *
   * ```ts
   * await using subscription = await manager.listen('jobs')
   * await manager.query("SELECT pg_notify('jobs', 'one')")
   * for await (const notification of subscription) {
   *   if (notification.type === 'gap') continue
   *   console.log(notification.payload)
   *   break
   * }
   * ```
   */
  async listen(channel: string, options: ListenOptions = {}): Promise<Subscription> {
    this.#refuseReentrance('listen', options)
    checkOptionNames('listen', options)
    checkChannel(channel)
    const { maxBuffered = DEFAULT_MAX_BUFFERED } = options
    checkCount('maxBuffered', maxBuffered)
    return this.#broker.subscriptions.add(channel, maxBuffered, readWait(options, this.#options))
  }

  /** Puts a guard on a request that has limits. */
  #guarded(request: Request, limits: StatementLimits, retrySafe: () => boolean): Request {
    if (limits.timeoutMillis === 0 && limits.signal === undefined) return request
    request.guard = new StatementGuard(request, limits, {
      deadlines: this.#broker.deadlines,
      withdraw: () => this.#broker.backend?.withdraw(request),
      cancel: () => this.#broker.backend?.cancel(request),
      retrySafe,
    })
    return request
  }

  /** No live server connection right now. */
  get closed(): boolean {
    return this.#broker.backend === null
  }

  /** What the backend is doing, in libpq's words; null exactly when closed. */
  get status(): TransactionStatus | null {
    const { backend } = this.#broker
    if (backend === null) return null
    return backend.pending > 0 ? 'active' : backend.status
  }

  /** A frozen snapshot of the manager's figures, made on access. */
  get stats(): ManagerStats {
    const { backend, holder, waiting, counters, keeper } = this.#broker
    const time = now()
    return Object.freeze({
      held: holder !== null,
      heldMillis: holder === null ? null : Math.round(time - holder.grantedAt),
      waiting,
      inFlight: backend?.pending ?? 0,
      processID: backend?.processID ?? null,
      connectedMillis: backend === null ? null : Math.round(time - backend.openedAt),
      prepared: backend?.prepared.size ?? 0,
      connects: keeper.openings,
      ...counters,
    })
  }

  /** @internal Whom statements are sent to: the live server, else the first that would be tried. */
  get facts(): ConnectionFacts & Pick<ResolvedOptions, 'idleTimeoutMillis' | 'maxLifetimeMillis'> {
    const { idleTimeoutMillis, maxLifetimeMillis } = this.#options
    const { host, port, processID } = this.#broker.backend?.client ?? this.#planned
    return { ...this.#planned, host, port, processID, idleTimeoutMillis, maxLifetimeMillis }
  }

  /** @internal For the other side of a worker's port. */
  get sharing(): Sharing {
    return new Sharing(this.#broker)
  }

  /** Closes the server connection after the present holder; the next use opens it again. */
  async close(options: CloseOptions = {}): Promise<void> {
    this.#refuseReentrance('close', options)
    checkOptionNames('close', options)
    await this.#broker.close()
  }

  /** Refuses new work, serves who waits, closes the connection. Idempotent: every call gets the same ending. */
  async end(options: EndOptions = {}): Promise<void> {
    this.#refuseReentrance('end', options)
    checkOptionNames('end', options)
    const { timeoutMillis = END_TIMEOUT_MILLIS } = options
    checkMillis('timeoutMillis', timeoutMillis)
    await this.#broker.end(timeoutMillis)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end()
  }

  /** The connection string, with every password shown as `***`. */
  override toString(): string {
    return this.#conninfo
  }

  [inspect.custom](): string {
    return `<ManagedConnection: ${this.#conninfo} (${this.status ?? 'closed'})>`
  }

  #turnOptions(options: AcquireOptions): LeaseTerms {
    return readAutocommit(options, this.#options) ? AUTOCOMMIT : DB_API
  }

  #readAsk(member: 'use' | 'transaction', work: unknown, options: WaitOptions): JoinOptions {
    this.#refuseReentrance(member, options)
    checkWork(member, work)
    checkOptionNames(member, options)
    return readWait(options, this.#options)
  }

  #refuseReentrance(member: string, { detached }: WaitOptions): void {
    const scope = enclosingScope(this)
    if (scope === undefined || (detached === true && scope.kind === 'callback')) return
    throw new ReentrantAcquireError({ member, inside: scope.kind })
  }

  /** Runs `work` with the turn, and settles it, whatever happens. */
  async #hold<T>(
    turn: Lease,
    work: (connection: Connection) => T | PromiseLike<T>,
    close: boolean,
  ): Promise<T> {
    let result: T
    try {
      result = await this.#run(turn, work)
    } catch (error) {
      if (turn.revocation === null)
        await release(this.#broker, turn, { left: 'threw', error, close }).catch(() => {})
      throw turn.revocation ?? error
    }
    await release(this.#broker, turn, { left: 'returned', close })
    return result
  }

  async #run<T>(turn: Lease, work: (connection: Connection) => T | PromiseLike<T>): Promise<T> {
    const connection = new Connection(turn, this.#services)
    const working = runCallback(this, () => work(connection))
    return this.#options.maxHoldMillis > 0 ? untilRevoked(turn, working) : working
  }
}

function planned({ hosts, user, database }: ConnectPlan): ConnectionFacts {
  const [{ host, hostaddr, port }] = hosts
  return { host: host || hostaddr || 'localhost', port, user, database, processID: null }
}

/** PostgreSQL cuts longer identifiers, and notifications would come under another name. */
function checkChannel(channel: unknown): void {
  if (
    typeof channel !== 'string' ||
    channel === '' ||
    channel.includes('\0') ||
    Buffer.byteLength(channel) > 63
  ) {
    throw new TypeError('a channel is a name of 1 to 63 bytes')
  }
}

function transactionOptions(begin: string): LeaseTerms {
  return begin === OWNED.begin ? OWNED : { ...OWNED, begin }
}

function itself(turn: Lease): Lease {
  return turn
}

/** What `work` does after its turn was revoked is nobody's any more, its failure neither. */
function untilRevoked<T>(turn: Lease, working: Promise<T>): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    turn.onRevoked = reject
    working.then(resolve, reject)
  })
}
