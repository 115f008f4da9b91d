import type { Commits } from '../commit/commits.js'
import type { RollbackEvent } from '../events.js'
import type { ResolvedOptions } from '../options.js'
import type { ClassifiedTexts } from '../sql/classify.js'
import type { Deadlines } from '../util/deadlines.js'
import type { Lease } from './lease.js'
import type { LeaseRequests } from './lease-requests.js'

/** What a lease needs of the broker that granted it. */
export interface LeaseOwner {
  readonly limits: ControlLimits
  readonly deadlines: Deadlines
  readonly texts: ClassifiedTexts
  readonly options: Pick<ResolvedOptions, 'releaseGraceMillis' | 'closeOn'>
  readonly life: {
    /** The backend is to be replaced before anyone else gets it. */
    readonly replacementDue: boolean
    /** Closes the connection behind the lease. Resolves once it is closed. */
    close(): Promise<void>
  }
  /** The lease's backend is gone, and its opening is to be sent on a new one: `resume` or `lose`. */
  reopen(requests: LeaseRequests): void
  /** The lease is over: the next in line is served. Does nothing for one that was passed on before. */
  passOn(lease: Lease): void
  onRollback(event: RollbackEvent): void
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
