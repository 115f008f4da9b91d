/** What the SQLSTATE of a failure says about what to do next (manual, appendix "PostgreSQL Error Codes"). */
import { CommitRolledBackError, ConnectionLostError } from '../errors.js'
import { isError, isFromServer, memberOf } from '../util/thrown.js'

/** The five characters; undefined where the error did not come from a server. */
export function sqlState(thrown: unknown): string | undefined {
  const code = memberOf(thrown, 'code')
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) && isFromServer(thrown) ? code : undefined
}

/**
 * The same transaction may succeed when it is done again: after serialization_failure or deadlock_detected, and where
 * its COMMIT was lost and is known not to have happened.
 */
export function isWorthRepeating(thrown: unknown): boolean {
  if (isError(thrown) && thrown instanceof ConnectionLostError)
    return thrown.commitOutcome === 'none' && thrown.verification !== null
  const rolledBack = isError(thrown) && thrown instanceof CommitRolledBackError
  const code = sqlState(rolledBack ? thrown.cause : thrown)
  return code === '40001' || code === '40P01'
}
