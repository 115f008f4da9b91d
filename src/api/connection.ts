/** The handle of a holder. */
import type { QueryResultRow } from 'pg'
import type { AnyRow, AnyValues, HolderQuery, StreamOptions } from './query.js'

/** libpq's names for what a session is doing (`PQTRANS_…`). */
export type TransactionStatus = 'idle' | 'active' | 'intrans' | 'inerror' | 'unknown'

/**
 * The exclusive right to use the connection. Given to the callbacks of `use` and `transaction`, and by `acquire`,
 * which has to release it. After the release it is a tombstone: what would reach the server rejects with
 * `ConnectionReleasedError`.
 *
 * Statements that are issued without awaiting each other are pipelined and answered in order. Statements that
 * cannot run in a transaction (VACUUM, CREATE DATABASE) need `autocommit`.
 */
export interface Connection extends AsyncDisposable {
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
  readonly query: HolderQuery

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
    options?: StreamOptions,
  ): AsyncIterableIterator<R>

  /**
   * Commits the open transaction; resolves once the server has confirmed it. With nothing open it does nothing and
   * costs nothing.
   *
   * @throws `CommitRolledBackError` where the transaction had failed; `ConnectionLostError`, with `commitOutcome`
   * `'unknown'`, where the connection died before the answer; `TransactionOrderError` inside `transaction()`.
   */
  commit(): Promise<void>

  /** Rolls the open transaction back. With nothing open it does nothing and costs nothing. */
  rollback(): Promise<void>

  /**
   * Runs `work` in a transaction: BEGIN…COMMIT when none is open, else a SAVEPOINT. Committed, or released, when
   * `work` returns; rolled back when it throws. Until then this handle waits for it: use the one that `work` gets.
   *
   * @throws what `work` throws; `CommitRolledBackError` where `work` swallowed the error of a statement;
   * `TransactionEndedError`; `UnfinishedStatementError`; `TransactionOrderError` for a sibling that is still open.
   */
  transaction<T>(work: (connection: Connection) => T | PromiseLike<T>, ...none: never[]): Promise<T>

  /** What the backend is doing, as the server's last ReadyForQuery says; `'unknown'` once released or lost. */
  readonly status: TransactionStatus

  /**
   * Whether each statement commits by itself. It can be set only while no transaction is open.
   *
   * @throws `TransactionOrderError` when it is set while one is.
   */
  autocommit: boolean

  /** The server process; null once released or lost. */
  readonly processID: number | null

  /**
   * Gives the connection back, for handles from `acquire()`; `use` and `transaction` do it by themselves. An open
   * transaction is rolled back. Further calls do nothing and resolve.
   *
   * @throws `UncommittedTransactionError`, `UnfinishedStatementError`, `ConnectionLostError`, `HoldTimeoutError`, as
   * the settlement table says.
   */
  release(): Promise<void>
}
