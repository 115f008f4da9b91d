/** What the owner has to know of an error that left a worker's callback. */
import { isFromServer, memberOf } from '../../util/thrown.js'
import type { Thrown } from '../protocol.js'

/** The server's words in it; null where it has none. */
export function thrownFacts(error: unknown): Thrown {
  return isFromServer(error) ? [String(memberOf(error, 'code')), String(memberOf(error, 'severity'))] : null
}
