/** Several statements as one transaction. */
import { PLAIN_FACTS } from '../sql/classify.js'
import { StatementsRequest, type OwnTransaction } from './query-request.js'
import { statementTraits } from './request.js'
import type { QueryResult } from 'pg'
import type { Statement } from '../api/statement.js'
import type { RequestOwner } from './request-owner.js'

export class BatchRequest extends StatementsRequest {
  /** @param own `begin` is null for the implicit transaction that the messages up to a Sync are */
  constructor(
    owner: RequestOwner,
    statements: readonly Statement[],
    own: OwnTransaction,
    exclusive: boolean,
  ) {
    // Nobody asks for a name of a user's before it is known whether the server has it.
    const pipelining = statements.some(({ name }) => name !== undefined) ? 'tail' : 'shared'
    const harmless = statements.every((statement) => statement.harmless)
    const mayUnlisten = statements.some((statement) => statement.mayUnlisten)
    const alone = exclusive || own.begin !== null
    const facts = { harmless, mayUnlisten }
    super(
      owner,
      statements,
      statementTraits(alone ? 'exclusive' : pipelining, false, PLAIN_FACTS, facts),
      own,
    )
  }

  override get outcome(): QueryResult[] {
    return this.parts.slice(this.first, this.first + this.statements.length).map((part) => part.result)
  }
}
