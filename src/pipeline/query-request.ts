/** One statement by the extended protocol, with the BEGIN of its transaction before it where it opens one. */
import type { FieldDef, QueryResult } from 'pg'
import type { Failure } from '../util/failure.js'
import { StatementPart } from './statement-part.js'
import type { Statement } from './statement-part.js'
import { Request, writeBegin, writeCloses } from './request.js'
import type { Sender, RequestOwner } from './request.js'

export class QueryRequest extends Request {
  readonly statement: Statement
  /** The BEGIN to send before the statement; null when none is due. Its owner sets it when it admits the request. */
  begin: string | null = null
  #part: StatementPart | null = null
  /** BEGIN is on its way. */
  #beginPending = false

  override readonly harmful: boolean
  override readonly mayUnlisten: boolean

  constructor(owner: RequestOwner, request: Statement) {
    super(owner)
    this.statement = request
    this.harmful = !request.harmless
    this.mayUnlisten = request.mayUnlisten
  }

  /** Its BEGIN has been sent and not answered: nothing of it can have been committed. */
  get beginPending(): boolean {
    return this.#beginPending
  }

  get text(): string {
    return this.statement.text
  }

  get complete(): boolean {
    return !this.#beginPending && this.#part!.completed
  }

  /** The result, complete after ReadyForQuery without an error. */
  get result(): QueryResult {
    return this.#part!.rows.result
  }

  override get outcome(): QueryResult {
    return this.result
  }

  override get parseFailure(): Failure | null {
    return this.#part?.rows.parseFailure ?? null
  }

  /** It was sent under a name of ours that the server had lost or could not use any more. */
  get staleName(): boolean {
    return this.#part?.isStale(this.error) ?? false
  }

  protected override encode(sender: Sender): void {
    this.#part = new StatementPart(this.statement, sender)
    writeCloses(sender)
    this.#beginPending = this.begin !== null
    if (this.begin !== null) writeBegin(sender.writer, this.begin)
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
      // A name that is not known to the server yet is asked for by one at a time.
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
