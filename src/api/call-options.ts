/** The options of single calls. */
import type { VerifyCommit } from '../options.js'

/** How long and under which signal a turn is waited for. */
export interface WaitOptions {
  /**
   * When it aborts the call rejects at once with `signal.reason`: one who waits leaves the line; of `use` and
   * `transaction` the turn is taken back, what runs is cancelled and rolled back, until COMMIT has been sent. Default: none.
   */
  readonly signal?: AbortSignal | undefined
  /**
   * How long the turn is waited for, connecting included, in milliseconds. 0 = do not wait in line, `Infinity` =
   * for ever. Default: the option `acquireTimeoutMillis`.
   */
  readonly timeoutMillis?: number | undefined
  /**
   * Waits for its turn even inside a callback that holds the connection: for work that the callback does not
   * await. Default: false.
   */
  readonly detached?: boolean | undefined
}

/** What a call is called. */
export interface LabelOptions {
  /**
   * A name for the one who asks, for people: it stands in `AcquireTimeoutError`, `holdWarning`, `stats`, events and
   * traces. Default: none.
   */
  readonly label?: string | undefined
}

/**
 * What the transactions of a call have set. It travels with their BEGIN, without a round trip of its own, and ends with
 * them.
 */
export interface SettingsOptions {
  /**
   * Settings of the server by their names, as `SET LOCAL` takes them; names of your own have a point in them
   * (`app.tenant`). Default: as the session has them.
   */
  readonly settings?: Readonly<Record<string, string | number | boolean>> | undefined
  /** The role that statements are run as: `SET LOCAL ROLE`; `'none'` is the login's own. Default: as the session has it. */
  readonly role?: string | undefined
}

/** Options of `with`: what each call has that does not say otherwise. */
export interface SharedOptions extends LabelOptions, SettingsOptions, CommitOptions {
  /** For `use` and `acquire`. Default: the option `autocommit`. */
  readonly autocommit?: boolean | undefined
}

/** Options of `acquire` and `tryAcquire`. */
export interface AcquireOptions extends WaitOptions, LabelOptions, SettingsOptions {
  /** No implicit BEGIN: each statement commits by itself. Default: the option `autocommit`. */
  readonly autocommit?: boolean | undefined
}

/** Options of `use`. */
export interface UseOptions extends AcquireOptions {
  /** Close the server connection after this holder. Default: false. */
  readonly close?: boolean | undefined
}

/** How a transaction is committed. Default: as the manager's options say. */
export interface CommitOptions {
  /** Wait for the disk together with others: see `ManagedConnectionOptions.groupCommit`. */
  readonly groupCommit?: boolean | undefined
  /** Find out what became of a COMMIT whose answer was lost: see `ManagedConnectionOptions.verifyCommit`. */
  readonly verifyCommit?: VerifyCommit | undefined
}

/** Options of `transaction`. */
export interface TransactionOptions
  extends WaitOptions, LabelOptions, SettingsOptions, TransactionModes, CommitOptions {
  /**
   * How many times `work` is run again when the transaction fails with 40001 (serialization) or 40P01 (deadlock), or
   * when `verifyCommit` has found out that its COMMIT was lost, with backoff; the turn is given up meanwhile and asked for again at the end of the line. Default: 0.
   */
  readonly retries?: number | undefined
  /** Close the server connection after this holder. Default: false. */
  readonly close?: boolean | undefined
}

/** Options of `batch`. */
export interface BatchOptions
  extends WaitOptions, LabelOptions, SettingsOptions, TransactionModes, CommitOptions {}

/** Options of `listen`. */
export interface ListenOptions extends WaitOptions {
  /**
   * How many notifications may wait to be read; one more ends the subscription with `SubscriptionOverflowError`.
   * Default: 10,000.
   */
  readonly maxBuffered?: number | undefined
}

/** Options of `connect`. */
export interface ConnectOptions extends Pick<WaitOptions, 'signal'> {
  /**
   * How long a server is waited for that is not there yet, in milliseconds. 0 = there is one attempt. Default: the option
   * `reconnectTimeoutMillis`.
   */
  readonly timeoutMillis?: number | undefined
}

/** Options of `close`. */
export type CloseOptions = Pick<WaitOptions, 'detached'>

/** How a transaction is opened. Absent: as the server's defaults say. */
export interface TransactionModes {
  /** Default: the server's `default_transaction_isolation`. */
  readonly isolationLevel?: IsolationLevel | undefined
  /** Default: the server's `default_transaction_read_only`. */
  readonly accessMode?: 'read only' | 'read write' | undefined
  /** Has an effect only with `serializable` and `read only`. Default: the server's `default_transaction_deferrable`. */
  readonly deferrable?: boolean | undefined
}

export type IsolationLevel = 'read uncommitted' | 'read committed' | 'repeatable read' | 'serializable'
