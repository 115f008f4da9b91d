/** Statements by the extended protocol, in one flush and with one Sync. */
import { Request } from './request.js'
import { StatementPart } from './statement-part.js'
import type { QueryResult } from 'pg'
import type { Statement } from '../api/statement.js'
import type { Failure } from '../util/failure.js'
import type { RequestOwner } from './request-owner.js'
import type { RequestTraits, Sender } from './request.js'

const NONE: readonly StatementPart[] = []

export abstract class StatementsRequest extends Request {
  readonly statements: readonly Statement[]
  protected parts = NONE
  /** Which of them the server runs: BEGIN and what follows it come before 0, and COMMIT behind the last. */
  #at = 0
  readonly #begin: string | null

  /** @param begin goes before them, and COMMIT behind; null where only the BEGIN of its admission does */
  constructor(
    owner: RequestOwner,
    statements: readonly Statement[],
    traits: RequestTraits,
    begin: string | null,
  ) {
    super(owner, traits)
    this.statements = statements
    this.#begin = begin
  }

  get text(): string {
    return this.statements[this.failedIndex ?? 0]!.text
  }

  get complete(): boolean {
    return this.#at === this.parts.length + (this.#begin === null ? 0 : 1)
  }

  /** The answer to what its owner has asked behind it; undefined where there is none. */
  get trailing(): QueryResult | undefined {
    const isThere = this.admission.trailer !== null && this.error === null
    return isThere ? this.parts[this.statements.length]?.result : undefined
  }

  /** The first statement that did not complete; null where all did (a deferred constraint fails at the end). */
  get failedIndex(): number | null {
    return this.#at >= 0 && this.#at < this.statements.length ? this.#at : null
  }

  override get beginPending(): boolean {
    return this.#at === -1 - this.admission.locals.length
  }

  override get staleName(): boolean {
    return this.rows?.isStale(this.error) ?? false
  }

  override get parseFailure(): Failure | null {
    for (const { parseFailure } of this.parts) if (parseFailure !== null) return parseFailure
    return null
  }

  protected override get rows(): StatementPart | undefined {
    return this.parts[this.#at]
  }

  protected override encode(sender: Sender): void {
    const { writer, prepared } = sender
    const begin = this.#begin ?? this.admission.begin
    const { locals } = this.admission
    this.#at = begin === null ? 0 : -1 - locals.length
    for (const name of prepared.takeClosing()) writer.close(name)
    if (begin !== null) writer.begin(begin, locals)
    const { trailer } = this.admission
    const all = trailer === null ? this.statements : [...this.statements, trailer]
    this.parts = all.map((statement) => new StatementPart(statement, sender))
    for (const part of this.parts) part.encode(sender)
    if (this.#begin !== null) writer.command('COMMIT')
    writer.sync()
  }

  protected override completed(tag: string | null): void {
    this.rows?.complete(tag)
    if (++this.#at === 0) this.sender!.onBegun(this)
  }

  override settle(): void {
    for (const part of this.parts) part.settle(this.error, this.sender!)
  }
}

/** One statement, with the BEGIN of its transaction before it where it opens one. */
export class QueryRequest extends StatementsRequest {
  constructor(owner: RequestOwner, statement: Statement, traits: RequestTraits) {
    super(owner, [statement], traits, null)
  }

  override get outcome(): QueryResult {
    return this.parts[0]!.result
  }
}
