/** What the SQLSTATE of a failure says about what to do next (manual, appendix "PostgreSQL Error Codes"). */
import { CommitRolledBackError } from '../errors.js'
import { isFromServer } from '../util/from-server.js'

/** The five characters; undefined where the error did not come from a server. */
export function sqlState(error: unknown): string | undefined {
  const code = (error as { code?: unknown; severity?: unknown } | null)?.code
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) && isFromServer(error) ? code : undefined
}

/** serialization_failure or deadlock_detected: the same transaction may succeed when it is done again. */
export function isWorthRepeating(error: unknown): boolean {
  const failure = error instanceof CommitRolledBackError ? error.cause : error
  const code = sqlState(failure)
  return code === '40001' || code === '40P01'
}

/** The error says that the session is, or is about to be, of no use. */
export function breaksSession(error: unknown, wantsWritable: boolean): boolean {
  const code = sqlState(error)
  if (code === undefined) return false
  if (code.startsWith('08') || code === '57P01' || code === '57P02' || code === '57P03') return true
  // read_only_sql_transaction: the primary that was asked for has become a standby.
  return code === '25006' && wantsWritable
}
