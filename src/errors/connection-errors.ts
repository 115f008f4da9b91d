/** What goes wrong with the connection itself, and with what it was asked for. */
import { ManagedConnectionError, nameErrors, type Outcome } from './base.js'
import { foldAway, pointToCheck, tellBriefly } from './connect-story.js'

/** No server connection could be opened. Shown in a few lines; `errors` and `cause` have the details. */
export class ConnectError extends ManagedConnectionError {
  declare readonly code: 'ERR_CONNECT'
  /** What went wrong, one error for each host (and address) that was tried. */
  readonly errors: readonly Error[]

  constructor(message: string, { errors, cause }: { errors: readonly Error[]; cause?: unknown }) {
    super(message, { cause: cause ?? errors.at(-1), retrySafe: true })
    this.errors = errors
    // The prototype has it: an instance's own would be another line of what is printed.
    delete (this as { retrySafe?: boolean }).retrySafe
    foldAway(this)
    tellBriefly(this)
  }
}

// Enumerable, so that loggers which go through the members of an error find them.
Object.assign(ConnectError.prototype, { code: 'ERR_CONNECT', retrySafe: true })

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

/**
 * A connection string or one of its parts is wrong. The wording is libpq's; secrets are masked. Its `stack`, which is what
 * is printed of it, ends in the command that tells more.
 */
export class ConninfoError extends ManagedConnectionError {
  readonly code = 'ERR_CONNINFO'

  constructor(message: string, { cause }: { cause?: unknown } = {}) {
    super(message, { cause, retrySafe: true })
    pointToCheck(this)
  }
}

nameErrors({
  ConnectError,
  ConnectionLostError,
  UnsupportedServerError,
  ManagerEndedError,
  SubscriptionOverflowError,
  ConninfoError,
})
