/** What a manager is: the same for the one that owns the connection and for a worker's. */
import type {
  AcquireOptions,
  BatchOptions,
  CloseOptions,
  ConnectOptions,
  ListenOptions,
  SharedOptions,
  TransactionOptions,
  UseOptions,
} from './call-options.js'
import type { Connection, TransactionStatus } from './connection.js'
import type { RollbackReason } from '../events.js'
import type { BatchResults, OneShotQuery, QueryConfig } from './query.js'
import type { Subscription } from './subscription.js'

/** One connection, shared by all who ask for it. */
export interface Manager extends AsyncDisposable {
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
  use<T>(work: (connection: Connection) => T | PromiseLike<T>, options?: UseOptions): Promise<T>
  /**
   * Gives the connection until it is released: `await using connection = await manager.acquire()`.
   *
   * @throws `AcquireTimeoutError`, `TooManyWaitingError`, `ConnectError`, `ManagerEndedError`,
   * `ReentrantAcquireError`, `signal.reason`
   */
  acquire(options?: AcquireOptions): Promise<Connection>
  /**
   * Like `acquire`, but resolves with null at once when someone holds the connection, waits for it, or is
   * unanswered. Connects if the connection is closed.
   */
  tryAcquire(options?: AcquireOptions): Promise<Connection | null>
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
    options?: TransactionOptions,
  ): Promise<T>
  /**
   * Sends one statement, which commits by itself. Statements that are plainly a SELECT, INSERT, UPDATE, DELETE,
   * MERGE, VALUES, TABLE or WITH are pipelined with their neighbours; others are sent alone.
   *
   * @throws `DatabaseError`; `UncommittedTransactionError` where it left a transaction open; `ConnectionLostError`;
   * what `acquire` throws
   */
  readonly query: OneShotQuery
  /**
   * Sends several statements as one atomic transaction, in one round trip.
   *
   * @returns their results, in order
   * @throws the error of the first statement that failed, with its `index`; nothing of the batch has happened then.
   * `TransactionOrderError` for transaction control, before anything is sent
   */
  batch<const S extends readonly (string | QueryConfig)[]>(
    statements: S,
    options?: BatchOptions,
  ): Promise<BatchResults<S>>
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
  listen(channel: string, options?: ListenOptions): Promise<Subscription>
  /**
   * A manager of the same connection, with the same line, whose calls have these options in common; what a call says
   * itself comes first, and its settings are added to these. Its events and its end are those of the connection.
   *
   * ```ts
   * const tenant = manager.with({ settings: { 'app.tenant': 42 }, role: 'web' })
   * await tenant.query('SELECT 1')
   * ```
   *
   * @throws TypeError for an option that it does not know, or a setting that cannot be one
   */
  with(options: SharedOptions): Manager
  /** No live server connection right now. */
  readonly closed: boolean
  /** What the session is doing, in libpq's words; null exactly when closed. */
  readonly status: TransactionStatus | null
  /** A frozen snapshot of the manager's figures, made on access. */
  readonly stats: ManagerStats
  /**
   * Opens the connection if it is closed, and rides out a server that is not there yet: for starting up, and for health
   * checks. It stands in no line, so whoever holds the connection does not delay it.
   *
   * @throws `ConnectError`, `ManagerEndedError`, `signal.reason`
   */
  connect(options?: ConnectOptions): Promise<void>
  /** Closes the server connection after the present holder; the next use opens it again. */
  close(options?: CloseOptions): Promise<void>
  /** Refuses new work, serves those who wait, closes. Idempotent: every call gets the same ending. */
  end(options?: EndOptions): Promise<void>
}

/** Options of `end`. */
export interface EndOptions extends CloseOptions {
  /**
   * After it, in milliseconds, waiters get `ManagerEndedError` and the holder's connection is dropped.
   * Default: 30,000.
   */
  readonly timeoutMillis?: number | undefined
}

/** A frozen snapshot of a manager's figures. Counts are since its construction. */
export interface ManagerStats {
  /** Somebody holds the connection. */
  readonly held: boolean
  /** For how long, in milliseconds; null when nobody does. */
  readonly heldMillis: number | null
  /** The `label` of the one who does; null when nobody does, or it has none. */
  readonly holderLabel: string | null
  /** The text of the statement that the server runs, the first 200 characters of it; null when it runs none. */
  readonly statement: string | null
  /** How many wait in line. */
  readonly waiting: number
  /** How long the first of them has waited, in milliseconds; null when nobody waits. */
  readonly longestWaitMillis: number | null
  /** How many statements are unanswered. */
  readonly inFlight: number
  /** The server process; null when closed. */
  readonly processID: number | null
  /** How long the server connection has been open, in milliseconds; null when closed. */
  readonly connectedMillis: number | null
  /** How many statements are prepared by their text on it. */
  readonly prepared: number
  /** How many commits have waited for a flush together with others: see `groupCommit`. */
  readonly groupCommits: number
  /** How many such flushes there were. */
  readonly flushes: number
  /** How many COMMITs whose answer was lost are known to be committed, with `verifyCommit`. */
  readonly verifiedCommitted: number
  /** How many of them are known not to be. */
  readonly verifiedNone: number
  /** Of how many of them it could not be found out. */
  readonly verifiedUnknown: number
  /** How many times a server connection was opened. */
  readonly connects: number
  /** How many of these times the manager had been connected before. */
  readonly reconnects: number
  /** How many times one was closed or lost. */
  readonly disconnects: number
  /** How many turns were granted. */
  readonly acquires: number
  /** How many turns are over. */
  readonly releases: number
  /** How many times the library rolled back. */
  readonly rollbacks: number
  /** The same by the reason that the event `rollback` gives. */
  readonly rollbacksByReason: Readonly<Record<RollbackReason, number>>
  /** How many waiters left the line because their time had passed. */
  readonly timeouts: number
}

/** Whom statements are sent to, as pools and instruments tell it, and the limits that a pool tells. */
export interface ConnectionFacts {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly database: string
  /** The server process; null while there is none. */
  readonly processID: number | null
  readonly idleTimeoutMillis: number
  readonly maxLifetimeMillis: number
}
