/** Says that a client was released inside a transaction. */
import { quoteStatement } from '../errors.js'
import type { LeakEvent } from './types.js'

/** A warning of the process, which names the statement that opened the transaction. */
export function reportLeak({ statement, lastStatement }: LeakEvent): void {
  const opened = statement === null ? 'not known' : quoteStatement(statement)
  const last = lastStatement === null || lastStatement === opened ? '' : `; last statement: ${lastStatement}`
  process.emitWarning(
    `a client was released to the pool inside a transaction (opened by: ${opened}${last}); it was rolled back. ` +
      'End the transaction with COMMIT or ROLLBACK before release()',
    { type: 'UncommittedTransactionWarning', code: 'PG_MANAGED_CONNECTION_LEAK' },
  )
}
