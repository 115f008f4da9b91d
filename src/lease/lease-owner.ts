import type { RollbackEvent } from '../events.js'
import type { ClassifiedTexts } from '../sql/classify.js'
import type { Deadlines } from '../util/deadlines.js'
import type { ControlLimits } from './control-limits.js'
import type { Lease } from './lease.js'
import type { LeaseRequests } from './lease-requests.js'

/** What a lease needs of the broker that granted it. */
export interface LeaseOwner {
  readonly limits: ControlLimits
  readonly deadlines: Deadlines
  readonly texts: ClassifiedTexts
  /** How long a release waits for statements that still run, in milliseconds. */
  readonly releaseGraceMillis: number
  /** An error that a server sent closes the connection, if it leaves a callback. */
  readonly closesOnDatabaseError: boolean
  /** The backend is to be replaced before anyone else gets it. */
  readonly replacementDue: boolean
  /** The lease's backend is gone, and its opening is to be sent on a new one: `resume` or `lose`. */
  reopen(requests: LeaseRequests): void
  /** The lease is over: the next in line is served. Does nothing for one that was passed on before. */
  passOn(lease: Lease): void
  /** Closes the connection behind the lease. Resolves once it is closed. */
  close(): Promise<void>
  onRollback(event: RollbackEvent): void
}
