/** Statements by the extended protocol, in one flush and with one Sync. */
import { Request } from './request.js'
import { StatementPart } from './statement-part.js'
import type { QueryResult } from 'pg'
import type { Statement } from '../api/statement.js'
import type { Failure } from '../util/failure.js'
import type { TurnSettings } from '../sql/turn-settings.js'
import { NO_LOCALS, type RequestOwner } from './request-owner.js'
import type { RequestTraits, Sender } from './request.js'

const NONE: readonly StatementPart[] = []
const COMMIT = ['COMMIT']

/** Of a request that is a transaction of its own. */
export interface OwnTransaction {
  /** Its BEGIN; null where it is an implicit one, or none. */
  readonly begin: string | null
  readonly settings: TurnSettings | null
}

export abstract class StatementsRequest extends Request {
  readonly statements: readonly Statement[]
  /** What its own transaction is to have set, where it is one. */
  readonly settings: TurnSettings | null
  /** The one that leads, the statements, and the one that trails. */
  protected parts = NONE
  /** Which of them the server runs: BEGIN and what follows it come before 0, and other commands behind the last. */
  #at = 0
  readonly #begin: string | null

  /** @param begin goes before them, and COMMIT behind; null where only the BEGIN of its admission does */
  constructor(
    owner: RequestOwner,
    statements: readonly Statement[],
    traits: RequestTraits,
    { begin, settings }: OwnTransaction,
  ) {
    super(owner, traits)
    this.statements = statements
    this.settings = settings
    this.#begin = begin
  }

  get text(): string {
    return this.statements[this.failedIndex ?? 0]!.text
  }

  get complete(): boolean {
    return this.#at === this.parts.length + this.#behind.length
  }

  /** The commands that follow: the COMMIT of its own transaction, or the settings of one that its text begins. */
  get #behind(): readonly string[] {
    if (this.#begin !== null) return COMMIT
    return this.admission.begin === null ? this.admission.locals : NO_LOCALS
  }

  /** Which of the parts is the first statement. */
  protected get first(): number {
    return this.admission.lead === null ? 0 : 1
  }

  /** The answer to what its owner has asked behind it; undefined where there is none. */
  get trailing(): QueryResult | undefined {
    const isThere = this.admission.trailer !== null && this.error === null
    return isThere ? this.parts.at(-1)?.result : undefined
  }

  /** The first statement that did not complete; null where all did (a deferred constraint fails at the end). */
  get failedIndex(): number | null {
    const index = this.#at - this.first
    return index >= 0 && index < this.statements.length ? index : null
  }

  override get beginPending(): boolean {
    return this.#at < 0 && this.#at === -1 - this.admission.locals.length
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
    const { lead, trailer } = this.admission
    let all = trailer === null ? this.statements : [...this.statements, trailer]
    if (lead !== null) all = [lead, ...all]
    const meaning = this.owner.meaningOf?.(this)
    this.parts = all.map((statement) => new StatementPart(statement, sender))
    for (const part of this.parts) part.encode(sender, meaning)
    for (const command of this.#behind) writer.command(command)
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
  constructor(
    owner: RequestOwner,
    statement: Statement,
    traits: RequestTraits,
    settings: TurnSettings | null = null,
  ) {
    super(owner, [statement], traits, { begin: null, settings })
  }

  override get outcome(): QueryResult {
    return this.parts[this.first]!.result
  }
}
