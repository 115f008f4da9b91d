/** Packs results for a worker: the cells in one flat list, the columns' description only while it is new. */
import type { FieldDef, QueryArrayResult, QueryResult } from 'pg'
import { ValuePacker } from './value-packer.js'
import type { WireAnswer, WireResult, WireShape } from '../protocol.js'

/** So many descriptions are known to the worker by number; then numbers are used again. */
const SLOTS = 1_024

type AnyResult = QueryResult | QueryArrayResult

export class ResultEncoder {
  readonly #transfer: (buffer: ArrayBuffer) => void
  /** The first column of a description stands for the whole: prepared statements keep theirs. */
  readonly #slots = new WeakMap<FieldDef, number>()
  readonly #known: (FieldDef | null)[] = []
  #nextSlot = 0

  /** `transfer` is told of buffers that are given away. */
  constructor(transfer: (buffer: ArrayBuffer) => void) {
    this.#transfer = transfer
  }

  /** Packs what a query resolved with. */
  encode(result: AnyResult | readonly AnyResult[]): WireAnswer {
    if (!Array.isArray(result)) return this.#encodeOne(result as AnyResult)
    return (result as readonly AnyResult[]).map((one) => this.#encodeOne(one))
  }

  #encodeOne({ command, rowCount, oid, fields, rows }: AnyResult): WireResult {
    const packer = new ValuePacker(this.#transfer)
    const width = fields.length
    const cells = new Array<unknown>(rows.length * width)
    let index = 0
    for (const row of rows) {
      for (let column = 0; column < width; column++) {
        const { name } = fields[column]!
        const value = (row as Record<number | string, unknown>)[Array.isArray(row) ? column : name]
        cells[index] = typeof value === 'object' ? packer.pack(value, index, name) : value
        index++
      }
    }
    return [command, rowCount, oid, this.#shape(fields), rows.length, cells, packer.bytes, packer.odd]
  }

  #shape(fields: FieldDef[]): WireShape {
    const first = fields[0]
    if (first === undefined) return [-1, fields]
    const slot = this.#slots.get(first)
    if (slot === undefined) {
      // Most descriptions are seen once only.
      this.#slots.set(first, -1)
      return [-1, fields]
    }
    if (slot >= 0 && this.#known[slot] === first) return slot
    const taken = this.#nextSlot++ % SLOTS
    this.#known[taken] = first
    this.#slots.set(first, taken)
    return [taken, fields]
  }
}
