/** A text by the simple protocol: several statements, or one that only goes that way. */
import type { RequestOwner } from './request-owner.js'
import { Request } from './request.js'
import { RowCollector } from './row-collector.js'
import type { FieldDef, QueryResult } from 'pg'
import type { Statement } from '../api/statement.js'
import type { Failure } from '../util/failure.js'
import type { RequestTraits, Sender } from './request.js'

/** What a text by the simple protocol has of a statement. */
export type TextStatement = Pick<Statement, 'text' | 'rowMode' | 'types'>

export class TextRequest extends Request {
  readonly text: string
  readonly #rowMode: string | undefined
  readonly #types: Statement['types']
  #collectors: RowCollector[] = []
  /** The collector of the command under way; null between commands. */
  #current: RowCollector | null = null

  constructor(owner: RequestOwner, statement: TextStatement, traits: RequestTraits) {
    super(owner, traits)
    this.text = statement.text
    this.#rowMode = statement.rowMode
    this.#types = statement.types
  }

  /** pg's result; an array of results where there were several statements. */
  override get outcome(): QueryResult {
    const results = this.#collectors.map((collector) => collector.result)
    return results.length > 1 ? (results as unknown as QueryResult) : (results[0] ?? this.#collector().result)
  }

  protected override get openEnded(): boolean {
    return true
  }

  get complete(): boolean {
    return this.#collectors.length > 0 && this.#current === null
  }

  override get parseFailure(): Failure | null {
    return this.#collectors.find((collector) => collector.parseFailure !== null)?.parseFailure ?? null
  }

  protected override encode({ writer, prepared }: Sender): void {
    if (this.traits.harmful) prepared.suspend()
    this.#collectors = []
    this.#current = null
    writer.query(this.text)
  }

  #collector(): RowCollector {
    if (this.#current === null) {
      this.#current = new RowCollector(this.#rowMode, this.#types ?? this.sender!.client._types)
      this.#collectors.push(this.#current)
    }
    return this.#current
  }

  override handleRowDescription(message: { fields: FieldDef[] }): void {
    this.#collector().describe(message.fields)
  }

  override handleDataRow(message: { fields: (string | null)[] }): void {
    this.#collector().add(message.fields)
  }

  override refuseRow(error: Error): boolean {
    return this.#collector().refuseRow(error)
  }

  protected override completed(tag: string): void {
    this.#collector().complete(tag)
    this.#current = null
  }

  override handleEmptyQuery(): void {
    this.#collector()
    this.#current = null
  }
}
