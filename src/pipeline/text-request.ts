/** A text by the simple protocol: several statements, or one that only goes that way. */
import { Request } from './request.js'
import { RowCollector } from './row-collector.js'
import type { QueryResult } from 'pg'
import type { Statement } from '../api/statement.js'
import type { Failure } from '../util/failure.js'
import type { RequestOwner } from './request-owner.js'
import type { RequestTraits, Sender } from './request.js'

/** Ends a text, whatever it ends with: a comment goes on to the end of its line. */
const BEHIND = '\n;'

/** What a text by the simple protocol has of a statement. */
export type TextStatement = Pick<Statement, 'text' | 'rowMode' | 'types'>

export class TextRequest extends Request {
  readonly text: string
  readonly #statement: TextStatement
  /** One for each command. */
  #collectors: RowCollector[] = []
  /** The collector of the command under way; null between commands. */
  #current: RowCollector | null = null

  constructor(owner: RequestOwner, statement: TextStatement, traits: RequestTraits) {
    super(owner, traits)
    this.text = statement.text
    this.#statement = statement
  }

  /** pg's result; an array of results where there were several statements. */
  override get outcome(): QueryResult {
    // The settings behind a BEGIN are the library's own doing.
    const own = this.#collectors.length - this.admission.locals.length
    const results = this.#collectors.slice(0, own).map((collector) => collector.result)
    return results.length > 1 ? (results as unknown as QueryResult) : (results[0] ?? this.rows.result)
  }

  get complete(): boolean {
    return this.#collectors.length > 0 && this.#current === null
  }

  override get parseFailure(): Failure | null {
    return this.#collectors.find(({ parseFailure }) => parseFailure !== null)?.parseFailure ?? null
  }

  protected override get rows(): RowCollector {
    if (this.#current === null) {
      const { rowMode, types } = this.#statement
      this.#current = new RowCollector(rowMode, types ?? this.sender!.client._types)
      this.#collectors.push(this.#current)
    }
    return this.#current
  }

  protected override encode({ writer, prepared }: Sender): void {
    if (this.traits.harmful) prepared.suspend()
    this.#collectors = []
    this.#current = null
    writer.query([this.text, ...this.admission.locals].join(BEHIND))
  }

  // How many commands it holds is not known beforehand.
  override handleCommandComplete({ text }: { text: string }): void {
    this.completed(text)
    this.note(text)
  }

  protected override completed(tag: string | null): void {
    this.rows.complete(tag)
    this.#current = null
  }
}
