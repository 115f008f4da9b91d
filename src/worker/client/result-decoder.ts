/** Unpacks results, as pg would have made them in this thread. */
import { threadTypes } from '../../pg/driver.js'
import { RowCollector } from '../../pipeline/row-collector.js'
import type { FieldDef, QueryResult } from 'pg'
import type { Statement } from '../../api/statement.js'
import type { WireAnswer, WireResult } from '../protocol.js'

/** A result whose columns are known. */
export type Packed = WireResult<readonly FieldDef[]>

/** How a statement's rows are wanted. */
type RowWish = Pick<Statement, 'rowMode' | 'types'>

export class ResultDecoder {
  readonly #shapes: (readonly FieldDef[])[] = []

  /** Finds or remembers the columns. To be called for each answer in its turn: later ones refer to it. */
  describe(answer: WireAnswer): Packed | readonly Packed[] {
    return isSeveral(answer) ? answer.map((one) => this.#describe(one)) : this.#describe(answer)
  }

  #describe([command, rowCount, oid, shape, rows, cells]: WireResult): Packed {
    if (typeof shape === 'number') return [command, rowCount, oid, this.#shapes[shape], rows, cells]
    const [slot, fields] = shape
    if (slot >= 0) this.#shapes[slot] = fields
    return [command, rowCount, oid, fields, rows, cells]
  }
}

function isSeveral<T extends readonly unknown[]>(answer: T | readonly T[]): answer is readonly T[] {
  return Array.isArray(answer[0]) || answer.length === 0
}

/** Unpacks the result of a text, or those of its several statements. @throws what a type parser throws */
export function unpack(packed: Packed | readonly Packed[], wish: RowWish): QueryResult {
  // As pg has it, whose types do not tell.
  return (
    isSeveral(packed) ? packed.map((one) => unpackOne(one, wish)) : unpackOne(packed, wish)
  ) as QueryResult
}

export function unpackOne([command, rowCount, oid, fields, rows, cells]: Packed, wish: RowWish): QueryResult {
  const collector = new RowCollector(wish.rowMode, wish.types ?? threadTypes)
  // A result is its caller's, who may change what is in it.
  if (fields.length > 0) collector.describe(fields.map((field) => ({ ...field })))
  const width = fields.length
  for (let row = 0; row < rows; row++) collector.add(cells.slice(row * width, (row + 1) * width))
  if (collector.parseFailure !== null) throw collector.parseFailure.reason
  return Object.assign(collector.result, { command, rowCount, oid })
}
