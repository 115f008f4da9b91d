/** What the pool face adds to `pg.Pool`. */
import type { Pool, PoolClient } from 'pg'
import type { UncommittedTransactionError, UnfinishedStatementError } from '../index.js'

/** Options of `asPool`. */
export interface PoolFaceOptions {
  /** `end()` ends the manager, too. Default: false, the manager stays as it is. */
  readonly endManager?: boolean | undefined
  /**
   * A client released inside a transaction is an `error` event of the pool rather than a warning of the process.
   * As with any EventEmitter, an `error` that nobody listens to is an uncaught exception: what tests want.
   * Default: false.
   */
  readonly strict?: boolean | undefined
  /**
   * Refuse LISTEN at once. A client that listens has to be kept, and with it the only connection; libraries that
   * can poll in its place (graphile-worker) then do. Default: false.
   */
  readonly refuseListen?: boolean | undefined
  /**
   * How long `end()` waits for clients that are still out, in milliseconds; then they are rolled back and their
   * connection is dropped. `Infinity` = for ever, as pg does. Default: 30,000.
   */
  readonly endTimeoutMillis?: number | undefined
}

/** A client was released inside a transaction; it was rolled back before anyone else was served. */
export interface LeakEvent {
  /** What opened the transaction, usually a BEGIN; null where it is not known. */
  readonly statement: string | null
  /** The last thing that the client was asked for. */
  readonly lastStatement: string | null
  /** The same as an error. */
  readonly error: UncommittedTransactionError | UnfinishedStatementError
  /** The client, released by now. */
  readonly client: PoolClient
}

/** Accepted wherever a `pg.Pool` is. */
export interface ManagedPool extends Pool, AsyncDisposable {
  on(event: 'leak', listener: (leak: LeakEvent) => void): this
  on<K extends 'error' | 'release' | 'connect' | 'acquire' | 'remove'>(
    event: K,
    listener: K extends 'error' | 'release'
      ? (err: Error, client: PoolClient) => void
      : (client: PoolClient) => void,
  ): this
}
