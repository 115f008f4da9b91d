/**
 * What the tracing channels of `node:diagnostics_channel` tell. A channel's context is the same object from `start` to
 * `asyncEnd`; what is known later is filled in on the way. Nothing is made while nobody subscribes.
 *
 * ```ts
 * import { tracingChannel } from 'node:diagnostics_channel'
 * import type { StatementContext } from 'pg-managed-connection'
 *
 * tracingChannel<unknown, StatementContext>('pg-managed-connection:statement').subscribe({
 *   start() {},
 *   end() {},
 *   asyncStart() {},
 *   asyncEnd: ({ text, rowCount, label }) => console.log(label, text, rowCount),
 *   error: ({ text, error }) => console.error(text, error),
 * })
 * ```
 */
import type { Manager } from './manager.js'

/** What the contexts of all channels have. */
export interface TraceContext {
  /** The manager that was asked; in a worker thread, that thread's own. */
  readonly manager: Manager
  /** Why it failed; there from `error` on, where it did. */
  error?: unknown
}

/** Of `pg-managed-connection:connect`: the server connection is opened, with all attempts that this takes. */
export interface ConnectContext extends TraceContext {
  /** The server that was found; null until then. */
  host: string | null
  port: number | null
  /** The manager had been connected before. */
  readonly reconnecting: boolean
  /** The server process, once there is one. */
  processID: number | null
}

/** Of `pg-managed-connection:wait`: somebody waits for a turn, until it is granted. */
export interface WaitContext extends TraceContext {
  /** The option `label` of the call. */
  readonly label: string | null
}

/**
 * Of `pg-managed-connection:hold`: a turn, from its grant until others may have the connection. It has an error where it was
 * taken back; what its transaction has failed with is that one's.
 */
export interface HoldContext extends TraceContext {
  readonly label: string | null
  /** How it was waited for. */
  readonly wait: WaitContext
}

/**
 * Of `pg-managed-connection:transaction`: from the call that opens it until its end is answered, and is as certain and
 * durable as was asked for.
 */
export interface TransactionContext extends TraceContext {
  readonly label: string | null
  readonly hold: HoldContext
  /** The transaction that it is nested in. */
  readonly parent: TransactionContext | null
  /** What became of it; null until that is known. A nested one that is `'committed'` ends with its parent. */
  outcome: 'committed' | 'rolled back' | 'unknown' | null
}

/** Of `pg-managed-connection:statement`: a statement, or a batch, from the call until its answer. */
export interface StatementContext extends TraceContext {
  readonly label: string | null
  /** The text; of a batch the texts, with `; ` between them. */
  readonly text: string
  /** How many statements it is; more than one only in a batch. */
  readonly batchSize: number
  /** The parameters as they are sent, with the manager's option `traceValues`; else, and of a batch, null. */
  readonly values: readonly unknown[] | null
  /** The turn that it is part of; null for the manager's own `query` and `batch`. */
  readonly hold: HoldContext | null
  /** The transaction that it is part of; null where it commits by itself. */
  readonly transaction: TransactionContext | null
  /** How long it waited in line before it was sent, in milliseconds. Null in a turn, until then, and in worker threads. */
  waitedMillis: number | null
  /** The command that the server reported (`SELECT`, `INSERT`, …), once it has. Of a batch, the last one's. */
  command: string | null
  /** How many rows it gave or changed, once that is known. Of a batch, all. */
  rowCount: number | null
}
