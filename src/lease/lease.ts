/**
 * One turn: the exclusive right to speak on the backend, from the moment it is granted until it is handed on.
 * It keeps the holder's transaction: when a BEGIN is due, what was sent and is unanswered, what failed, and what
 * can be sent again if the connection dies.
 *
 * States: `held` → `leaving` (the callback has settled or the handle was released: nothing new is taken, what is
 * in flight is waited for) → `over` (handed on). `revoked` comes instead when the hold timed out: everything on
 * it is rejected at once, whatever still runs.
 *
 * Invariants: `#open` says whether a transaction is open *as far as what has been sent*; it is decided when a
 * request is sent, not when it is asked for, so that a statement behind a user's own COMMIT never runs unprotected.
 * `#outstanding` counts the requests that were asked for and are not settled.
 */
import { ConnectionLostError, ConnectionReleasedError, TransactionEndedError } from '../errors.js'
import { ControlRequest } from '../pipeline/control-request.js'
import { QueryRequest } from '../pipeline/query-request.js'
import { now } from '../util/clock.js'
import type { CommitOutcome } from '../errors.js'
import type { ServerState } from './settlement.js'
import type { Backend } from '../backend/backend.js'
import type { ReadyStatus, Request, RequestOwner } from '../pipeline/request.js'
import type { Classified } from '../sql/classify.js'
import type { ControlLimits } from './control-limits.js'

/** What a turn needs of whoever granted it. */
export interface LeaseHost {
  readonly limits: ControlLimits
  /** The turn's backend is gone, and its opening is to be sent on a new one: `turn.resume` or `turn.giveUp`. */
  reopen(turn: Lease): void
}

export interface LeaseTerms {
  /** No BEGIN goes out by itself. */
  readonly autocommit: boolean
  /** The text of the BEGIN that opens its transactions. */
  readonly begin: string
  /** The library commits at the end. */
  readonly owned: boolean
}

/** What the turn has to know of a request's text. */
export type TextFacts = Pick<Classified, 'begins' | 'ends' | 'mayEnd' | 'mayCommit' | 'inParts'>

type LeaseState = 'held' | 'leaving' | 'revoked' | 'over'

/** A statement that has nothing to do with transaction control. */
const STATEMENT: TextFacts = { begins: false, ends: false, mayEnd: false, mayCommit: false, inParts: false }
/** The BEGIN that goes before a request which cannot take one along. */
const OPENER: TextFacts = { ...STATEMENT, begins: true }

export class Lease implements RequestOwner {
  readonly options: LeaseTerms
  /** When it was granted, on the clock of `now()`. */
  readonly grantedAt = now()
  #state: LeaseState = 'held'
  #autocommit: boolean
  /**
   * The library commits (`transaction()`), whatever `autocommit` says; a transaction that user text ended is not
   * opened again.
   */
  #owned: boolean
  /** Null while a new one is being opened for it. */
  #backend: Backend | null
  readonly #host: LeaseHost
  /** Requests asked for while there is no backend. */
  #parked: Request[] = []
  readonly #facts = new Map<Request, TextFacts>()
  #outstanding = 0
  #open = false
  #openedBy: string | null = null
  #swallowed: Error | null = null
  #endedBy: string | null = null
  #ended = false
  /** Something of it was sent on its backend. */
  #used = false
  /** Something of it was answered: another backend cannot stand in without being noticed. */
  #spoken = false
  /** Something of it was committed, or may have been. */
  #mayHaveCommitted = false
  #replayed = false
  /** A new backend is being opened for it. */
  #reopening = false
  /** The opening was sent again because its prepared statement was stale. */
  #repeated = false
  /** Set when its backend died and could not be replaced. */
  #loss: { cause: Error; outcome: CommitOutcome; open: boolean } | null = null
  /** Why everything on it is rejected, once it was revoked. */
  #revocation: Error | null = null
  #whenQuiet: (() => void)[] = []

  constructor(backend: Backend, options: LeaseTerms, host: LeaseHost) {
    this.#backend = backend
    this.options = options
    this.#autocommit = options.autocommit
    this.#owned = options.owned
    this.#host = host
  }

  get state(): LeaseState {
    return this.#state
  }

  get backend(): Backend | null {
    return this.#backend
  }

  get autocommit(): boolean {
    return this.#autocommit
  }

  set autocommit(autocommit: boolean) {
    this.#autocommit = autocommit
  }

  get owned(): boolean {
    return this.#owned
  }

  /** The library takes over the transaction about to be opened, or gives it back once it is over. */
  set owned(owned: boolean) {
    this.#owned = owned
    this.#ended = false
  }

  /** How many of its statements are unsettled. */
  get outstanding(): number {
    return this.#outstanding
  }

  /** A transaction is open, or what opens one is under way. */
  get transactionOpen(): boolean {
    return this.#open
  }

  /** The statement that opened the transaction. */
  get openedBy(): string | null {
    return this.#openedBy
  }

  /** The statement error that made the open transaction fail, if one did. */
  get swallowed(): Error | null {
    return this.#swallowed
  }

  /** While `owned`: user text ended the transaction that was opened. */
  get endedByText(): boolean {
    return this.#ended
  }

  get endedBy(): string | null {
    return this.#endedBy
  }

  /** True when nothing of the whole turn can have been committed. */
  get retrySafe(): boolean {
    return !this.#mayHaveCommitted && !this.#requests().some((request) => request.sent && request.mayCommit)
  }

  /** Something was sent for it: the backend may not be as it was. */
  get used(): boolean {
    return this.#used
  }

  /** What the server said last, or that it can say nothing any more. Meaningful when nothing is outstanding. */
  get serverState(): ServerState {
    if (this.#loss !== null) return 'lost'
    const backend = this.#backend
    if (backend === null) return 'idle'
    if (backend.lost !== null) return 'lost'
    // A status that a predecessor left belongs to this turn only once it has spoken itself.
    return this.#used ? backend.status : 'idle'
  }

  get openWhenLost(): boolean {
    return this.#loss?.open ?? false
  }

  /** Why nothing more may be asked for; null while it may. */
  refusal(): Error | null {
    if (this.#revocation !== null) return this.#revocation
    if (this.#state !== 'held') return new ConnectionReleasedError()
    if (this.#loss !== null) return this.lossError()
    if (this.#ended) return this.endedError()
    return null
  }

  /** A fresh error for the loss of its connection. */
  lossError(): ConnectionLostError {
    const { cause, outcome } = this.#loss!
    return new ConnectionLostError({ commitOutcome: outcome, cause, retrySafe: this.retrySafe })
  }

  endedError(cause: unknown = this.#swallowed ?? undefined): TransactionEndedError {
    return new TransactionEndedError({ statement: this.#endedBy, retrySafe: false, cause })
  }

  /** Sends a request as soon as it may go. The caller has asked `refusal()`. */
  issue(request: Request, facts: TextFacts = STATEMENT): void {
    this.#outstanding++
    if (facts !== STATEMENT) this.#facts.set(request, facts)
    // A statement outside a transaction cannot be sent again, so it waits for a predecessor's COMMIT.
    request.unrepeatable = this.#autocommit && !this.#owned
    const backend = this.#backend
    if (backend === null) this.#park([request])
    else if (backend.lost === null) backend.submit(request)
    else {
      this.#parked.push(request)
      this.sessionLost(backend.lost, [], [])
    }
  }

  /** Sends COMMIT; null when nothing is open, so that it costs no round trip. */
  commit(): Promise<ControlRequest> | null {
    return this.#end('COMMIT')
  }

  /** Sends ROLLBACK; null when nothing is open. */
  rollback(): Promise<ControlRequest> | null {
    return this.#end('ROLLBACK')
  }

  #end(text: 'COMMIT' | 'ROLLBACK'): Promise<ControlRequest> | null {
    if (!this.#open && this.#outstanding === 0) return null
    const request = new ControlRequest(this, text)
    request.endsTransaction = true
    return this.control(request, text === 'COMMIT' ? 'statement' : 'rollback')
  }

  /** Sends transaction control of the library's own. */
  control(request: ControlRequest, kind: keyof ControlLimits = 'statement'): Promise<ControlRequest> {
    request.limitMillis = this.#host.limits[kind]
    const answered = request.promise<ControlRequest>()
    this.issue(request)
    return answered
  }

  /** Nothing new is taken from now on. */
  leave(): void {
    if (this.#state === 'held') this.#state = 'leaving'
  }

  /** It has been handed on. */
  finish(): void {
    this.#state = 'over'
  }

  /** The nested transactions that are open, by their levels, as they will settle; null before the first. */
  nested: Map<object, Promise<unknown>> | null = null
  /** How many streams are being read. */
  streams = 0

  /** The settlement of the turn, once its holder has left. */
  departure: Promise<void> | null = null

  /** Told when the turn is revoked. */
  onRevoked: ((error: Error) => void) | null = null

  /** Why it was revoked; null when it was not. */
  get revocation(): Error | null {
    return this.#revocation
  }

  /** Rejects everything on it, now and later; what runs goes on until the caller has seen to it. */
  revoke(error: Error): void {
    this.#state = 'revoked'
    this.#revocation = error
    for (const request of this.#requests()) request.reject(error)
    const unsent = [...this.#parked, ...(this.#backend?.withdrawAll() ?? [])]
    this.#parked = []
    for (const request of unsent) this.#abandon(request, error)
    this.onRevoked?.(error)
  }

  /** Has the server cancel whatever it has under way. */
  cancelAll(): void {
    this.#backend?.cancelAllOf(this)
  }

  /** Since when the server is busy with it, on the clock of `now()`: not before it is done with those before. */
  get speaksSince(): number {
    return this.#backend === null ? this.grantedAt : this.#backend.speaksSince(this)
  }

  /** The texts of what the holder did not wait for. */
  unfinished(): string[] {
    const requests = this.#requests().filter(
      (request) => !(request instanceof ControlRequest && request.internal),
    )
    return requests.map((request) => request.text)
  }

  /** The failures of what is unsettled are reported by the one who leaves. */
  markUnfinishedHandled(): void {
    for (const request of this.#requests()) request.markHandled()
  }

  /** The same of nested transactions. */
  markNestedHandled(): void {
    for (const running of this.nested?.values() ?? []) running.catch(() => {})
  }

  /** The unsettled requests are all in the backend's hands, or parked: it alone is speaking. */
  #requests(): Request[] {
    return [...this.#parked, ...(this.#backend?.unitsOf(this) ?? [])]
  }

  /** Resolves once nothing is outstanding. */
  quiet(): Promise<void> {
    if (this.#outstanding === 0) return Promise.resolve()
    return new Promise((resolve) => this.#whenQuiet.push(resolve))
  }

  // What the backend asks and tells.

  admit(request: Request): Request | 'skip' | Error | null {
    const facts = this.#facts.get(request) ?? STATEMENT
    if (request instanceof ControlRequest) return this.#admitControl(request)
    if (this.#ended) return this.endedError()
    if (this.#beginIsDue(facts)) {
      this.#openedBy = request.text
      if (!(request instanceof QueryRequest) || request.pipelining === 'exclusive') return this.#opener()
      request.begin = this.options.begin
      request.pipelining = 'tail'
      this.#open = true
    }
    this.#used = true
    request.mayCommit = facts.mayCommit || (!this.#open && !facts.begins)
    return null
  }

  #beginIsDue(facts: TextFacts): boolean {
    if (this.#open || facts.ends || (this.#autocommit && !this.#owned)) return false
    // The user's own BEGIN does for ours, unless ours has modes to set.
    return !facts.begins || this.options.begin !== 'BEGIN'
  }

  #admitControl(request: ControlRequest): ControlRequest | 'skip' | null {
    if (request.endsTransaction) {
      if (!this.#open) return 'skip'
      this.#open = false
      request.mayCommit = request.text === 'COMMIT'
    } else if (this.#beginIsDue(STATEMENT)) {
      this.#openedBy = request.text
      return this.#opener()
    }
    this.#used = true
    return null
  }

  /** A BEGIN of its own, for a request that cannot take one along. */
  #opener(): ControlRequest {
    const begin = new ControlRequest(this, this.options.begin, true)
    begin.pipelining = 'tail'
    begin.limitMillis = this.#host.limits.statement
    this.#outstanding++
    this.#facts.set(begin, OPENER)
    this.#open = true
    this.#used = true
    return begin
  }

  onAnswered(request: Request, status: ReadyStatus): void {
    const facts = this.#facts.get(request)
    this.#spoken = true
    if (this.#repeatsOpening(request, status)) return
    if (hasCommitted(request, facts)) this.#mayHaveCommitted = true
    if (status === 'inerror') this.#swallowed ??= request.error
    if (request instanceof ControlRequest && request.endsTransaction) this.#noteSeal(request, status)
    else {
      if (status === 'intrans') this.#swallowed = null
      this.#noteStatus(request, status, facts)
      if (failedToBegin(request, facts)) this.#refuseUnsent(request.error!)
    }
    this.#report(request)
    this.#settled(request)
  }

  /**
   * The statement that opened the transaction failed only because its prepared name had become stale. Nothing has
   * happened yet and nothing waits behind it, so the transaction is opened once more.
   */
  #repeatsOpening(request: Request, status: ReadyStatus): boolean {
    const opening =
      request instanceof QueryRequest && request.begin !== null && request.staleName && status === 'inerror'
    if (!opening || this.#repeated || this.#outstanding > 1 || this.#state !== 'held') return false
    this.#repeated = true
    const rollback = new ControlRequest(this, 'ROLLBACK', true)
    rollback.endsTransaction = true
    this.control(rollback, 'rollback').catch(() => {})
    this.#backend!.submit(request)
    return true
  }

  #noteSeal(request: ControlRequest, status: ReadyStatus): void {
    request.failedBefore = this.#swallowed
    this.#swallowed = null
    // COMMIT and ROLLBACK end the transaction, whatever they answer; what says otherwise is not to be trusted.
    if (status !== 'idle') this.#backend!.lose(new Error(`the backend was not idle after ${request.text}`))
  }

  /** Learns from an answer whether a transaction is open; only where nothing was sent behind it. */
  #noteStatus(request: Request, status: ReadyStatus, facts: TextFacts | undefined): void {
    if (this.#backend!.inFlight > 0) return
    const wasOpen = this.#open
    this.#open = status !== 'idle'
    if (!wasOpen && this.#open) this.#openedBy = request.text
    const ended = wasOpen && !this.#open && !failedToBegin(request, facts)
    const byText = (wasOpen || facts?.begins === true) && hasEnded(request, facts)
    if (!ended && !byText) return
    this.#endedBy = request.text
    this.#ended = this.#owned
  }

  /** BEGIN failed: what waits behind it would run on its own. */
  #refuseUnsent(error: Error): void {
    this.#open = false
    for (const request of this.#backend!.withdrawAll()) this.#abandon(request, error)
  }

  /** The request will not be answered. */
  #abandon(request: Request, error: Error): void {
    request.giveUp(error)
    this.#settled(request)
  }

  #report(request: Request): void {
    const failure = request.failure()
    if (failure === null) request.resolve(request.outcome)
    else request.reject(failure.reason)
  }

  onWithdrawn(request: Request, error: Error | null): void {
    if (error !== null) return this.#abandon(request, error)
    request.resolve(request.outcome)
    this.#settled(request)
  }

  /** A guard took the request back before it was sent, and has told its caller. */
  withdrawn(request: Request): void {
    const parked = this.#parked.indexOf(request)
    if (parked >= 0) this.#parked.splice(parked, 1)
    else if (this.#backend?.withdraw(request) !== true) return
    this.#settled(request)
  }

  /** Only for what a turn that has been handed on left unanswered: its COMMIT or ROLLBACK. */
  onLost(request: Request, cause: Error): void {
    const mayCommit = request.sent && request.mayCommit
    if (mayCommit) this.#mayHaveCommitted = true
    const commitOutcome = mayCommit ? 'unknown' : 'none'
    this.#abandon(request, new ConnectionLostError({ commitOutcome, cause, retrySafe: this.retrySafe }))
  }

  #settled(request: Request): void {
    this.#facts.delete(request)
    this.#outstanding--
    if (this.#outstanding > 0) return
    const waiting = this.#whenQuiet
    if (waiting.length === 0) return
    this.#whenQuiet = []
    for (const tell of waiting) tell()
  }

  /**
   * Its backend died. What was sent is sent again, once, where it is the unanswered opening of the turn; else the
   * turn is lost and everything on it rejected.
   */
  sessionLost(cause: Error, sent: readonly Request[], unsent: readonly Request[]): void {
    if (this.#canReplay(sent)) {
      this.#backend = null
      this.#replayed ||= sent.length > 0
      this.#used = false
      this.#open = false
      const openings = sent.filter((request) => !(request instanceof ControlRequest))
      for (const request of sent) if (request instanceof ControlRequest) this.#settled(request)
      this.#parked = [...openings, ...unsent, ...this.#parked]
      for (const request of openings) request.sent = false
      this.#park([])
    } else this.#lose(cause, sent, [...unsent, ...this.#parked])
  }

  /** Keeps `requests` for a new backend, and has one opened: not before there is something to send on it. */
  #park(requests: readonly Request[]): void {
    this.#parked.push(...requests)
    if (this.#parked.length === 0 || this.#reopening) return
    this.#reopening = true
    this.#host.reopen(this)
  }

  #canReplay(sent: readonly Request[]): boolean {
    if (this.#state !== 'held' || this.#loss !== null) return false
    if (sent.length === 0) return !this.#used
    const opening = sent[0]!
    if (sent.length > 1 || this.#replayed || this.#spoken) return false
    // What was to be cancelled must not begin anew.
    if (opening.guard?.reached === true) return false
    return opening instanceof QueryRequest ? opening.beginPending : this.#facts.get(opening) === OPENER
  }

  #lose(cause: Error, sent: readonly Request[], unsent: readonly Request[]): void {
    const outcome = sent.some((request) => request.mayCommit) ? 'unknown' : 'none'
    const open = this.#open || sent.length > 0 || unsent.length > 0
    if (outcome === 'unknown') this.#mayHaveCommitted = true
    this.#loss = { cause, outcome, open }
    this.#open = false
    this.#parked = []
    for (const request of [...sent, ...unsent]) this.#abandon(request, this.lossError())
  }

  /** A new backend is being opened for it. */
  get awaitsSession(): boolean {
    return this.#reopening && this.#loss === null
  }

  /** A new backend for what was parked. */
  resume(backend: Backend): void {
    this.#backend = backend
    this.#reopening = false
    const parked = this.#parked
    this.#parked = []
    for (const request of parked) backend.submit(request)
  }

  /** No new backend could be had. */
  giveUp(cause: Error): void {
    const parked = this.#parked
    this.#lose(cause, [], parked)
  }
}

/** Answered: has something of it been committed, or may it have been? */
function hasCommitted(request: Request, facts: TextFacts | undefined): boolean {
  if (!request.mayCommit) return false
  if (request instanceof ControlRequest) return request.tag === 'COMMIT'
  if (request.ended === 'committed') return true
  return request.error === null || facts?.inParts === true
}

/** The text has ended a transaction, although another may be open: "COMMIT; BEGIN". ROLLBACK TO has ROLLBACK's tag. */
function hasEnded(request: Request, facts: TextFacts | undefined): boolean {
  return request.ended === 'committed' || (request.ended === 'rolled back' && facts?.mayEnd === true)
}

function failedToBegin(request: Request, facts: TextFacts | undefined): boolean {
  return request.error !== null && (request instanceof QueryRequest ? request.beginPending : facts === OPENER)
}
