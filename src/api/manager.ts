/** What a manager is: the same for the one that owns the connection and for a worker's. */
import type {
  AcquireOptions,
  BatchOptions,
  CloseOptions,
  ListenOptions,
  TransactionOptions,
  UseOptions,
} from './call-options.js'
import type { Connection, TransactionStatus } from './connection.js'
import type { BatchResults, OneShotQuery, QueryConfig } from './query.js'
import type { Subscription } from './subscription.js'

/** One connection, shared by whoever asks. */
export interface Manager extends AsyncDisposable {
  /** Gives `work` the connection, exclusively, until it settles. */
  use<T>(work: (connection: Connection) => T | PromiseLike<T>, options?: UseOptions): Promise<T>
  /** Gives the connection until it is released. */
  acquire(options?: AcquireOptions): Promise<Connection>
  /** Like `acquire`, but null at once when someone holds it, waits, or is unanswered. Connects if it is closed. */
  tryAcquire(options?: AcquireOptions): Promise<Connection | null>
  /** Runs `work` in a transaction of its own, which is committed when `work` returns. */
  transaction<T>(
    work: (connection: Connection) => T | PromiseLike<T>,
    options?: TransactionOptions,
  ): Promise<T>
  /** Sends one statement that commits by itself. */
  readonly query: OneShotQuery
  /** Sends several statements as one atomic transaction, in one round trip. */
  batch<const S extends readonly (string | QueryConfig)[]>(
    statements: S,
    options?: BatchOptions,
  ): Promise<BatchResults<S>>
  /** Subscribes to a channel's notifications. Survives reconnects. */
  listen(channel: string, options?: ListenOptions): Promise<Subscription>
  /** No live server connection right now. */
  readonly closed: boolean
  /** What the session is doing; null exactly when closed. */
  readonly status: TransactionStatus | null
  /** Figures, as they are now. */
  readonly stats: ManagerStats
  /** Closes the server connection after the present holder; the next use opens it again. */
  close(options?: CloseOptions): Promise<void>
  /** Refuses new work, serves who waits, closes. */
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
  /** How many wait in line. */
  readonly waiting: number
  /** How many statements are unanswered. */
  readonly inFlight: number
  /** The server process; null when closed. */
  readonly processID: number | null
  /** How long the server connection has been open, in milliseconds; null when closed. */
  readonly connectedMillis: number | null
  /** How many statements are prepared by their text on it. */
  readonly prepared: number
  /** How many times a server connection was opened. */
  readonly connects: number
  /** How many times one was closed or lost. */
  readonly disconnects: number
  /** How many turns were granted. */
  readonly acquires: number
  /** How many turns are over. */
  readonly releases: number
  /** How many times the library rolled back. */
  readonly rollbacks: number
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
