/** Makes the request of a statement: by the extended protocol where that is safe, exclusive where it must be. */
import { QueryRequest } from './query-request.js'
import { statementTraits, type Request } from './request.js'
import { TextRequest } from './text-request.js'
import type { StatementCall } from '../api/statement.js'
import type { RequestOwner } from './request-owner.js'

/**
 * @param repeatable it can be sent again if the connection dies behind an unanswered COMMIT
 * @param exclusive nothing else may be in flight while it is
 */
export function createRequest(
  owner: RequestOwner,
  { statement, text: facts, extended, settings }: StatementCall,
  repeatable: boolean,
  exclusive: boolean,
): Request {
  const joins = facts.kind === 'plain' || facts.kind === 'other'
  // pg learns from ParseComplete which statements the user named; nobody asks for one before that is known.
  const shared = facts.reads ? 'read' : 'shared'
  const pipelining = exclusive || !joins ? 'exclusive' : statement.name === undefined ? shared : 'tail'
  const traits = statementTraits(pipelining, repeatable, facts, statement)
  return joins || extended
    ? new QueryRequest(owner, statement, traits, settings)
    : new TextRequest(owner, statement, traits)
}
