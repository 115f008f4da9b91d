/** What `query()` takes and gives: pg's shapes, with a statement's limits. */
import type {
  CustomTypesConfig,
  QueryArrayConfig,
  QueryArrayResult,
  QueryConfig as PgQueryConfig,
  QueryConfigValues,
  QueryResult,
  QueryResultRow,
  Submittable,
} from 'pg'

/* oxlint-disable typescript/no-explicit-any -- as in pg's own types: what comes back is the caller's to say */
/** A row whose type the caller did not say. */
export type AnyRow = any
/** Values, or a row as an array, whose types the caller did not say. */
export type AnyValues = any[]
/* oxlint-enable typescript/no-explicit-any */

/** The limits that a statement may carry, beside pg's own members. */
export interface StatementOptions {
  /** Cancels the statement when it aborts; its caller is rejected with `signal.reason`. */
  signal?: AbortSignal | undefined
  /**
   * Cancels the statement when it has not ended by then, in milliseconds; its caller is rejected with
   * `StatementTimeoutError`. 0 = none. Default: the option `statementTimeoutMillis`.
   */
  timeoutMillis?: number | undefined
  /**
   * For the manager's `query` alone: waits for its turn even inside a callback that holds the connection. Default:
   * false.
   */
  detached?: boolean | undefined
  /**
   * A name for the one who asks, for people: in `AcquireTimeoutError`, events and traces. Default: in a turn, that of the
   * turn.
   */
  label?: string | undefined
  /** For the manager's `query` alone: what the statement's transaction has set, see `SettingsOptions`. */
  settings?: Readonly<Record<string, string | number | boolean>> | undefined
  /** For the manager's `query` alone: the role that it is run as, see `SettingsOptions`. */
  role?: string | undefined
}

/** pg's query config, with a statement's limits. */
export interface QueryConfig<I = AnyValues> extends PgQueryConfig<I>, StatementOptions {
  rowMode?: 'array' | undefined
}

/** The results of a batch, one for each of its statements. */
export type BatchResults<S extends readonly (string | QueryConfig)[]> = {
  -readonly [K in keyof S]: S[K] extends { rowMode: 'array' } ? QueryArrayResult : QueryResult
}

/** What pg calls back with. */
export type QueryCallback<R extends QueryResultRow = AnyRow> = (error: Error, result: QueryResult<R>) => void

/**
 * pg's signatures of `query`, without its submittables. Beside pg's own members a config takes a statement's `signal`
 * and `timeoutMillis`.
 */
export interface OneShotQuery {
  <R extends AnyValues = AnyValues, I = AnyValues>(
    queryConfig: QueryArrayConfig<I> & StatementOptions,
    values?: QueryConfigValues<I>,
  ): Promise<QueryArrayResult<R>>
  <R extends QueryResultRow = AnyRow, I = AnyValues>(queryConfig: QueryConfig<I>): Promise<QueryResult<R>>
  <R extends QueryResultRow = AnyRow, I = AnyValues>(
    queryTextOrConfig: string | QueryConfig<I>,
    values?: QueryConfigValues<I>,
  ): Promise<QueryResult<R>>
  <R extends AnyValues = AnyValues, I = AnyValues>(
    queryConfig: QueryArrayConfig<I> & StatementOptions,
    callback: (error: Error, result: QueryArrayResult<R>) => void,
  ): void
  <R extends QueryResultRow = AnyRow, I = AnyValues>(
    queryTextOrConfig: string | QueryConfig<I>,
    callback: QueryCallback<R>,
  ): void
  <R extends QueryResultRow = AnyRow, I = AnyValues>(
    queryText: string,
    values: QueryConfigValues<I>,
    callback: QueryCallback<R>,
  ): void
}

/** pg's signatures of `query`, its submittables included. */
export interface HolderQuery extends OneShotQuery {
  <T extends Submittable>(queryStream: T): T
}

/** Options of `stream()`. */
export interface StreamOptions {
  /** Rows as arrays of their cells. Default: as objects. */
  rowMode?: 'array' | undefined
  /** Parses the cells. Default: the parsers of the connection, else `pg.types`. */
  types?: CustomTypesConfig | undefined
  /** How many rows are fetched at a time. Default: 100. */
  batchSize?: number | undefined
  /** Ends the stream when it aborts, and cancels what runs; reading it then throws `signal.reason`. */
  signal?: AbortSignal | undefined
  /**
   * How long each fetch may take, in milliseconds; then the statement is cancelled, and reading throws
   * `StatementTimeoutError`. What the reader does with the rows does not count. 0 = no limit. Default: the option
   * `statementTimeoutMillis`.
   */
  timeoutMillis?: number | undefined
}
