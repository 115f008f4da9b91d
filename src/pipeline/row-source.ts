/** The rows of one statement by a portal (pg-cursor), a batch at a time. */
import CursorOfPg from 'pg-cursor'
import { reasonBehind, throwIfAborted } from '../util/abort-signals.js'
import type { FieldDef } from 'pg'
import type { DriverSubmittable, RowSource } from '../api/ports.js'
import type { Statement, StatementCall } from '../api/statement.js'
import type { RequestGuard } from './request.js'

/** What is used of pg-cursor. */
interface Cursor extends DriverSubmittable {
  readonly _result?: { readonly fields?: FieldDef[] }
  read(rows: number): Promise<unknown[]>
  close(): Promise<void>
}

type CursorClass = new (text: string, values: unknown[], config: Partial<Statement>) => Cursor

/** A cursor that was handed over. */
export interface SubmittedCursor {
  /** Resolves once it is over, however it ended, with the error if there was one. */
  readonly over: Promise<Error | null>
  /** Watches the limits of the fetch that begins; null where there are none. */
  watch(): RequestGuard | null
}

export class CursorRows implements RowSource {
  readonly #call: StatementCall
  readonly #batchSize: number
  readonly #submit: (cursor: DriverSubmittable) => SubmittedCursor
  #cursor: Cursor | null = null
  #submitted: SubmittedCursor | null = null
  #failed = false
  /** How it ended between two fetches: pg-cursor would say that there are no more rows. */
  #lost: Error | null = null
  /** Rejects the fetch under way. */
  #onFailed: ((error: Error) => void) | null = null

  /** `submit` hands the cursor over. Throws where that is refused. */
  constructor(
    call: StatementCall,
    batchSize: number,
    submit: (cursor: DriverSubmittable) => SubmittedCursor,
  ) {
    this.#call = call
    this.#batchSize = batchSize
    this.#submit = submit
  }

  /** The columns, once the first rows have come. */
  get fields(): FieldDef[] {
    return this.#cursor?._result?.fields ?? []
  }

  async read(): Promise<unknown[]> {
    const cursor = this.#cursor ?? this.#open()
    const guard = this.#submitted!.watch()
    const rows = await this.#fetch(cursor).catch((error: Error) => {
      this.#failed = true
      throw guard === null ? reasonBehind(error) : guard.settle(error)!.reason
    })
    // Rows that came while they were being cancelled are not read: a cancel is on its way to the next fetch.
    const late = guard?.abandon() ?? null
    if (late !== null) throw late.reason
    if (this.#lost !== null) throw reasonBehind(this.#lost)
    return rows
  }

  /** pg-cursor tells nobody of a connection that dies behind the last row. */
  #fetch(cursor: Cursor): Promise<unknown[]> {
    return new Promise((resolve, reject) => {
      this.#onFailed = reject
      cursor.read(this.#batchSize).then(resolve, reject)
    })
  }

  #open(): Cursor {
    throwIfAborted(this.#call.limits.signal)
    const { text, values, rowMode, types } = this.#call.statement
    const cursor = new (CursorOfPg as unknown as CursorClass)(text, [...values], { rowMode, types })
    this.#submitted = this.#submit(cursor)
    void this.#submitted.over.then((error) => {
      this.#lost = error
      if (error !== null) this.#onFailed?.(error)
    })
    return (this.#cursor = cursor)
  }

  async close(): Promise<void> {
    // A cursor that failed is closed already. Where the connection is lost, close() would wait for ever: what is
    // waited for is the end of the whole request.
    if (!this.#failed) this.#cursor?.close().catch(() => {})
    await this.#submitted?.over
  }
}
