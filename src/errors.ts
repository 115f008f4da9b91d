/**
 * Every error this library makes, and nothing else: all of it is exported. One base, a stable `code`, facts in fields,
 * the `cause` kept.
 *
 * Errors that the server sends are not wrapped: they pass through as pg's own `DatabaseError`. An aborted
 * `signal` rejects with `signal.reason`.
 */
import { quoteStatement } from './util/quote-statement.js'

/** What every error of this library has in common. */
export abstract class ManagedConnectionError extends Error {
  /** A stable, machine-readable name: `ERR_…`. */
  abstract readonly code: string
  /** True only when nothing of the whole call can have been committed, so that doing it again cannot do it twice. */
  readonly retrySafe: boolean

  constructor(message: string, facts: Outcome) {
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause })
    this.retrySafe = facts.retrySafe
  }
}

type Outcome = { readonly retrySafe: boolean; readonly cause?: unknown }

/** A holder returned with its transaction still open; it was rolled back. */
export class UncommittedTransactionError extends ManagedConnectionError {
  readonly code = 'ERR_UNCOMMITTED_TRANSACTION'
  /** The text of the statement that opened the transaction, if it is known. */
  readonly statement: string | null

  constructor(facts: Outcome & { statement: string | null; oneShot?: boolean }) {
    const opened = facts.statement === null ? '' : ` (opened by: ${quoteStatement(facts.statement)})`
    const advice =
      facts.oneShot === true
        ? 'A query of the manager is one statement that commits by itself: use transaction() or use() for more'
        : 'Call commit() or rollback() before the callback returns or the handle is released, or use transaction()'
    super(
      `Did not commit or rollback open transaction before releasing connection${opened}; it was rolled back. ${advice}`,
      facts,
    )
    this.statement = facts.statement
  }
}

/** A holder left while statements that it had issued were still unanswered. */
export class UnfinishedStatementError extends ManagedConnectionError {
  readonly code = 'ERR_UNFINISHED_STATEMENT'
  /** The texts of the statements that were in flight. */
  readonly statements: readonly string[]

  constructor(facts: Outcome & { statements: readonly string[] }) {
    const [first, ...others] = facts.statements
    const more = others.length > 0 ? ` and ${others.length} more` : ''
    const what = first === undefined ? 'a statement was' : `"${quoteStatement(first)}"${more} was`
    super(
      `the connection was released while ${what} still running; await every query before the callback returns`,
      facts,
    )
    this.statements = facts.statements
  }
}

/** COMMIT was answered ROLLBACK: the transaction had failed before, and nothing was saved. */
export class CommitRolledBackError extends ManagedConnectionError {
  readonly code = 'ERR_COMMIT_ROLLED_BACK'

  constructor(facts: Outcome) {
    super(
      'the server answered COMMIT with ROLLBACK: an earlier statement of the transaction had failed, and nothing ' +
        'of it was saved. Do not swallow the error of a statement inside a transaction, or isolate it in a nested one',
      facts,
    )
  }
}

/** The transaction that `transaction()` had opened was ended by a statement of the user's. */
export class TransactionEndedError extends ManagedConnectionError {
  readonly code = 'ERR_TRANSACTION_ENDED'
  /** The text that ended the transaction, if it is known. */
  readonly statement: string | null

  constructor(facts: Outcome & { statement: string | null }) {
    const by = facts.statement === null ? 'a statement' : `"${quoteStatement(facts.statement)}"`
    super(
      `${by} ended the transaction that transaction() had opened; what was committed is not known here. ` +
        'Return from the callback to commit and throw to roll back, or use use() to control the transaction by hand',
      facts,
    )
    this.statement = facts.statement
  }
}

/** A handle was used out of order: commit() inside transaction(), or a parent while its child is open. */
export class TransactionOrderError extends ManagedConnectionError {
  readonly code = 'ERR_TRANSACTION_ORDER'

  constructor(message: string) {
    super(message, { retrySafe: false })
  }
}

const acquiredAt = (stack: string | null): string => (stack === null ? '' : `; acquired at:\n${stack}`)

/** The turn was not granted in time. */
export class AcquireTimeoutError extends ManagedConnectionError {
  readonly code = 'ERR_ACQUIRE_TIMEOUT'
  /** The limit that ran out, in milliseconds. */
  readonly timeoutMillis: number
  /** How many others were waiting at that moment. */
  readonly waiting: number
  /** How long the present holder has had the connection, in milliseconds; null when nobody holds it. */
  readonly heldMillis: number | null
  /** The stack where the present holder acquired it, with `traceHolders` or `holdWarningMillis`. */
  readonly holderStack: string | null

  constructor(
    facts: Pick<AcquireTimeoutError, 'timeoutMillis' | 'waiting' | 'heldMillis' | 'holderStack'> & {
      holder: string
      cause?: unknown
    },
  ) {
    const { timeoutMillis, waiting, heldMillis, holder, holderStack, cause } = facts
    const waited = timeoutMillis === 0 ? 'the connection was not free' : `timed out after ${timeoutMillis}ms`
    super(`${waited} (waiting=${waiting}, ${holder})${acquiredAt(holderStack)}`, { cause, retrySafe: true })
    this.timeoutMillis = timeoutMillis
    this.waiting = waiting
    this.heldMillis = heldMillis
    this.holderStack = holderStack
  }
}

/** The line was as long as `maxWaiting` allows. */
export class TooManyWaitingError extends ManagedConnectionError {
  readonly code = 'ERR_TOO_MANY_WAITING'
  /** The limit in force. */
  readonly maxWaiting: number

  constructor({ maxWaiting }: { maxWaiting: number }) {
    super(`too many wait for the connection already (maxWaiting=${maxWaiting})`, { retrySafe: true })
    this.maxWaiting = maxWaiting
  }
}

/** A holder asked the manager for something that would wait for the holder itself. */
export class ReentrantAcquireError extends ManagedConnectionError {
  readonly code = 'ERR_REENTRANT_ACQUIRE'
  /** The member that was called. */
  readonly member: string

  constructor({ member, inside }: { member: string; inside: 'callback' | 'onConnect' }) {
    super(
      inside === 'onConnect'
        ? `${member}() was called from onConnect, which would wait for itself; use the client that onConnect is given`
        : `${member}() was called inside a callback that holds the connection, which would wait for itself; ` +
            'use the connection that the callback was given, or pass { detached: true } for work that it does not await',
      { retrySafe: true },
    )
    this.member = member
  }
}

/** The handle was released: it can reach the server no more. */
export class ConnectionReleasedError extends ManagedConnectionError {
  readonly code = 'ERR_CONNECTION_RELEASED'

  constructor(what: 'connection' | 'transaction' = 'connection') {
    super(
      what === 'connection'
        ? 'the connection has been released; acquire it again'
        : 'the nested transaction is over, and its handle with it; use the handle of the transaction around it',
      { retrySafe: true },
    )
  }
}

/** The holder kept the connection longer than `maxHoldMillis`; it was taken back and rolled back. */
export class HoldTimeoutError extends ManagedConnectionError {
  readonly code = 'ERR_HOLD_TIMEOUT'
  /** The limit that ran out, in milliseconds. */
  readonly maxHoldMillis: number
  /** The stack where the connection was acquired, with `traceHolders` or `holdWarningMillis`. */
  readonly holderStack: string | null

  constructor(facts: { maxHoldMillis: number; holderStack: string | null; retrySafe: boolean }) {
    super(
      `the connection was held for longer than maxHoldMillis=${facts.maxHoldMillis}; it was taken back and ` +
        `what was open was rolled back${acquiredAt(facts.holderStack)}`,
      facts,
    )
    this.maxHoldMillis = facts.maxHoldMillis
    this.holderStack = facts.holderStack
  }
}

/** A statement ran longer than its `timeoutMillis`. */
export class StatementTimeoutError extends ManagedConnectionError {
  readonly code = 'ERR_STATEMENT_TIMEOUT'
  /** The limit that ran out, in milliseconds. */
  readonly timeoutMillis: number
  /** The text of the statement. */
  readonly statement: string

  constructor(facts: Outcome & { timeoutMillis: number; statement: string }) {
    const { timeoutMillis, statement } = facts
    super(
      `the statement was cancelled after timeoutMillis=${timeoutMillis}: ${quoteStatement(statement)}`,
      facts,
    )
    this.timeoutMillis = timeoutMillis
    this.statement = statement
  }
}

/** No server connection could be opened. */
export class ConnectError extends ManagedConnectionError {
  readonly code = 'ERR_CONNECT'
  /** What went wrong, one error for each host (and address) that was tried. */
  readonly errors: readonly Error[]

  constructor(message: string, { errors, cause }: { errors: readonly Error[]; cause?: unknown }) {
    super(message, { cause: cause ?? errors.at(-1), retrySafe: true })
    this.errors = errors
  }
}

const because = (cause: unknown): string => (cause instanceof Error ? `: ${cause.message}` : '')

/** Whether the transaction may have been committed when the connection died. */
export type CommitOutcome = 'none' | 'unknown'

/** The server connection died with something open or unanswered. */
export class ConnectionLostError extends ManagedConnectionError {
  readonly code = 'ERR_CONNECTION_LOST'
  /**
   * `'unknown'` when a COMMIT, an autocommit statement or a batch was sent and not answered; `'none'` when
   * nothing of what was unanswered can have been committed.
   */
  readonly commitOutcome: CommitOutcome
  /** With `verifyCommit`: what was found out about the COMMIT, or why it is not to be known. Null where nobody looked. */
  readonly verification: string | null

  constructor(facts: Outcome & { commitOutcome: CommitOutcome; verification?: string }) {
    const { commitOutcome, verification = null } = facts
    const what =
      commitOutcome === 'unknown'
        ? ' before the server had confirmed what was sent; whether it was committed is not known'
        : ', and the open transaction with it'
    const found = verification === null ? '' : ` (${verification})`
    super(`the connection was lost${what}${found}${because(facts.cause)}`, facts)
    this.commitOutcome = commitOutcome
    this.verification = verification
  }
}

/** The server, or what is between, cannot do what an option asks for. Nothing was done. */
export class UnsupportedServerError extends ManagedConnectionError {
  readonly code = 'ERR_UNSUPPORTED_SERVER'

  constructor(message: string, { cause }: { cause?: unknown } = {}) {
    super(message, { cause, retrySafe: true })
  }
}

/** `end()` was called: the manager takes no more work. */
export class ManagerEndedError extends ManagedConnectionError {
  readonly code = 'ERR_MANAGER_ENDED'

  constructor({ cause }: { cause?: unknown } = {}) {
    super(`end() was called on this manager; it takes no more work${because(cause)}`, {
      cause,
      retrySafe: true,
    })
  }
}

/** A subscription was not read fast enough, and its buffer is full. */
export class SubscriptionOverflowError extends ManagedConnectionError {
  readonly code = 'ERR_SUBSCRIPTION_OVERFLOW'
  /** The channel. */
  readonly channel: string
  /** How many notifications may wait to be read. */
  readonly maxBuffered: number

  constructor({ channel, maxBuffered }: { channel: string; maxBuffered: number }) {
    super(
      `the subscription of channel "${channel}" fell ${maxBuffered} notifications behind and was ended; ` +
        'read faster, or raise maxBuffered',
      { retrySafe: false },
    )
    this.channel = channel
    this.maxBuffered = maxBuffered
  }
}

/** A connection string or one of its parts is wrong. The wording is libpq's; secrets are masked. */
export class ConninfoError extends ManagedConnectionError {
  readonly code = 'ERR_CONNINFO'

  constructor(message: string, { cause }: { cause?: unknown } = {}) {
    super(message, { cause, retrySafe: true })
  }
}

// On the prototypes, so that no instance carries a copy; as literals, so that minifying a program leaves them as they are.
for (const [name, { prototype }] of Object.entries({
  ...{ UncommittedTransactionError, UnfinishedStatementError, CommitRolledBackError },
  ...{ TransactionEndedError, TransactionOrderError, AcquireTimeoutError, TooManyWaitingError },
  ...{ ReentrantAcquireError, ConnectionReleasedError, HoldTimeoutError, StatementTimeoutError },
  ...{ ConnectError, ConnectionLostError, UnsupportedServerError, ManagerEndedError },
  ...{ SubscriptionOverflowError, ConninfoError },
})) {
  Object.defineProperty(prototype, 'name', { value: name, configurable: true, writable: true })
}
