/** Rows of one statement for a worker, a batch at a time: each batch is fetched when the worker wants it. */
import { onAbort } from '../../util/abort-listeners.js'
import { decodeCall } from '../wire-statement.js'
import type { Lease } from '../../lease/lease.js'
import type { CursorRows } from '../../pipeline/row-source.js'
import type { ClassifiedTexts } from '../../sql/classify.js'
import type { WireCell, WireRows, WireStatement } from '../protocol.js'

export class HostStream {
  /** How many rows are fetched at a time. */
  readonly batchSize: number
  readonly #rows: CursorRows
  /** Ends it when the worker wants that; null where it will not. */
  readonly #abort: AbortController | null
  #reading = false

  /** @param refusal is asked once more when the rows are opened */
  constructor(
    lease: Lease,
    [statement, batchSize]: readonly [statement: WireStatement, batchSize: number],
    texts: ClassifiedTexts,
    refusal: () => Error | null,
  ) {
    this.batchSize = batchSize
    const [, , , , , , abortable] = statement
    this.#abort = abortable ? new AbortController() : null
    this.#rows = lease.openRows(decodeCall(statement, texts, this.#abort?.signal), batchSize, refusal)
  }

  /** Whether the worker may want to end it while it is read. */
  get abortable(): boolean {
    return this.#abort !== null
  }

  /** A fetch is under way. */
  get reading(): boolean {
    return this.#reading
  }

  /** Ends the stream when `signal` aborts. */
  async read(signal: AbortSignal | undefined): Promise<WireRows> {
    const abort = (): void => this.#abort?.abort(signal?.reason)
    if (signal?.aborted) abort()
    const ignoreAbort = signal === undefined || signal.aborted ? null : onAbort(signal, abort)
    this.#reading = true
    try {
      const rows = (await this.#rows.read()) as WireCell[][]
      return { rows, fields: this.#rows.fields.map((field) => ({ ...field })) }
    } finally {
      this.#reading = false
      ignoreAbort?.()
    }
  }

  close(): Promise<void> {
    return this.#rows.close()
  }
}
