/** Makes the request of a statement: by the extended protocol where that is safe, exclusive where it must be. */
import { QueryRequest } from './query-request.js'
import { TextRequest } from './text-request.js'
import type { StatementCall } from '../api/statement.js'
import type { Pipelining, Request, RequestOwner } from './request.js'

/** How its owner wants it to go. */
export interface Wish {
  /** It can be sent again if the connection dies behind an unanswered COMMIT. */
  readonly repeatable: boolean
  /** Nothing else may be in flight while it is. */
  readonly exclusive: boolean
}

export function createRequest(owner: RequestOwner, call: StatementCall, wish: Wish): Request {
  const { statement, text, extended } = call
  const { repeatable } = wish
  const joins = text.kind === 'plain' || text.kind === 'other'
  if (!joins && !extended) return new TextRequest(owner, statement, { facts: text, repeatable })
  const pipelining = wish.exclusive || !joins ? 'exclusive' : pipeliningOf(call)
  return new QueryRequest(owner, statement, { facts: text, pipelining, repeatable })
}

/** pg learns from ParseComplete which statements the user named; nobody asks for one before that is known. */
function pipeliningOf({ statement }: StatementCall): Pipelining {
  return statement.name === undefined ? 'shared' : 'tail'
}
