/**
 * Where the faces meet what carries out their wishes. A broker grants leases and sends one-shots: the local one over a
 * wait queue and a backend, a worker's over a port to the thread that has those. Callbacks, nesting, retries and the
 * order of use are written once, in `face/`, over these.
 */
import type { QueryResult } from 'pg'
import type { ManagedConnectionEvents } from '../events.js'
import type { VerifyCommit } from '../options.js'
import type { ConnectionFacts, ManagerStats } from './manager.js'
import type { TransactionStatus } from './connection.js'
import type { StatementCall } from './statement.js'
import type { Subscription } from './subscription.js'
import type { TurnSettings } from '../sql/turn-settings.js'

/** How long and under which signal something is waited for. */
export interface Wait {
  /** In milliseconds, 0 or more; `Infinity` = for ever. */
  readonly timeoutMillis: number
  readonly signal?: AbortSignal | undefined
  /** The library's own wish: `maxWaiting` does not bound it. */
  readonly unbounded?: boolean
  /** What the caller calls it; null or absent: it has not said. */
  readonly label?: string | null
  /** Where it was asked for; null or absent: nobody wants to know. */
  readonly stack?: string | null
}

/** What a lease is for. */
export interface LeaseTerms {
  /** No BEGIN goes out by itself. */
  readonly autocommit: boolean
  /** The text of the BEGIN that opens its transactions. */
  readonly begin: string
  /** The library commits at the end. */
  readonly owned: boolean
  /** How it does; null where its COMMIT is like any other. */
  readonly commitment: CommitTerms | null
  /** What its transactions are to have set; null: as the session has it. */
  readonly settings: TurnSettings | null
}

/** What a batch is. */
export interface BatchTerms extends Pick<LeaseTerms, 'commitment' | 'settings'> {
  /** The BEGIN of an explicit transaction; null where the implicit one will do. */
  readonly begin: string | null
}

/** How the library commits. */
export interface CommitTerms {
  /** Together with others: see `groupCommit`. */
  readonly group: boolean
  /** It is found out what became of a COMMIT whose answer was lost, and how: see `verifyCommit`. */
  readonly verify: VerifyCommit
}

/** The manager's options that a face asks for. */
export interface FaceOptions {
  readonly autocommit: boolean
  readonly acquireTimeoutMillis: number
  readonly reconnectTimeoutMillis: number
  readonly statementTimeoutMillis: number
  readonly groupCommit: boolean
  readonly verifyCommit: VerifyCommit
  readonly traceValues: boolean
  /** It is remembered where leases are asked for. */
  readonly traceHolders: boolean
  /** Leases may be revoked, so that work has to be raced with that. */
  readonly revokes: boolean
}

/** What a broker tells its manager. */
export interface EventSink {
  /** The manager, as the key of its holders' scopes. */
  readonly manager: object
  readonly tell: <K extends keyof ManagedConnectionEvents>(
    event: K,
    ...args: ManagedConnectionEvents[K]
  ) => void
  listens(event: keyof ManagedConnectionEvents): boolean
}

export interface Broker {
  readonly options: FaceOptions
  /** `end()` was called: new work is refused. */
  readonly ending: boolean
  readonly status: TransactionStatus | null
  readonly stats: ManagerStats
  /** Whom statements are sent to. */
  readonly facts: ConnectionFacts
  /** Asks for a lease. Resolves with what `receive` makes of it, at the moment that it is granted. */
  acquire<T>(terms: LeaseTerms, wait: Wait, receive: (lease: Lease) => T): Promise<T>
  /** The same, but null at once where somebody holds the backend, waits, or is unanswered. */
  tryAcquire<T>(terms: LeaseTerms, wait: Wait, receive: (lease: Lease) => T): Promise<T | null>
  /** Sends a one-shot in its turn. */
  query(call: StatementCall, wait: Wait): Promise<QueryResult>
  /** Sends several statements as one transaction. */
  batch(calls: readonly StatementCall[], terms: BatchTerms, wait: Wait): Promise<QueryResult[]>
  listen(channel: string, maxBuffered: number, wait: Wait): Promise<Subscription>
  /** Stands for a name. Resolves once it leads. */
  lead(name: string, retryMillis: number, signal: AbortSignal | undefined): Promise<Leadership>
  /** Opens the connection, unless it is open; waits so long for a server that is not there yet. */
  connect(wait: Wait): Promise<void>
  close(): Promise<void>
  end(timeoutMillis: number): Promise<void>
}

/** One who leads a name, until it has stepped down. */
export interface Leadership {
  /** Greater than that of all who have led it before. */
  readonly epoch: bigint
  /** Aborted, for that reason, at the moment that leadership is lost or not certain any more. */
  readonly signal: AbortSignal
  /** To be called once nothing is done any more in its name. Gives it to others; never rejects. */
  stepDown(): Promise<void>
}

/** How a holder leaves. */
export interface Leaving {
  /** Its callback returned (or its handle was released), or it threw. */
  readonly left: 'returned' | 'threw'
  /** What it threw. */
  readonly error?: unknown
  /** Close the server connection after it. */
  readonly close: boolean
}

/** The exclusive right to use the backend, from the moment it is granted until it is released or revoked. */
export interface Lease {
  /** A holder has it, and may ask for more. */
  readonly held: boolean
  /** The library ends its transaction. */
  readonly owned: boolean
  /** What the session is doing; `'unknown'` once the lease is over or its backend lost. */
  readonly status: TransactionStatus
  readonly processID: number | null
  /** Whether each statement commits by itself. */
  autocommit: boolean
  /** No transaction is open, and nothing that might open one is under way. */
  readonly idle: boolean
  /** Nothing of it can have been committed. */
  readonly retrySafe: boolean
  /** Why everything on it is rejected; null where it was not revoked. */
  readonly revocation: Error | null
  /** Told when it is revoked. */
  onRevoked: ((error: Error) => void) | null
  /** Told when others may have the connection, where that is before `release` settles. */
  onOver: (() => void) | null
  /** Why nothing more may be asked for; null while it may. A loss that undid nothing does not refuse an ending. */
  refusal(forEnding?: boolean): Error | null
  /** Sends a statement; `watch` is told how it went. */
  query(call: StatementCall, watch: OutcomeWatch | null): Promise<QueryResult>
  /**
   * Hands over one of pg's submittables, or tells it, on a later tick, of the `refusal`. Resolves once it is over,
   * however it ended: with the error, if there was one.
   *
   * @throws TypeError where a submittable cannot be had, because the backend is another thread's
   */
  submit(submittable: DriverSubmittable, refusal: Error | null): Promise<Error | null>
  /** Opens the rows of one statement. `refusal` is asked once more when they are opened, which takes a moment. */
  openRows(call: StatementCall, batchSize: number, refusal: () => Error | null): RowSource
  commit(): Promise<void>
  rollback(): Promise<void>
  /** Opens a transaction inside of what is open: BEGIN where nothing is, else a savepoint. */
  nest(): Promise<NestedTransaction>
  /** Settles it. Resolves, or rejects with what the settlement table gives the caller in place of its result. */
  release(leaving: Leaving): Promise<void>
  /**
   * Nobody wants it any more: everything on it rejects with `error` at once, what runs is cancelled and rolled back. Has
   * no effect once the library's COMMIT has been sent; a COMMIT of the holder's is answered first.
   */
  abort(error: Error): void
  /** Drops the backend at once, where it runs a statement of this lease's; null where it does not. */
  drop(): Promise<void> | null
}

/** A nested transaction that has begun. */
export interface NestedTransaction {
  /** Commits it, or releases its savepoint. `leftNested`: its work has left a nested transaction of its own open. */
  finish(leftNested: boolean): Promise<void>
  /** Rolls it back. Never rejects. */
  abort(): Promise<void>
}

/** What pg calls of a submittable. */
export interface DriverSubmittable {
  readonly text?: unknown
  readonly values?: unknown
  readonly cursor?: { readonly text?: unknown; readonly values?: unknown }
  /** One of the library's own that has no statement run. */
  readonly runsNothing?: boolean
  submit(connection: never): unknown
  handleError(error: Error, connection: never): unknown
  handleCommandComplete?(message: { text: string }, connection: never): unknown
}

/** Wants to know how a statement went. */
export interface OutcomeWatch {
  /** Gives the same outcome. */
  follow<T>(answered: Promise<T>): Promise<T>
}

/** The rows of a statement, a batch at a time. */
export interface RowSource {
  /** The next rows; none are left where there are fewer than were asked for. */
  read(): Promise<readonly unknown[]>
  /** Not read to its end, or read to it: resolves once the statement is over. Never rejects. */
  close(): Promise<void>
}
