/** How long the server may take to answer what the library says by itself. */
import type { ResolvedOptions } from '../options.js'

/** In milliseconds; 0 = for ever. */
export interface ControlLimits {
  /** BEGIN, COMMIT, SAVEPOINT, RELEASE, LISTEN. */
  readonly statement: number
  /** ROLLBACK and the backend's reset. */
  readonly rollback: number
}

/** A release has to wait for the answer to its rollback, however short its patience is with statements. */
const SHORTEST_ROLLBACK_MILLIS = 1_000

export function controlLimits({
  statementTimeoutMillis,
  releaseGraceMillis,
}: ResolvedOptions): ControlLimits {
  const forRollback = Math.max(releaseGraceMillis, SHORTEST_ROLLBACK_MILLIS)
  return {
    statement: statementTimeoutMillis,
    rollback: Math.min(forRollback, statementTimeoutMillis || Infinity),
  }
}
