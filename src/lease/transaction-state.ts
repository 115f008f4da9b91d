/**
 * What is known of a holder's transaction.
 *
 * Whether one is open is said *as far as what has been sent*. It is decided when a request is sent and not when it is
 * asked for, so that a statement behind a user's own COMMIT never runs without a transaction.
 */
import { TransactionEndedError } from '../errors.js'
import type { LeaseTerms } from '../api/ports.js'
import type { ReadyStatus } from '../api/statement.js'
import type { Request } from '../pipeline/request.js'
import type { TextFacts } from '../sql/classify.js'

export class TransactionState {
  readonly begin: string
  /** Whether each statement commits by itself, unless the library owns the transaction. */
  autocommit: boolean
  #owned: boolean
  /** A transaction is open, or what opens one is under way. */
  open = false
  openedBy: string | null = null
  /** The error that made the open transaction fail, if one did. */
  swallowed: Error | null = null
  #endedBy: string | null = null
  mayHaveCommitted = false

  /** The user's own BEGIN serves for ours, which has no modes or settings to set. */
  readonly #isPlain: boolean

  constructor({ begin, autocommit, owned, commitment }: LeaseTerms) {
    this.begin = begin
    this.#isPlain = begin === 'BEGIN' && commitment?.group !== true
    this.autocommit = autocommit
    this.#owned = owned
  }

  /** The library ends the transaction: one that a text of the holder's has ended is not opened again. */
  get owned(): boolean {
    return this.#owned
  }

  set owned(owned: boolean) {
    this.#owned = owned
    this.#endedBy = null
  }

  /** With `owned`: a text of the holder's has ended the transaction. */
  get endedByText(): boolean {
    return this.#owned && this.#endedBy !== null
  }

  endedError(cause: unknown = this.swallowed ?? undefined): TransactionEndedError {
    return new TransactionEndedError({ statement: this.#endedBy, retrySafe: false, cause })
  }

  /** Statements run in transactions. */
  get transactional(): boolean {
    return this.#owned || !this.autocommit
  }

  /** A statement with these facts needs a BEGIN before it. */
  beginIsDue({ begins, ends }: TextFacts): boolean {
    if (this.open || ends || !this.transactional) return false
    return !begins || !this.#isPlain
  }

  /** An answer has come; `isLast` says that nothing was sent behind it, so that the status is that of now. */
  answered(request: Request, status: ReadyStatus, isLast: boolean): void {
    if (hasCommitted(request)) this.mayHaveCommitted = true
    if (status === 'inerror') this.swallowed ??= request.error
    if (request.traits.endsTransaction) return
    if (status === 'intrans') this.swallowed = null
    if (isLast) this.#noteStatus(request, status)
    // A setting behind the BEGIN may have failed: then there is a transaction, which has failed.
    if (request.failedToBegin && status !== 'inerror') this.open = false
  }

  #noteStatus(request: Request, status: ReadyStatus): void {
    const wasOpen = this.open
    this.open = status !== 'idle'
    if (!wasOpen && this.open) this.openedBy = request.text
    const ended = wasOpen && !this.open && !request.failedToBegin
    const byText = (wasOpen || request.traits.facts.begins) && hasEnded(request)
    if (ended || byText) this.#endedBy = request.text
  }

  /** The connection has died: nothing is open any more. `committing`: a COMMIT was unanswered. */
  lost(committing: boolean): void {
    this.open = false
    if (committing) this.mayHaveCommitted = true
  }
}

function hasCommitted({ admission, traits, ended, error }: Request): boolean {
  if (!admission.mayCommit) return false
  return ended === 'committed' || (!traits.endsTransaction && (error === null || traits.facts.inParts))
}

/** The text has ended a transaction, although another may be open: "COMMIT; BEGIN". ROLLBACK TO has ROLLBACK's tag. */
function hasEnded({ ended, traits }: Request): boolean {
  return ended === 'committed' || (ended === 'rolled back' && traits.facts.mayEnd)
}
