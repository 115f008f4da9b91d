/** What `query()` was called with, in pg's many forms, as one shape. */
import { checkMillis } from '../options.js'
import { checkTextSize, readValues } from './query-values.js'
import { checkSignal } from '../util/abort-signals.js'
import type {
  QueryArrayConfig,
  QueryArrayResult,
  QueryConfig as PgQueryConfig,
  QueryConfigValues,
  QueryResult,
  QueryResultRow,
  Submittable,
} from 'pg'
import type { DriverSubmittable } from '../pipeline/submittable-request.js'
import type { Statement } from '../pipeline/statement-part.js'
import type { ClassifiedTexts, Classified } from '../sql/classify.js'
import type { StatementLimits } from '../pipeline/statement-guard.js'

/* eslint-disable @typescript-eslint/no-explicit-any -- as in pg's own types: what comes back is the caller's to say */
/** A row whose type the caller did not say. */
export type AnyRow = any
/** Values, or a row as an array, whose types the caller did not say. */
export type AnyValues = any[]
/* eslint-enable @typescript-eslint/no-explicit-any */

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

/** pg's signatures of `query`, and a statement's `signal` and `timeoutMillis`. */
export interface QueryFunction {
  <T extends Submittable>(queryStream: T): T
  <R extends AnyValues = AnyValues, I = AnyValues>(
    queryConfig: QueryArrayConfig<I> & StatementOptions,
    values?: QueryConfigValues<I>,
  ): Promise<QueryArrayResult<R>>
  <R extends QueryResultRow = AnyRow, I = AnyValues>(
    queryConfig: PgQueryConfig<I> & StatementOptions,
  ): Promise<QueryResult<R>>
  <R extends QueryResultRow = AnyRow, I = AnyValues>(
    queryTextOrConfig: string | (PgQueryConfig<I> & StatementOptions),
    values?: QueryConfigValues<I>,
  ): Promise<QueryResult<R>>
  <R extends AnyValues = AnyValues, I = AnyValues>(
    queryConfig: QueryArrayConfig<I> & StatementOptions,
    callback: (error: Error, result: QueryArrayResult<R>) => void,
  ): void
  <R extends QueryResultRow = AnyRow, I = AnyValues>(
    queryTextOrConfig: string | (PgQueryConfig<I> & StatementOptions),
    callback: QueryCallback<R>,
  ): void
  <R extends QueryResultRow = AnyRow, I = AnyValues>(
    queryText: string,
    values: QueryConfigValues<I>,
    callback: QueryCallback<R>,
  ): void
}

/** A statement as it was asked for. */
export interface StatementCall {
  readonly statement: Statement
  readonly text: Classified
  readonly limits: StatementLimits
  /** Extended protocol, whatever the text. */
  readonly extended: boolean
}

export function isSubmittable(config: unknown): config is DriverSubmittable {
  return typeof (config as { submit?: unknown } | null)?.submit === 'function'
}

/** Where a callback stands among pg's arguments; undefined where a promise is wanted. */
export function callbackOf(config: unknown, values: unknown, callback: unknown): QueryCallback | undefined {
  const given =
    typeof values === 'function' ? values : (callback ?? (config as { callback?: unknown } | null)?.callback)
  if (given === undefined) return undefined
  if (typeof given !== 'function') throw new TypeError('callback is not a function')
  return given as QueryCallback
}

export interface CallDefaults {
  readonly texts: ClassifiedTexts
  readonly timeoutMillis: number
}

/** Reads a call. Throws what is wrong with it: nothing has been sent then. */
export function readCall(config: unknown, values: unknown, defaults: CallDefaults): StatementCall {
  const given = readConfig(config)
  const list = typeof values === 'function' || values == null ? given.values : values
  const wireValues = readValues(list)
  const text = readText(given)
  const classified = defaults.texts.get(text)
  return {
    statement: {
      text,
      values: wireValues,
      name: readName(given),
      rowMode: given.rowMode as string | undefined,
      types: given.types as Statement['types'],
      binary: given.binary === true,
      preparable: classified.preparable && given.name == null && given.binary !== true,
      harmless: classified.harmless,
      mayUnlisten: classified.mayUnlisten,
    },
    text: classified,
    limits: readLimits(given, defaults.timeoutMillis),
    extended: given.queryMode === 'extended' || given.name != null || wireValues.length > 0,
  }
}

/** The same call with another text, which an instrument has made of it. */
export function withText(call: StatementCall, text: string, texts: ClassifiedTexts): StatementCall {
  const { statement } = call
  if (text === statement.text) return call
  const classified = texts.get(noNul(text, 'text'))
  const preparable = statement.preparable && classified.kind === 'plain'
  return { ...call, text: classified, statement: { ...statement, text, preparable } }
}

function readConfig(config: unknown): Record<string, unknown> {
  if (config == null) throw new TypeError('Client was passed a null or undefined query')
  if (Array.isArray(config) && 'raw' in config) {
    throw new TypeError(
      'query is no tag for templates: call it as query(text, values), with $1, $2, … in the text',
    )
  }
  return typeof config === 'string' ? { text: config } : (config as Record<string, unknown>)
}

function readText({ text, name }: Record<string, unknown>): string {
  if (typeof text !== 'string' && typeof name !== 'string') {
    throw new TypeError('A query must have either text or a name. Supplying neither is unsupported.')
  }
  if (typeof text !== 'string') return ''
  checkTextSize(text)
  return noNul(text, 'text')
}

function readName({ name }: Record<string, unknown>): string | undefined {
  return name == null || name === '' ? undefined : noNul(String(name), 'name')
}

/** The protocol ends its strings with NUL: what follows one would be read as something else. */
function noNul(value: string, what: string): string {
  if (value.includes('\0')) throw new TypeError(`the ${what} of a query must not contain the character NUL`)
  return value
}

const NO_LIMITS: StatementLimits = { timeoutMillis: 0, signal: undefined }

/** Reads a statement's limits. Throws what is wrong with them. */
export function readLimits(given: Record<string, unknown>, defaultMillis: number): StatementLimits {
  // pg's own name for a statement's limit, which pg enforces by destroying the connection.
  const timeoutMillis = given.timeoutMillis ?? given.query_timeout ?? defaultMillis
  const signal = (given.signal ?? undefined) as AbortSignal | undefined
  if (timeoutMillis === 0 && signal === undefined) return NO_LIMITS
  checkMillis('timeoutMillis', timeoutMillis)
  if (signal !== undefined) checkSignal(signal)
  return { timeoutMillis: timeoutMillis as number, signal }
}
