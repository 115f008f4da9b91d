/** Packs results for a worker: the cells in one flat list, the columns' description only while it is new. */
import type { FieldDef, QueryResult } from 'pg'
import type { WireAnswer, WireCell, WireResult, WireShape } from '../protocol.js'

/** So many descriptions are known to the worker by number; then numbers are used again. */
const SLOTS = 1_024

export class ResultEncoder {
  /** The number of each description that the worker knows, by its key. */
  readonly #slots = new Map<string, number>()
  readonly #known: (readonly FieldDef[])[] = []
  /** The keys of descriptions that were sent once. */
  readonly #seen = new Set<string>()
  #nextSlot = 0

  /** Packs what a query resolved with: rows as arrays of unparsed cells. */
  encode(result: QueryResult | readonly QueryResult[]): WireAnswer {
    if (!Array.isArray(result)) return this.#encodeOne(result as QueryResult)
    return (result as readonly QueryResult[]).map((one) => this.#encodeOne(one))
  }

  #encodeOne({ command, rowCount, oid, fields, rows }: QueryResult): WireResult {
    const cells = (rows as unknown as WireCell[][]).flat()
    return [command, rowCount, oid, this.#shape(fields), rows.length, cells]
  }

  /** By number where the worker knows the description; else with a number, from its second time on. */
  #shape(fields: FieldDef[]): WireShape {
    if (fields.length === 0) return [-1, fields]
    const key = keyOf(fields)
    const slot = this.#slots.get(key)
    if (slot === undefined) return this.#see(key, fields)
    const known = this.#known[slot]
    if (known !== undefined && isSame(known, fields)) return slot
    return this.#know(key, fields)
  }

  /** Most descriptions are seen once only. */
  #see(key: string, fields: FieldDef[]): WireShape {
    if (this.#seen.delete(key)) return this.#know(key, fields)
    if (this.#seen.size >= SLOTS) this.#seen.clear()
    this.#seen.add(key)
    return [-1, fields]
  }

  #know(key: string, fields: FieldDef[]): WireShape {
    const taken = this.#nextSlot++ % SLOTS
    this.#known[taken] = fields.map((field) => ({ ...field }))
    if (this.#slots.size >= SLOTS) this.#slots.clear()
    this.#slots.set(key, taken)
    return [taken, fields]
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
