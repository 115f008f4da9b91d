import type { PoolClient } from 'pg'
import { quoteStatement } from '../errors.js'
import type { UncommittedTransactionError, UnfinishedStatementError } from '../index.js'

/** A client was released inside a transaction; it was rolled back before anyone else was served. */
export interface LeakEvent {
  /** What opened the transaction, usually a BEGIN; null where it is not known. */
  readonly statement: string | null
  /** The last thing that the client was asked for. */
  readonly lastStatement: string | null
  /** The same as an error. */
  readonly error: UncommittedTransactionError | UnfinishedStatementError
  /** The client, released by now. */
  readonly client: PoolClient
}

/** Warns of a leak by a warning of the process, which names the statement that opened the transaction. */
export function warnOfLeak({ statement, lastStatement }: LeakEvent): void {
  const opened = statement === null ? 'not known' : quoteStatement(statement)
  const last = lastStatement === null || lastStatement === opened ? '' : `; last statement: ${lastStatement}`
  process.emitWarning(
    `a client was released to the pool inside a transaction (opened by: ${opened}${last}); it was rolled back. ` +
      'End the transaction with COMMIT or ROLLBACK before release()',
    { type: 'UncommittedTransactionWarning', code: 'PG_MANAGED_CONNECTION_LEAK' },
  )
}
