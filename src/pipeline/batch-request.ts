/** Several statements as one transaction, in one flush and with one Sync. */
import type { RequestOwner } from './request-owner.js'
import { PLAIN_FACTS } from '../sql/classify.js'
import { Request, statementTraits } from './request.js'
import { StatementPart } from './statement-part.js'
import { writeCloses } from './wire.js'
import type { FieldDef, QueryResult } from 'pg'
import type { Statement } from '../api/statement.js'
import type { Failure } from '../util/failure.js'
import type { Pipelining, Sender } from './request.js'

export class BatchRequest extends Request {
  readonly statements: readonly Statement[]
  readonly #begin: string | null
  #parts: StatementPart[] = []
  /** The commands that have completed, BEGIN and COMMIT included. */
  #completed = 0

  /** @param begin the BEGIN of an explicit transaction; null for the implicit one that the messages up to a Sync are */
  constructor(
    owner: RequestOwner,
    statements: readonly Statement[],
    begin: string | null,
    exclusive: boolean,
  ) {
    const pipelining: Pipelining = exclusive ? 'exclusive' : pipeliningOf(statements, begin)
    const harmless = statements.every((statement) => statement.harmless)
    const mayUnlisten = statements.some((statement) => statement.mayUnlisten)
    const traits = { pipelining, repeatable: false, facts: PLAIN_FACTS }
    super(owner, statementTraits(traits, { harmless, mayUnlisten }))
    this.statements = statements
    this.#begin = begin
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

  override get staleName(): boolean {
    return this.#parts[this.failedIndex ?? -1]?.isStale(this.error) ?? false
  }

  get #index(): number {
    return this.#completed - (this.#begin === null ? 0 : 1)
  }

  protected override encode(sender: Sender): void {
    const { writer } = sender
    this.#completed = 0
    writeCloses(sender)
    if (this.#begin !== null) writer.begin(this.#begin)
    this.#parts = this.statements.map((request) => {
      const part = new StatementPart(request, sender)
      part.encode(sender)
      return part
    })
    if (this.#begin !== null) writer.command('COMMIT')
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
    this.#parts[index]?.complete(tag)
  }

  override handleEmptyQuery(): void {
    this.#parts[this.#index]?.complete(null)
    this.#completed++
  }

  override settle(): void {
    for (const part of this.#parts) part.settle(this.error, this.sender!)
  }
}

function pipeliningOf(statements: readonly Statement[], begin: string | null): Pipelining {
  if (begin !== null) return 'exclusive'
  // Nobody asks for a name of a user's before it is known whether the server has it.
  return statements.some(({ name }) => name !== undefined) ? 'tail' : 'shared'
}
