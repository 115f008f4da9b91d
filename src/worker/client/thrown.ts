/** What the owner has to know of an error that left a worker's callback. */
import { CommitRolledBackError } from '../../errors.js'
import type { Thrown } from '../protocol.js'

/** The server's words in it, which may say that the connection is of no use any more; null where it has none. */
export function thrownFacts(error: unknown): Thrown {
  if (!(error instanceof Error)) return null
  const { code, severity } = error as { code?: unknown; severity?: unknown }
  return typeof severity === 'string' ? [String(code), severity] : null
}

/** serialization_failure or deadlock_detected: the same transaction may succeed when it is done again. */
export function isWorthRepeating(error: unknown): boolean {
  const facts = thrownFacts(error instanceof CommitRolledBackError ? error.cause : error)
  return facts !== null && (facts[0] === '40001' || facts[0] === '40P01')
}
