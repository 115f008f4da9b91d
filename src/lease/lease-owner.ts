import type { Commits } from '../commit/commits.js'
import type { ResolvedOptions } from '../options.js'
import type { ClassifiedTexts } from '../sql/classify.js'
import type { Deadlines } from '../util/deadlines.js'
import type { BaseOwner } from './base-lease.js'
import type { Lease } from './lease.js'
import type { LeaseRequests } from './lease-requests.js'

/** What a lease needs of the broker that granted it. */
export interface LeaseOwner extends BaseOwner {
  readonly limits: ControlLimits
  readonly deadlines: Deadlines
  readonly texts: ClassifiedTexts
  /** The lease's backend is gone, and its opening is to be sent on a new one: `resume` or `lose`. */
  reopen(requests: LeaseRequests): void
  passOn(lease: Lease): void
  /** The statement that the server runs, as much of it as is shown. */
  readonly statement: string | null
  readonly commits: Commits
}

/** How long the server may take to answer what the library says by itself, in milliseconds; 0 = for ever. */
export interface ControlLimits {
  /** BEGIN, COMMIT, SAVEPOINT, RELEASE. */
  readonly statement: number
  /** ROLLBACK and the backend's reset. */
  readonly rollback: number
}

/** A release has to wait for the answer to its rollback, however short its patience is with statements. */
const SHORTEST_ROLLBACK_MILLIS = 1_000

export function controlLimits(options: ResolvedOptions): ControlLimits {
  const statement = options.statementTimeoutMillis
  const patience = Math.max(options.releaseGraceMillis, SHORTEST_ROLLBACK_MILLIS)
  return { statement, rollback: Math.min(patience, statement || Infinity) }
}
