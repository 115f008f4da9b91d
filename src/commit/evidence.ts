/** What is kept of a COMMIT, so that its outcome can be found out if its answer is lost. */
import type { ServerIdentity } from './server-identity.js'

/** By transaction id: good as long as the server has not crashed and no copy has taken its place. */
export interface IdEvidence {
  readonly kind: 'id'
  readonly session: ServerIdentity
  /** An xid8. */
  readonly id: string
}

/** By a row that was inserted in the same transaction: good behind crashes and failovers, too. */
export interface ReceiptEvidence {
  readonly kind: 'receipt'
  readonly session: ServerIdentity
  /** No pooler is between, which would have given the session to somebody else by now. */
  readonly isOwn: boolean
  /** The table, quoted. */
  readonly table: string
  /** The row's id, a UUID. */
  readonly id: string
  /** A second id, which whoever finds out inserts together with the first: it tells the one's rows from the other's. */
  readonly mark: string
  /** When it was sent, on the server's clock, in seconds since 1970. */
  readonly sentAt: number
}

/** Its COMMIT was answered, and only the flush behind it was not: it is there, unless the server has crashed since. */
export interface AnswerEvidence {
  readonly kind: 'answer'
  readonly session: ServerIdentity
}

export type Evidence = IdEvidence | ReceiptEvidence | AnswerEvidence

/** What was found out. */
export type Verdict =
  | { readonly outcome: 'committed' }
  /** With what says so, or the reason why it is not to be known. */
  | { readonly outcome: 'none' | 'unknown'; readonly reason: string }

export const COMMITTED: Verdict = { outcome: 'committed' }
export const NOT_COMMITTED: Verdict = {
  outcome: 'none',
  reason: 'the server says that it was not committed',
}
export const NOTHING_WRITTEN: Verdict = {
  outcome: 'none',
  reason: 'nothing had been written that could have been committed',
}

export function notKnown(reason: string): Verdict {
  return { outcome: 'unknown', reason }
}
