/** Rows a batch at a time, by a portal (pg-cursor), so that memory stays flat whatever their number. */
import type { CustomTypesConfig } from 'pg'
import type { DriverSubmittable } from './submittable-unit.js'

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
  /** Ends the stream when it aborts; reading it then throws `signal.reason`. */
  signal?: AbortSignal | undefined
}

const DEFAULT_BATCH_SIZE = 100

/**
 * Yields the rows of one statement. `submit` hands the cursor to the connection, and gives the promise that
 * resolves once the connection is done with it.
 */
export async function* readRows<R>(
  text: string,
  values: unknown[] | undefined,
  options: StreamOptions,
  submit: (cursor: DriverSubmittable) => Promise<void>,
): AsyncGenerator<R, void, undefined> {
  const { batchSize = DEFAULT_BATCH_SIZE, rowMode, types, signal } = options
  if (!Number.isInteger(batchSize) || batchSize < 1) {
    throw new RangeError(`batchSize must be a whole number, 1 or more, but is ${String(batchSize)}`)
  }
  signal?.throwIfAborted()
  const { default: CursorOfPg } = (await import('pg-cursor')) as unknown as { default: CursorClass }
  const cursor: Cursor<R> = new CursorOfPg(text, values, { rowMode, types: types ?? undefined })
  const over = submit(cursor)
  let failed = false
  try {
    for (;;) {
      const rows = await cursor.read(batchSize).catch((error: unknown) => {
        failed = true
        throw error
      })
      signal?.throwIfAborted()
      yield* rows
      if (rows.length < batchSize) return
    }
  } finally {
    // A cursor that failed is closed already; what the session's status is, its ReadyForQuery says.
    // Where the connection is lost, close() would wait for ever: what is waited for is the end of it all.
    if (!failed) cursor.close().catch(() => {})
    await over
  }
}
