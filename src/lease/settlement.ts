/**
 * What happens when a holder leaves: the promise of the whole library. Pure. The table in docs/settlement.md says the
 * same. It is read after the server's ReadyForQuery (or the loss of the connection) has said what state the backend is
 * in.
 */
import type { CommitOutcome } from '../errors.js'
import type { Leaving } from '../api/ports.js'
import type { ReadyStatus } from '../api/statement.js'

/** How a backend was lost. */
export interface Loss {
  readonly cause: Error
  readonly outcome: CommitOutcome
  /** Something was open or unanswered. */
  readonly open: boolean
}

/** The answer to COMMIT or ROLLBACK. */
export interface EndAnswer {
  /** ROLLBACK in answer to COMMIT says that nothing was saved; null where nothing had to be sent. */
  readonly tag: string | null
  /** The statement error that had made the transaction fail before, where one did. */
  readonly failedBefore: Error | null
}

/** What the server said last, or that it can say nothing any more. */
export type ServerState = ReadyStatus | 'lost'

export interface Departure {
  readonly left: Leaving['left']
  readonly server: ServerState
  /** Statements of the holder's were in flight when it left. */
  readonly unfinished: boolean
  /** With `lost`: something was open or unanswered when the connection died. */
  readonly openWhenLost: boolean
  /** Whether the library owns the transaction (`transaction()`) or the holder does (`use`, `acquire`). */
  readonly owner: 'library' | 'holder'
  /** With `library`: a transaction was opened, and a statement of the holder's has ended it. */
  readonly endedByText: boolean
}

export type CallerOutcome = 'result' | 'own error' | 'uncommitted' | 'unfinished' | 'ended' | 'lost'

/** What becomes of the connection, and of the caller. */
export interface Settlement {
  readonly connection: 'keep' | 'commit' | 'rollback' | 'drop'
  readonly caller: CallerOutcome
}

export function settle(departure: Departure): Settlement {
  return { connection: fateOf(departure), caller: outcomeOf(departure) }
}

function fateOf({ left, server, unfinished, owner, endedByText }: Departure): Settlement['connection'] {
  if (server === 'lost') return 'drop'
  if (server === 'idle') return 'keep'
  // COMMIT goes out for a failed transaction too: its answer, ROLLBACK, is what the caller is told.
  return owner === 'library' && left === 'returned' && !unfinished && !endedByText ? 'commit' : 'rollback'
}

function outcomeOf({ left, server, unfinished, openWhenLost, owner, endedByText }: Departure): CallerOutcome {
  if (left === 'threw') return 'own error'
  if (unfinished) return 'unfinished'
  if (server === 'lost') return openWhenLost ? 'lost' : 'result'
  if (owner === 'library') return endedByText ? 'ended' : 'result'
  return server === 'idle' ? 'result' : 'uncommitted'
}
