/** Several statements as one transaction, in one flush and with one Sync. */
import type { FieldDef, QueryResult } from 'pg'
import type { Failure } from '../util/failure.js'
import { StatementPart } from './statement-part.js'
import type { Statement } from './statement-part.js'
import { Request, writeBegin, writeCloses, writeControl } from './request.js'
import type { Sender, RequestOwner } from './request.js'

export class BatchRequest extends Request {
  readonly statements: readonly Statement[]
  override readonly harmful: boolean
  override readonly mayUnlisten: boolean
  /** The BEGIN of an explicit transaction; null for the implicit one that the messages up to a Sync are. */
  readonly #begin: string | null
  #parts: StatementPart[] = []
  /** The commands that have completed, BEGIN and COMMIT included. */
  #completed = 0
  /** The tag that COMMIT was answered with; null for an implicit transaction. */
  commitTag: string | null = null

  constructor(owner: RequestOwner, requests: readonly Statement[], begin: string | null) {
    super(owner)
    this.statements = requests
    this.harmful = requests.some(({ harmless }) => !harmless)
    this.mayUnlisten = requests.some(({ mayUnlisten }) => mayUnlisten)
    this.#begin = begin
    if (begin !== null) this.pipelining = 'exclusive'
    // Nobody asks for a name of a user's before it is known whether the server has it.
    else if (requests.some(({ name }) => name !== undefined)) this.pipelining = 'tail'
  }

  get text(): string {
    return this.statements[this.failedIndex ?? 0]!.text
  }

  get complete(): boolean {
    return this.#completed === this.statements.length + (this.#begin === null ? 0 : 2)
  }

  override get outcome(): QueryResult[] {
    return this.#parts.map((part) => part.rows.result)
  }

  override get parseFailure(): Failure | null {
    return this.#parts.find((part) => part.rows.parseFailure !== null)?.rows.parseFailure ?? null
  }

  /** The first statement that did not complete; null where all did (a deferred constraint fails at the end). */
  get failedIndex(): number | null {
    const index = this.#index
    return index >= 0 && index < this.statements.length ? index : null
  }

  /** A statement failed only because its prepared name had become stale. */
  get staleName(): boolean {
    return this.#parts[this.failedIndex ?? -1]?.isStale(this.error) ?? false
  }

  get #index(): number {
    return this.#completed - (this.#begin === null ? 0 : 1)
  }

  protected override encode(sender: Sender): void {
    const { writer } = sender
    this.#completed = 0
    this.commitTag = null
    writeCloses(sender)
    if (this.#begin !== null) writeBegin(writer, this.#begin)
    this.#parts = this.statements.map((request) => {
      const part = new StatementPart(request, sender)
      part.encode(sender)
      return part
    })
    if (this.#begin !== null) writeControl(writer, 'COMMIT')
    writer.sync()
  }

  override handleRowDescription(message: { fields: FieldDef[] }): void {
    this.#parts[this.#index]?.describe(message.fields)
  }

  override handleDataRow(message: { fields: (string | null)[] }): void {
    this.#parts[this.#index]?.rows.add(message.fields)
  }

  override refuseRow(error: Error): boolean {
    return this.#parts[this.#index]?.rows.refuseRow(error) ?? false
  }

  protected override completed(tag: string): void {
    const index = this.#index
    this.#completed++
    if (index === this.statements.length) this.commitTag = tag
    else this.#parts[index]?.complete(tag)
  }

  override handleEmptyQuery(): void {
    this.#parts[this.#index]?.complete(null)
    this.#completed++
  }

  override settle(): void {
    for (const part of this.#parts) part.settle(this.error, this.sender!)
  }
}
