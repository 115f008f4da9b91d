import type { Wait } from '../api/ports.js'
import type { Backend } from '../backend/backend.js'
import type { Request } from '../pipeline/request.js'
import type { RequestOwner } from '../pipeline/request-owner.js'

/** What those who use the session between turns need of the broker. */
export interface SessionOwner {
  readonly ending: boolean
  readonly backend: Backend | null
  /** Somebody holds the backend. */
  readonly held: boolean
  /** Sends a request in its turn, which is made as it goes out. The signal takes it out of the queue before. */
  sendInLine<T>(create: (owner: RequestOwner) => Request, wait: Wait): Promise<T>
  /** Opens the connection, unless it is open. */
  open(): Promise<unknown>
  /** The last of them has gone. */
  onUnused(): void
  /** A failure that no call can be told of. */
  onBackgroundError(error: Error): void
}
