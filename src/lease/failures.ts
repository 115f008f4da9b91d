/** What the SQLSTATE of a failure says about what to do next (manual, appendix "PostgreSQL Error Codes"). */
import { CommitRolledBackError } from '../errors.js'
import { isError, isFromServer, memberOf } from '../util/thrown.js'

/** The five characters; undefined where the error did not come from a server. */
export function sqlState(thrown: unknown): string | undefined {
  const code = memberOf(thrown, 'code')
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) && isFromServer(thrown) ? code : undefined
}

/** serialization_failure or deadlock_detected: the same transaction may succeed when it is done again. */
export function isWorthRepeating(thrown: unknown): boolean {
  const rolledBack = isError(thrown) && thrown instanceof CommitRolledBackError
  const code = sqlState(rolledBack ? thrown.cause : thrown)
  return code === '40001' || code === '40P01'
}
