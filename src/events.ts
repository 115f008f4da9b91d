/** What a manager tells its listeners. */

/** The library rolled something back, or could not. */
export interface RollbackEvent {
  /** Why: as in the settlement table. */
  readonly reason:
    | 'error'
    | 'uncommitted'
    | 'unfinished'
    | 'ended'
    | 'hold timeout'
    /** The worker thread that had the connection is gone. */
    | 'holder gone'
    | 'one-shot'
  /** The statement that had opened the transaction, if it is known. */
  readonly statement: string | null
  /** Why the rollback itself failed, where it did; the connection was dropped then. */
  readonly error?: Error
}

/** A holder keeps the connection long. */
export interface HoldWarningEvent {
  /** How long it has had it so far, or had it in all, in milliseconds. */
  readonly heldMillis: number
  /** Where it acquired it. */
  readonly stack: string | null
  /** False at first; true in a second event, when it has returned the connection after all. */
  readonly returned: boolean
}

/** What became of a COMMIT whose answer was lost. */
export interface CommitVerifiedEvent {
  readonly outcome: 'committed' | 'none' | 'unknown'
  /** How long it took to find out, in milliseconds. */
  readonly millis: number
}

/** A server connection was opened. */
export interface ConnectEvent {
  /** The server process. */
  readonly processID: number | null
  /** True when the manager had been connected before. */
  readonly reconnected: boolean
  /** How long the attempt that opened it took, `onConnect` included, in milliseconds. */
  readonly openedMillis: number
}

/** A message from the server that is not an error. */
export interface NoticeEvent {
  readonly severity?: string | undefined
  readonly code?: string | undefined
  readonly message?: string | undefined
  readonly detail?: string | undefined
  readonly hint?: string | undefined
}

/** The events and their arguments. */
export interface ManagedConnectionEvents {
  /** A server connection was opened and set up. */
  connect: [event: ConnectEvent]
  /** It is gone, with the error if it was lost; session state such as advisory locks is gone with it. */
  disconnect: [error?: Error]
  /** A holder was given its turn, after so many milliseconds. */
  acquire: [event: { readonly waitedMillis: number }]
  /** A holder's turn is over, after so many milliseconds (a fraction, since most are short). */
  release: [event: { readonly heldMillis: number }]
  /** The library rolled back. */
  rollback: [event: RollbackEvent]
  holdWarning: [event: HoldWarningEvent]
  /** With `verifyCommit`: it was found out, or not, what became of a COMMIT whose answer was lost. */
  commitVerified: [event: CommitVerifiedEvent]
  /** The server sent a notice. */
  notice: [notice: NoticeEvent]
  /** Something failed that no call can be told of. Never emitted without a listener. */
  error: [error: Error]
}
