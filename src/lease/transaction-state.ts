/**
 * What is known of a holder's transaction: whether one is open, what has opened it, which error has made it fail, what
 * has ended it, and whether anything may have been committed.
 *
 * Whether one is open is said *as far as what has been sent*. It is decided when a request is sent and not when it is
 * asked for, so that a statement behind a user's own COMMIT never runs without a transaction.
 */
import type { TextFacts } from '../sql/classify.js'
import type { ReadyStatus } from '../api/statement.js'

/** A request that has been answered, as far as its transaction is concerned. */
export interface Answered {
  readonly text: string
  readonly traits: {
    readonly facts: TextFacts
    /** COMMIT or ROLLBACK of the library's. */
    readonly endsTransaction: boolean
  }
  /** What the server said against it. */
  readonly error: Error | null
  /** A command in it ended a transaction, as the server's tags say. */
  readonly ended: 'nothing' | 'rolled back' | 'committed'
  /** It may have committed something on the server. */
  readonly admission: { readonly mayCommit: boolean }
  /** Its BEGIN, which goes before it or is the request itself, failed. */
  readonly failedToBegin: boolean
}

export class TransactionState {
  readonly begin: string
  /** Whether each statement commits by itself, unless the library owns the transaction. */
  autocommit: boolean
  #owned: boolean
  #open = false
  #openedBy: string | null = null
  #swallowed: Error | null = null
  #endedBy: string | null = null
  #mayHaveCommitted = false

  constructor({ begin, autocommit, owned }: { begin: string; autocommit: boolean; owned: boolean }) {
    this.begin = begin
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

  /** A transaction is open, or what opens one is under way. */
  get open(): boolean {
    return this.#open
  }

  /** The text that opened it. */
  get openedBy(): string | null {
    return this.#openedBy
  }

  /** The error that made the open transaction fail, if one did. */
  get swallowed(): Error | null {
    return this.#swallowed
  }

  /** With `owned`: a text of the holder's has ended the transaction. */
  get endedByText(): boolean {
    return this.#owned && this.#endedBy !== null
  }

  get endedBy(): string | null {
    return this.#endedBy
  }

  get mayHaveCommitted(): boolean {
    return this.#mayHaveCommitted
  }

  /** Statements run in transactions. */
  get transactional(): boolean {
    return this.#owned || !this.autocommit
  }

  /** A statement with these facts needs a BEGIN before it. */
  beginIsDue({ begins, ends }: TextFacts): boolean {
    if (this.#open || ends || !this.transactional) return false
    // The user's own BEGIN serves for ours, unless ours has modes to set.
    return !begins || this.begin !== 'BEGIN'
  }

  /** BEGIN is being sent, because of `text`. */
  begun(text: string): void {
    this.#openedBy = text
    this.#open = true
  }

  /** COMMIT or ROLLBACK is being sent: it ends the transaction whatever its answer is. */
  ending(): void {
    this.#open = false
  }

  /** Whether something of it may be committed, once what has these facts is sent. */
  mayCommit({ mayCommit, begins }: TextFacts): boolean {
    return mayCommit || (!this.#open && !begins)
  }

  /** An answer has come; `isLast` says that nothing was sent behind it, so that the status is that of now. */
  answered(request: Answered, status: ReadyStatus, isLast: boolean): void {
    if (hasCommitted(request)) this.#mayHaveCommitted = true
    if (status === 'inerror') this.#swallowed ??= request.error
    if (request.traits.endsTransaction) return
    if (status === 'intrans') this.#swallowed = null
    if (isLast) this.#noteStatus(request, status)
    if (request.failedToBegin) this.#open = false
  }

  #noteStatus(request: Answered, status: ReadyStatus): void {
    const wasOpen = this.#open
    this.#open = status !== 'idle'
    if (!wasOpen && this.#open) this.#openedBy = request.text
    const ended = wasOpen && !this.#open && !request.failedToBegin
    const byText = (wasOpen || request.traits.facts.begins) && hasEnded(request)
    if (ended || byText) this.#endedBy = request.text
  }

  /** Gives the error that had made the transaction fail, and forgets it. */
  takeSwallowed(): Error | null {
    const swallowed = this.#swallowed
    this.#swallowed = null
    return swallowed
  }

  /** The connection has died: nothing is open any more. `committing`: a COMMIT was unanswered. */
  lost(committing: boolean): void {
    this.#open = false
    if (committing) this.#mayHaveCommitted = true
  }
}

function hasCommitted({ admission, traits, ended, error }: Answered): boolean {
  if (!admission.mayCommit) return false
  return ended === 'committed' || (!traits.endsTransaction && (error === null || traits.facts.inParts))
}

/** The text has ended a transaction, although another may be open: "COMMIT; BEGIN". ROLLBACK TO has ROLLBACK's tag. */
function hasEnded({ ended, traits }: Answered): boolean {
  return ended === 'committed' || (ended === 'rolled back' && traits.facts.mayEnd)
}
