/** Unpacks results, as pg would have made them in this thread. */
import { restoreBytes } from '../cloneable.js'
import { parseOdd, parserOf } from './parsing.js'
import type { CustomTypesConfig, FieldDef, QueryResult } from 'pg'
import type { WireAnswer, WireResult, WireShape } from '../protocol.js'

type Row = Record<string, unknown> | unknown[]

/** How a statement's rows are wanted. */
export interface RowWish {
  readonly asArrays: boolean
  /** Parses the cells, which are texts; null where the owner has parsed them. */
  readonly types: CustomTypesConfig | null
}

interface Shape {
  readonly fields: readonly FieldDef[]
  /** An empty row: its members in the order of the columns. */
  readonly template: Readonly<Record<string, unknown>>
}

export class ResultDecoder {
  readonly #shapes: Shape[] = []

  /** Decodes one result, or those of several statements; the last wish holds for all that follow. */
  decode(answer: WireAnswer, wishes: readonly RowWish[]): QueryResult | QueryResult[] {
    // All of them first: later answers refer to them, whatever becomes of this one.
    if (isSeveral(answer)) for (const result of answer) this.#shape(result[3])
    if (!isSeveral(answer)) return this.#decodeOne(answer, wishes[0]!)
    return answer.map((result, index) => this.#decodeOne(result, wishes[Math.min(index, wishes.length - 1)]!))
  }

  #decodeOne(wire: WireResult, { asArrays, types }: RowWish): QueryResult {
    const [command, rowCount, oid, wireShape, count, cells, bytes, odd] = wire
    const shape = this.#shape(wireShape)
    if (bytes) for (let i = 0; i < cells.length; i++) cells[i] = restoreBytes(cells[i])
    if (odd !== null) for (const cell of odd) cells[cell.index] = parseOdd(cell, null)
    if (types !== null) parseAll(cells, shape.fields, types)
    const rows = asArrays ? asRows(cells, count, shape) : asObjects(cells, count, shape)
    return {
      command,
      rowCount,
      oid,
      rows,
      fields: shape.fields.map((field) => ({ ...field })),
    } as QueryResult
  }

  #shape(wire: WireShape): Shape {
    if (typeof wire === 'number') return this.#shapes[wire]!
    const [slot, fields] = wire
    const shape = { fields, template: templateOf(fields) }
    if (slot >= 0) this.#shapes[slot] = shape
    return shape
  }
}

function isSeveral(answer: WireAnswer): answer is readonly WireResult[] {
  return Array.isArray(answer[0]) || answer.length === 0
}

function templateOf(fields: readonly FieldDef[]): Record<string, unknown> {
  // Without a prototype, so that a column may be called __proto__.
  const members = Object.create(null) as Record<string, unknown>
  for (const { name } of fields) members[name] = null
  // A copy, because an object without a prototype is one that is slow to copy.
  return { ...members }
}

function asRows(cells: readonly unknown[], count: number, { fields }: Shape): Row[] {
  const width = fields.length
  return Array.from({ length: count }, (_, row) => cells.slice(row * width, (row + 1) * width))
}

function asObjects(cells: readonly unknown[], count: number, { fields, template }: Shape): Row[] {
  const rows = new Array<Row>(count)
  let index = 0
  for (let number = 0; number < count; number++) {
    const row: Record<string, unknown> = { ...template }
    for (const { name } of fields) row[name] = cells[index++]
    rows[number] = row
  }
  return rows
}

function parseAll(cells: unknown[], fields: readonly FieldDef[], types: CustomTypesConfig): void {
  const parsers = fields.map(({ dataTypeID, format }) => parserOf(types, dataTypeID, format))
  for (let i = 0; i < cells.length; i++) {
    if (cells[i] !== null) cells[i] = parsers[i % parsers.length]!(cells[i])
  }
}
