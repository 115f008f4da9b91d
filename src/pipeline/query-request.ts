/** One statement by the extended protocol, with the BEGIN of its transaction before it where it opens one. */
import type { RequestOwner } from './request-owner.js'
import { Request } from './request.js'
import { StatementPart } from './statement-part.js'
import { writeCloses } from './wire.js'
import type { FieldDef, QueryResult } from 'pg'
import type { Statement } from '../api/statement.js'
import type { Failure } from '../util/failure.js'
import type { RequestTraits, Sender } from './request.js'

export class QueryRequest extends Request {
  readonly statement: Statement
  #part: StatementPart | null = null
  /** BEGIN is on its way. */
  #beginPending = false

  constructor(owner: RequestOwner, statement: Statement, traits: RequestTraits) {
    super(owner, traits)
    this.statement = statement
  }

  override get beginPending(): boolean {
    return this.#beginPending
  }

  get text(): string {
    return this.statement.text
  }

  get complete(): boolean {
    return !this.#beginPending && this.#part!.completed
  }

  override get outcome(): QueryResult {
    return this.#part!.rows.result
  }

  override get parseFailure(): Failure | null {
    return this.#part?.rows.parseFailure ?? null
  }

  override get staleName(): boolean {
    return this.#part?.isStale(this.error) ?? false
  }

  protected override encode(sender: Sender): void {
    this.#part = new StatementPart(this.statement, sender)
    writeCloses(sender)
    const { begin } = this.admission
    this.#beginPending = begin !== null
    if (begin !== null) sender.writer.begin(begin)
    this.#part.encode(sender)
    sender.writer.sync()
  }

  override handleRowDescription(message: { fields: FieldDef[] }): void {
    this.#part!.describe(message.fields)
  }

  override handleDataRow(message: { fields: (string | null)[] }): void {
    this.#part!.rows.add(message.fields)
  }

  override refuseRow(error: Error): boolean {
    return this.#part!.rows.refuseRow(error)
  }

  protected override completed(tag: string): void {
    if (this.#beginPending) {
      this.#beginPending = false
      // Only one request at a time may introduce a name that the server does not know yet.
      if (this.statement.name === undefined) this.sender!.onBegun(this)
    } else this.#part!.complete(tag)
  }

  override handleEmptyQuery(): void {
    this.#part!.complete(null)
  }

  override settle(): void {
    this.#part!.settle(this.error, this.sender!)
  }
}
