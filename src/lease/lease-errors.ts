/** What is wrong with a lease whose backend is lost, or whose transaction a text of the holder's has ended. */
import { ConnectionLostError, TransactionEndedError, type CommitOutcome } from '../errors.js'
import type { TransactionState } from './transaction-state.js'

/** How a backend was lost. */
export interface Loss {
  readonly cause: Error
  readonly outcome: CommitOutcome
  /** Something was open or unanswered. */
  readonly open: boolean
}

/** A fresh error for the loss. */
export function lossError(lost: { readonly loss: Loss | null; mayRetry(): boolean }): ConnectionLostError {
  const { cause, outcome } = lost.loss!
  return new ConnectionLostError({ commitOutcome: outcome, cause, retrySafe: lost.mayRetry() })
}

export function endedError(
  { endedBy, swallowed }: TransactionState,
  cause: unknown = swallowed ?? undefined,
): TransactionEndedError {
  return new TransactionEndedError({ statement: endedBy, retrySafe: false, cause })
}
