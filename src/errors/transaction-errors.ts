/** How a holder has left its transaction. */
import { quoteStatement } from '../util/quote-statement.js'
import { ManagedConnectionError, nameErrors, type Outcome } from './base.js'

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

nameErrors({
  UncommittedTransactionError,
  UnfinishedStatementError,
  CommitRolledBackError,
  TransactionEndedError,
  TransactionOrderError,
})
