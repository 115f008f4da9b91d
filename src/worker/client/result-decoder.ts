/** Unpacks results, as pg would have made them in this thread. */
import { threadTypes } from '../../pg/driver.js'
import { RowCollector } from '../../pipeline/row-collector.js'
import type { FieldDef, QueryResult } from 'pg'
import type { Statement } from '../../api/statement.js'
import type { WireAnswer, WireResult } from '../protocol.js'

/** How a statement's rows are wanted. */
type RowWish = Pick<Statement, 'rowMode' | 'types'>

export class ResultDecoder {
  readonly #shapes: (readonly FieldDef[])[] = []

  /** Remembers what it describes. */
  learn(answer: WireAnswer): void {
    for (const [, , , shape] of isSeveral(answer) ? answer : [answer]) {
      if (typeof shape !== 'number' && shape[0] >= 0) this.#shapes[shape[0]] = shape[1]
    }
  }

  /**
   * Decodes one result, or those of several statements; the last wish holds for all that follow.
   *
   * @throws what a type parser throws
   */
  decode(answer: WireAnswer, wishes: readonly RowWish[]): QueryResult | QueryResult[] {
    if (!isSeveral(answer)) return this.#decodeOne(answer, wishes[0])
    return answer.map((result, index) => this.#decodeOne(result, wishes[Math.min(index, wishes.length - 1)]))
  }

  #decodeOne([command, rowCount, oid, shape, count, cells]: WireResult, wish: RowWish): QueryResult {
    const fields = typeof shape === 'number' ? this.#shapes[shape] : shape[1]
    const collector = new RowCollector(wish.rowMode, wish.types ?? threadTypes)
    // A result is its caller's, who may change what is in it.
    if (fields.length > 0) collector.describe(fields.map((field) => ({ ...field })))
    const width = fields.length
    for (let row = 0; row < count; row++) collector.add(cells.slice(row * width, (row + 1) * width))
    if (collector.parseFailure !== null) throw collector.parseFailure.reason
    return Object.assign(collector.result, { command, rowCount, oid })
  }
}

function isSeveral(answer: WireAnswer): answer is readonly WireResult[] {
  return Array.isArray(answer[0]) || answer.length === 0
}
