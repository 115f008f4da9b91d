/** What a manager tells its listeners. */

/** Why the library rolls back, as in the settlement table. */
export type RollbackReason =
  | 'error'
  | 'uncommitted'
  | 'unfinished'
  | 'ended'
  | 'hold timeout'
  /** The worker thread that had the connection is gone. */
  | 'holder gone'
  /** The signal of its call has aborted. */
  | 'aborted'
  | 'one-shot'

/** The library rolled something back, or could not. */
export interface RollbackEvent {
  readonly reason: RollbackReason
  /** The `label` of the one whose work it was. */
  readonly label: string | null
  /** The statement that had opened the transaction, if it is known. */
  readonly statement: string | null
  /** Why the rollback itself failed, where it did; the connection was dropped then. */
  readonly error?: Error
}

/** A holder keeps the connection long. */
export interface HoldWarningEvent {
  /** How long it has had it so far, or had it in all, in milliseconds. */
  readonly heldMillis: number
  /** The `label` with which it acquired it. */
  readonly label: string | null
  /** Where it acquired it. */
  readonly stack: string | null
  /** The statement that the server runs for it, the first 200 characters; null when it runs none. */
  readonly statement: string | null
  /** False at first; true in a second event, when it has returned the connection after all. */
  readonly returned: boolean
  /** True in place of that where the connection was taken back: by `maxHoldMillis`, or by a signal. */
  readonly takenBack: boolean
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

/** A statement, or a batch, is over. */
export interface StatementEvent {
  /** The `label` of the call, or of the turn. */
  readonly label: string | null
  /** The text; of a batch the texts, with `; ` between them. */
  readonly text: string
  /** From the call to the answer, in milliseconds, waiting included. */
  readonly millis: number
  /** How long it waited in line of that; null in a turn, and in worker threads, where it is not known. */
  readonly waitedMillis: number | null
  /** How many rows it gave or changed; null where the server did not say. */
  readonly rowCount: number | null
  /** What it failed with; null where it did not. */
  readonly error: unknown
}

/** `end()` waits for others. */
export interface EndWaitingEvent {
  /** How long it has waited so far, in milliseconds. */
  readonly millis: number
  /** The `label` of the present holder; null where nobody holds the connection, or it has none. */
  readonly label: string | null
  /** How long the present holder has had the connection, in milliseconds; null where nobody holds it. */
  readonly heldMillis: number | null
  /** Where it acquired it, with `traceHolders` or `holdWarningMillis`. */
  readonly stack: string | null
  /** The statement that the server runs, the first 200 characters; null when it runs none. */
  readonly statement: string | null
  /** How many wait in line. */
  readonly waiting: number
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
  /**
   * An attempt to open it has failed: told of the first of each opening, which goes on trying where it may. Who waits
   * for it is told in the end.
   */
  connectError: [error: Error]
  /** It is gone, with the error if it was lost; session state such as advisory locks is gone with it. */
  disconnect: [error?: Error]
  /** A holder was given its turn, after so many milliseconds. */
  acquire: [event: { readonly waitedMillis: number; readonly label: string | null }]
  /** A holder's turn is over, after so many milliseconds (a fraction, since most are short). */
  release: [event: { readonly heldMillis: number; readonly label: string | null }]
  /** Nobody holds the connection any more, waits for it, or is unanswered on it; it is open. */
  idle: []
  /** A statement or a batch is over. It takes time, so listen only if you want to know. */
  statement: [event: StatementEvent]
  /** The library rolled back. */
  rollback: [event: RollbackEvent]
  holdWarning: [event: HoldWarningEvent]
  /** `end()` has waited for others for a second. Where nobody listens or logs, it is a warning of the process. */
  endWaiting: [event: EndWaitingEvent]
  /** With `verifyCommit`: it was found out, or not, what became of a COMMIT whose answer was lost. */
  commitVerified: [event: CommitVerifiedEvent]
  /** The server sent a notice. */
  notice: [notice: NoticeEvent]
  /** Something failed that no call can be told of. Never emitted without a listener. */
  error: [error: Error]
}
