/** Packs results for a worker: the cells in one flat list, the columns' description only while it is new. */
import type { FieldDef, QueryResult } from 'pg'
import type { WireAnswer, WireCell, WireResult, WireShape } from '../protocol.js'

/** So many descriptions are remembered; then all are forgotten, and their numbers are used again. */
const MOST_REMEMBERED = 1_024

export class ResultEncoder {
  /** The descriptions that were sent, by their keys: once (null), or with a number that the worker knows. */
  readonly #sent = new Map<string, { readonly slot: number; readonly fields: readonly FieldDef[] } | null>()
  #slots = 0

  /** Packs what a query resolved with: rows as arrays of unparsed cells. */
  encode(result: QueryResult | readonly QueryResult[]): WireAnswer {
    if (!Array.isArray(result)) return this.#encodeOne(result as QueryResult)
    return (result as readonly QueryResult[]).map((one) => this.#encodeOne(one))
  }

  #encodeOne({ command, rowCount, oid, fields, rows }: QueryResult): WireResult {
    const cells = (rows as unknown as WireCell[][]).flat()
    return [command, rowCount, oid, this.#shape(fields), rows.length, cells]
  }

  /** With a number from its second time on: most descriptions are seen once only. */
  #shape(fields: FieldDef[]): WireShape {
    if (fields.length === 0) return [-1, fields]
    if (this.#sent.size >= MOST_REMEMBERED) {
      this.#sent.clear()
      this.#slots = 0
    }
    const key = keyOf(fields)
    const sent = this.#sent.get(key)
    if (sent === undefined) {
      this.#sent.set(key, null)
      return [-1, fields]
    }
    if (sent !== null && isSame(sent.fields, fields)) return sent.slot
    const slot = sent?.slot ?? this.#slots++
    this.#sent.set(key, { slot, fields: fields.map((field) => ({ ...field })) })
    return [slot, fields]
  }
}

/** Most descriptions that differ differ in this. */
function keyOf(fields: readonly FieldDef[]): string {
  const first = fields[0]!
  const last = fields[fields.length - 1]!
  return `${fields.length} ${first.tableID} ${first.name} ${last.name}`
}

function isSame(known: readonly FieldDef[], fields: readonly FieldDef[]): boolean {
  return known.length === fields.length && known.every((field, index) => isSameField(field, fields[index]!))
}

function isSameField(one: FieldDef, other: FieldDef): boolean {
  return (
    one.name === other.name &&
    one.dataTypeID === other.dataTypeID &&
    one.tableID === other.tableID &&
    one.columnID === other.columnID &&
    one.dataTypeSize === other.dataTypeSize &&
    one.dataTypeModifier === other.dataTypeModifier &&
    one.format === other.format
  )
}
