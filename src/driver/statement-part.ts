/** One statement inside a unit, by the extended protocol: Parse where needed, Bind, Describe where needed, Execute. */
import type { CustomTypesConfig, FieldDef } from 'pg'
import type { PreparedStatement } from './prepared-statements.js'
import { RowCollector } from './row-collector.js'
import type { Sender } from './unit.js'
import type { WireValue } from './wire.js'

/** What to send, as `query()` was given it. */
export interface StatementRequest {
  readonly text: string
  readonly values: readonly WireValue[]
  /** The user's own name for a prepared statement. */
  readonly name: string | undefined
  readonly rowMode: string | undefined
  readonly types: CustomTypesConfig | undefined
  readonly binary: boolean
  /** May be prepared under a name of ours. */
  readonly preparable: boolean
}

export class StatementPart {
  readonly rows: RowCollector
  /** Its command has completed. */
  completed = false
  readonly #request: StatementRequest
  #prepared: PreparedStatement | null = null
  /** A Describe went along, so that no RowDescription means no rows. */
  #described = false
  #parsedHere = false

  constructor(request: StatementRequest, sender: Sender) {
    this.#request = request
    this.rows = new RowCollector(request.rowMode, request.types ?? sender.client._types)
  }

  encode(sender: Sender): void {
    if (this.#request.name !== undefined) this.#encodeNamed(sender, this.#request.name)
    else this.#encodeText(sender)
    sender.writer.execute()
  }

  #encodeNamed({ writer, client }: Sender, name: string): void {
    const { text, values, binary } = this.#request
    if (client.connection.parsedStatements[name] === undefined) writer.parse(name, text)
    writer.bind(name, values, binary).describe()
  }

  #encodeText({ writer, prepared }: Sender): void {
    const { text, values, binary, preparable } = this.#request
    const statement = preparable ? prepared.use(text) : null
    this.#prepared = statement
    if (statement === null) writer.parse('', text)
    else if (statement.state === 'new') {
      writer.parse(statement.name, text)
      statement.state = 'parsing'
      this.#parsedHere = true
    }
    writer.bind(statement?.name ?? '', values, binary)
    if (statement?.fields === undefined) {
      writer.describe()
      this.#described = true
    } else if (statement.fields !== null) this.rows.describeAgain(statement.fields, statement.emptyRow)
  }

  describe(fields: FieldDef[]): void {
    this.rows.describe(fields)
    if (this.#prepared === null) return
    this.#prepared.fields = fields
    this.#prepared.emptyRow = this.rows.result._prebuiltEmptyResultObject
  }

  /** The command ran to its end (`tag`), or was empty: so its Parse had been accepted. */
  complete(tag: string | null): void {
    this.completed = true
    if (tag !== null) this.rows.complete(tag)
    const statement = this.#prepared
    if (statement === null) return
    if (this.#parsedHere && statement.state === 'parsing') statement.state = 'ready'
    if (this.#described) statement.fields ??= null
  }

  /**
   * The unit is over. A name is kept only when its Parse is known to have been accepted and the server still
   * knows it.
   */
  settle(error: Error | null, sender: Sender): void {
    if (this.#prepared === null) return
    const unknown = this.#parsedHere && this.#prepared.state === 'parsing'
    if (unknown || isStale(error)) sender.prepared.forget(this.#prepared)
  }

  /** It was sent under a name of ours which the server had lost, or could not use any more. */
  isStale(error: Error | null): boolean {
    return this.#prepared !== null && !this.#parsedHere && isStale(error)
  }
}

/** Why a statement that the user named cannot be sent; null when it can. pg's own rule and words. */
export function namedConflict(request: StatementRequest, { client }: Sender): Error | null {
  if (request.name === undefined) return null
  const previous = client.connection.parsedStatements[request.name]
  if (previous === undefined || request.text === '' || request.text === previous) return null
  return new Error(
    `Prepared statements must be unique - '${request.name}' was used for a different statement`,
  )
}

/** invalid_sql_statement_name, or feature_not_supported: "cached plan must not change result type". */
function isStale(error: Error | null): boolean {
  const code = (error as { code?: unknown } | null)?.code
  return code === '26000' || code === '0A000'
}
