/** Rows a batch at a time, by a portal (pg-cursor), so that memory stays flat whatever their number. */
import type { CustomTypesConfig } from 'pg'
import { throwIfAborted } from '../util/abort-signals.js'
import type { DriverSubmittable } from './submittable-request.js'
import type { RequestGuard } from './request.js'

/** What is used of pg-cursor, which is loaded with the first stream. */
interface Cursor<R> extends DriverSubmittable {
  read(rows: number): Promise<R[]>
  close(): Promise<void>
}

type CursorClass = new (text: string, values: unknown[] | undefined, config: CursorConfig) => Cursor<never>

interface CursorConfig {
  rowMode?: 'array' | undefined
  types?: CustomTypesConfig | undefined
}

/** Options of `stream()`. */
export interface StreamOptions extends CursorConfig {
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

/** A cursor that was handed to the connection. */
export interface Submitted {
  /** Resolves once the connection is done with it. */
  readonly over: Promise<void>
  /** Watches the limits of the fetch that begins; null where there are none. */
  watch(): RequestGuard | null
  /** The rows have been read, or their reader has left. */
  left(): void
}

const DEFAULT_BATCH_SIZE = 100

/** Yields the rows of one statement. `submit` hands the cursor to the connection. */
export async function* readRows<R>(
  text: string,
  values: unknown[] | undefined,
  options: StreamOptions,
  submit: (cursor: DriverSubmittable) => Submitted,
): AsyncGenerator<R, void, undefined> {
  const { batchSize = DEFAULT_BATCH_SIZE, rowMode, types, signal } = options
  if (!Number.isInteger(batchSize) || batchSize < 1) {
    throw new RangeError(`batchSize must be a whole number, 1 or more, but is ${String(batchSize)}`)
  }
  const { default: CursorOfPg } = (await import('pg-cursor')) as unknown as { default: CursorClass }
  throwIfAborted(signal)
  const cursor: Cursor<R> = new CursorOfPg(text, values, { rowMode, types: types ?? undefined })
  const { over, watch, left } = submit(cursor)
  let failed = false
  try {
    for (;;) {
      const guard = watch()
      const rows = await cursor.read(batchSize).catch((error: unknown) => {
        failed = true
        throw guard === null ? error : guard.settle(error as Error)!.reason
      })
      // Rows that came while they were being cancelled are not read: a cancel is on its way to the next fetch.
      const late = guard?.abandon() ?? null
      if (late !== null) throw late.reason
      yield* rows
      if (rows.length < batchSize) return
      throwIfAborted(signal)
    }
  } finally {
    // A cursor that failed is closed already; what the backend's status is, its ReadyForQuery says.
    // Where the connection is lost, close() would wait for ever: what is waited for is the end of it all.
    if (!failed) cursor.close().catch(() => {})
    await over
    left()
  }
}
