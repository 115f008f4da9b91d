/** Makes the request of a statement: by the extended protocol where that is safe, exclusive where it must be. */
import type { RequestOwner } from './request-owner.js'
import { QueryRequest } from './query-request.js'
import { TextRequest } from './text-request.js'
import type { StatementCall } from '../api/statement.js'
import type { Pipelining, Request, RequestTraits } from './request.js'

/**
 * @param repeatable it can be sent again if the connection dies behind an unanswered COMMIT
 * @param exclusive nothing else may be in flight while it is
 */
export function createRequest(
  owner: RequestOwner,
  call: StatementCall,
  repeatable: boolean,
  exclusive: boolean,
): Request {
  const { statement, text: facts, extended } = call
  const joins = facts.kind === 'plain' || facts.kind === 'other'
  const pipelining = exclusive || !joins ? 'exclusive' : pipeliningOf(call)
  // Written out, because a copy of `TRAITS` costs more and there is one for each statement.
  const traits: RequestTraits = {
    pipelining,
    repeatable,
    endsTransaction: false,
    limitMillis: 0,
    facts,
    harmful: !statement.harmless,
    mayUnlisten: statement.mayUnlisten,
  }
  return joins || extended
    ? new QueryRequest(owner, statement, traits)
    : new TextRequest(owner, statement, traits)
}

/** pg learns from ParseComplete which statements the user named; nobody asks for one before that is known. */
function pipeliningOf({ statement }: StatementCall): Pipelining {
  return statement.name === undefined ? 'shared' : 'tail'
}
