/** Why a leader's work is to end. */
import { ManagedConnectionError, nameErrors } from '../errors/base.js'

/** Leadership is lost, or not certain any more; the `cause` says why. */
export class LeadershipLostError extends ManagedConnectionError {
  readonly code = 'ERR_LEADERSHIP_LOST'
  /** What was led. */
  readonly leadership: string

  constructor(name: string, cause: Error) {
    super(`the leadership of ${JSON.stringify(name)} was lost: ${cause.message}`, { retrySafe: false, cause })
    this.leadership = name
  }
}

nameErrors({ LeadershipLostError })
