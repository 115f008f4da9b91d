/** Unpacks results, as pg would have made them in this thread. */
import { threadTypes } from '../../pg/driver.js'
import { RowCollector } from '../../pipeline/row-collector.js'
import type { FieldDef, QueryResult } from 'pg'
import type { Statement } from '../../api/statement.js'
import type { WireAnswer, WireResult, WireRows, WireShape } from '../protocol.js'

/** How a statement's rows are wanted. */
export type RowWish = Pick<Statement, 'rowMode' | 'types'>

export class ResultDecoder {
  readonly #shapes: (readonly FieldDef[])[] = []

  /**
   * Decodes one result, or those of several statements; the last wish holds for all that follow.
   *
   * @throws what a type parser throws
   */
  decode(answer: WireAnswer, wishes: readonly RowWish[]): QueryResult | QueryResult[] {
    if (!isSeveral(answer)) return this.#decodeOne(answer, wishes[0]!)
    // All shapes first: later answers refer to them, whatever becomes of this one.
    for (const result of answer) this.#shape(result[3])
    return answer.map((result, index) => this.#decodeOne(result, wishes[Math.min(index, wishes.length - 1)]!))
  }

  #decodeOne([command, rowCount, oid, shape, count, cells]: WireResult, wish: RowWish): QueryResult {
    const fields = this.#shape(shape)
    const collector = collectorFor(fields, wish)
    const width = fields.length
    for (let row = 0; row < count; row++) collector.add(cells.slice(row * width, (row + 1) * width))
    throwFailure(collector)
    return Object.assign(collector.result, { command, rowCount, oid })
  }

  #shape(wire: WireShape): readonly FieldDef[] {
    if (typeof wire === 'number') return this.#shapes[wire]!
    const [slot, fields] = wire
    if (slot >= 0) this.#shapes[slot] = fields
    return fields
  }
}

/** Unpacks some rows of a stream. @throws what a type parser throws */
export function decodeRows({ rows, fields }: WireRows, wish: RowWish): unknown[] {
  const collector = collectorFor(fields, wish)
  for (const row of rows) collector.add([...row])
  throwFailure(collector)
  return collector.result.rows
}

function isSeveral(answer: WireAnswer): answer is readonly WireResult[] {
  return Array.isArray(answer[0]) || answer.length === 0
}

function collectorFor(fields: readonly FieldDef[], { rowMode, types }: RowWish): RowCollector {
  const collector = new RowCollector(rowMode, types ?? threadTypes)
  // A result is its caller's, who may change what is in it.
  if (fields.length > 0) collector.describe(fields.map((field) => ({ ...field })))
  return collector
}

function throwFailure({ parseFailure }: RowCollector): void {
  if (parseFailure !== null) throw parseFailure.reason
}
