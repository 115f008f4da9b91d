/** What the owner has to know of an error that left a worker's callback. */
import { CommitRolledBackError } from '../../errors.js'
import { isFromServer } from '../../util/from-server.js'
import type { Thrown } from '../protocol.js'

/** The server's words in it, which may say that the connection is of no use any more; null where it has none. */
export function thrownFacts(error: unknown): Thrown {
  if (!isFromServer(error)) return null
  const { code, severity } = error as unknown as { code?: unknown; severity: string }
  return [String(code), severity]
}

/** serialization_failure or deadlock_detected: the same transaction may succeed when it is done again. */
export function isWorthRepeating(error: unknown): boolean {
  const facts = thrownFacts(error instanceof CommitRolledBackError ? error.cause : error)
  return facts !== null && (facts[0] === '40001' || facts[0] === '40P01')
}
