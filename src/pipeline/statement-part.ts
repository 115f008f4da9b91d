/** One statement inside a request, by the extended protocol: Parse where needed, Bind, Describe where needed, Execute. */
import { RowCollector, copyField } from './row-collector.js'
import { NO_VALUES, type MessageWriter } from './wire.js'
import type { FieldDef } from 'pg'
import type { Statement } from '../api/statement.js'
import type { PreparedStatement, PreparedStatements } from './prepared-statements.js'
import type { Sender } from './request.js'

/** A query of the library's own. */
export function ownStatement(
  text: string,
  { values = NO_VALUES, preparable = false }: Partial<Pick<Statement, 'values' | 'preparable'>> = {},
): Statement {
  const plain = { name: undefined, rowMode: undefined, types: undefined, binary: false }
  return { text, values, ...plain, preparable, harmless: true, mayUnlisten: false }
}

export class StatementPart extends RowCollector {
  readonly #statement: Statement
  #prepared: PreparedStatement | null = null
  #parsedHere = false
  /** A Describe went along, so that no RowDescription means no rows. */
  #described = false
  #completed = false

  constructor(statement: Statement, sender: Sender) {
    super(statement.rowMode, statement.types ?? sender.client._types)
    this.#statement = statement
  }

  /** @param meaning what texts mean where it is run */
  encode({ writer, prepared, named }: Sender, meaning?: string): void {
    const { text, values, binary, name, harmless } = this.#statement
    if (!harmless) prepared.suspend()
    if (name === undefined) this.#parseText(writer, prepared, meaning)
    else {
      const beginning = named.use(name, text)
      if (beginning === 'close and parse') writer.close(name)
      if (beginning !== 'bind') writer.parse(name, text)
    }
    writer.bind(name ?? this.#prepared?.name ?? '', values, binary)
    const fields = this.#prepared?.fields
    if (fields === undefined) {
      writer.describe()
      this.#described = true
    } else if (fields !== null) this.describeAgain(fields, this.#prepared!.emptyRow)
    writer.execute()
  }

  #parseText(writer: MessageWriter, prepared: PreparedStatements, meaning?: string): void {
    const { text, preparable } = this.#statement
    const statement = preparable ? prepared.use(text, meaning) : null
    this.#prepared = statement
    if (statement === null) writer.parse('', text)
    else if (statement.state === 'new') {
      writer.parse(statement.name, text)
      statement.state = 'parsing'
      this.#parsedHere = true
    }
  }

  override describe(fields: FieldDef[]): void {
    super.describe(fields)
    if (this.#prepared === null) return
    // The result is its caller's, who may change what is in it.
    this.#prepared.fields = fields.map(copyField)
    this.#prepared.emptyRow = this.result._prebuiltEmptyResultObject
  }

  /** Its Parse had been accepted, too. */
  override complete(tag: string | null): void {
    super.complete(tag)
    this.#completed = true
    const statement = this.#prepared
    if (statement === null) return
    if (this.#parsedHere && statement.state === 'parsing') statement.state = 'ready'
    if (this.#described) statement.fields ??= null
  }

  /**
   * The request is over. A name is kept only when its Parse is known to have been accepted and the server still
   * knows it.
   */
  settle(error: Error | null, { named, prepared }: Sender): void {
    const { name } = this.#statement
    if (name !== undefined) named.ran(name, this.#completed)
    if (this.#prepared === null) return
    if (this.isStale(error) && codeOf(error) === UNKNOWN_NAME) hint(error!)
    const unknown = this.#parsedHere && this.#prepared.state === 'parsing'
    if (unknown || (!this.#completed && mayBeOutdated(error))) prepared.forget(this.#prepared)
  }

  /** It was sent under a name of ours which the server had lost, or could not use any more. */
  isStale(error: Error | null): boolean {
    return this.#prepared !== null && !this.#parsedHere && STALE.test(codeOf(error))
  }
}

/** invalid_sql_statement_name */
const UNKNOWN_NAME = '26000'

/** Nothing but a pooler between, or a DEALLOCATE unseen, makes the server forget a name of ours. */
function hint(error: Error & { hint?: string }): void {
  error.hint ??= "a pooler in transaction mode is between? Say pooler: 'transaction', which prepares nothing"
}

/** invalid_sql_statement_name, or feature_not_supported: "cached plan must not change result type". */
const STALE = /^(?:26000|0A000)$/

/**
 * A failure that may come of what the text meant when it was parsed: values that do not fit (22), names and types that
 * have changed (42), and whatever says that the server was confused. The text is parsed anew the next time.
 */
function mayBeOutdated(error: Error | null): boolean {
  return /^(?:22|42|XX000|26000$|0A000$)/.test(codeOf(error))
}

function codeOf(error: Error | null): string {
  return String((error as { code?: unknown } | null)?.code)
}
