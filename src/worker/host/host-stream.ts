/** Rows of one statement for a worker, a batch at a time: each batch is fetched when the worker wants it. */
import type { CustomTypesConfig } from 'pg'
import { onAbort } from '../../util/abort-listeners.js'
import { KEPT } from './travelling-types.js'
import { ValuePacker } from './value-packer.js'
import type { Connection, StreamOptions } from '../../index.js'
import type { WireRows, WireStatement } from '../protocol.js'

const DEFAULT_BATCH_SIZE = 100

type Row = Record<string, unknown>

export class HostStream {
  readonly #rows: AsyncIterator<Row>
  readonly #batchSize: number
  /** Ends it at the worker's wish; null where that will not come. */
  readonly #abort: AbortController | null

  /** `types` parses, where the worker does not. */
  constructor(
    connection: Connection,
    [text, values, raw, more, abortable]: WireStatement,
    types: CustomTypesConfig,
  ) {
    this.#abort = abortable ? new AbortController() : null
    const options: StreamOptions = { ...more, types: raw ? KEPT : types, signal: this.#abort?.signal }
    this.#batchSize = options.batchSize ?? DEFAULT_BATCH_SIZE
    this.#rows = connection.stream<Row>(text as string, values === null ? undefined : [...values], options)
  }

  /** Whether the worker may want to end it while it is read. */
  get abortable(): boolean {
    return this.#abort !== null
  }

  /** `transfer` is told of buffers that are given away. Ends the stream when `signal` aborts. */
  async read(transfer: (buffer: ArrayBuffer) => void, signal: AbortSignal | undefined): Promise<WireRows> {
    const abort = (): void => this.#abort?.abort(signal?.reason)
    if (signal?.aborted) abort()
    const ignoreAbort = signal === undefined || signal.aborted ? null : onAbort(signal, abort)
    try {
      return await this.#read(transfer)
    } finally {
      ignoreAbort?.()
    }
  }

  async #read(transfer: (buffer: ArrayBuffer) => void): Promise<WireRows> {
    const packer = new ValuePacker(transfer)
    const rows: Row[] = []
    let done = false
    do {
      const item = await this.#rows.next()
      if (item.done === true) done = true
      else rows.push(pack(item.value, rows.length, packer))
    } while (rows.length < this.#batchSize && !done)
    return { rows, bytes: packer.bytes, odd: packer.odd, done }
  }

  /** Not read to its end. */
  async drop(): Promise<void> {
    await this.#rows.return?.().catch(() => {})
  }
}

/** Makes of a row what can be copied. The row, an object or an array, is nobody else's. */
function pack(row: Row, index: number, packer: ValuePacker): Row {
  for (const [column, value] of Object.entries(row)) {
    if (typeof value === 'object') row[column] = packer.pack(value, index, column)
  }
  return row
}
