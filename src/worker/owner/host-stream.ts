/** Rows of one statement for a worker, a batch at a time: each batch is fetched when the worker wants it. */
import type { CustomTypesConfig } from 'pg'
import { KEPT } from './travelling-types.js'
import { ValuePacker } from './value-packer.js'
import type { Connection, StreamOptions } from '../../index.js'
import type { WireRows, WireStatement } from '../protocol.js'

const DEFAULT_BATCH_SIZE = 100

type Row = Record<string, unknown>

export class HostStream {
  readonly #rows: AsyncIterator<Row>
  readonly #batchSize: number

  /** `types` parses, where the worker does not. */
  constructor(connection: Connection, [text, values, raw, more]: WireStatement, types: CustomTypesConfig) {
    const options: StreamOptions = { ...more, types: raw ? KEPT : types }
    this.#batchSize = options.batchSize ?? DEFAULT_BATCH_SIZE
    this.#rows = connection.stream<Row>(text as string, values === null ? undefined : [...values], options)
  }

  /** `transfer` is told of buffers that are given away. */
  async read(transfer: (buffer: ArrayBuffer) => void): Promise<WireRows> {
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
