/**
 * One turn: the exclusive right to speak on the session, from the moment it is granted until it is handed on.
 * It keeps the holder's transaction: when a BEGIN is due, what was sent and is unanswered, what failed, and what
 * can be sent again if the connection dies.
 *
 * States: `held` → `leaving` (the callback has settled or the handle was released: nothing new is taken, what is
 * in flight is waited for) → `over` (handed on). `revoked` comes instead when the hold timed out: everything on
 * it is rejected at once, whatever still runs.
 *
 * Invariants: `#open` says whether a transaction is open *as far as what has been sent*; it is decided when a
 * unit is sent, not when it is asked for, so that a statement behind a user's own COMMIT never runs unprotected.
 * `#outstanding` counts the units that were asked for and are not settled.
 */
import { ConnectionLostError, ConnectionReleasedError, TransactionEndedError } from '../errors.js'
import { ControlUnit } from '../driver/control-unit.js'
import { QueryUnit } from '../driver/query-unit.js'
import { now } from '../util/clock.js'
import type { CommitOutcome } from '../errors.js'
import type { ServerState } from '../transaction/settlement.js'
import type { Session } from '../session/session.js'
import type { ReadyStatus, Unit, UnitOwner } from '../driver/unit.js'
import type { Classified } from '../sql/classify.js'
import type { ControlLimits } from './control-limits.js'

/** What a turn needs of whoever granted it. */
export interface TurnHost {
  readonly limits: ControlLimits
  /** The turn's session is gone, and its opening is to be sent on a new one: `turn.resume` or `turn.giveUp`. */
  reopen(turn: Turn): void
}

export interface TurnOptions {
  /** No BEGIN goes out by itself. */
  readonly autocommit: boolean
  /** The text of the BEGIN that opens its transactions. */
  readonly begin: string
  /** The library commits at the end. */
  readonly owned: boolean
}

/** What the turn has to know of a unit's text. */
export type TextFacts = Pick<Classified, 'begins' | 'ends' | 'mayEnd' | 'mayCommit' | 'inParts'>

type TurnState = 'held' | 'leaving' | 'revoked' | 'over'

/** A statement that has nothing to do with transaction control. */
const STATEMENT: TextFacts = { begins: false, ends: false, mayEnd: false, mayCommit: false, inParts: false }
/** The BEGIN that goes before a unit which cannot take one along. */
const OPENER: TextFacts = { ...STATEMENT, begins: true }

export class Turn implements UnitOwner {
  readonly options: TurnOptions
  /** When it was granted, on the clock of `now()`. */
  readonly grantedAt = now()
  #state: TurnState = 'held'
  #autocommit: boolean
  /**
   * The library commits (`transaction()`), whatever `autocommit` says; a transaction that user text ended is not
   * opened again.
   */
  #owned: boolean
  /** Null while a new one is being opened for it. */
  #session: Session | null
  readonly #host: TurnHost
  /** Units asked for while there is no session. */
  #parked: Unit[] = []
  readonly #facts = new Map<Unit, TextFacts>()
  #outstanding = 0
  #open = false
  #openedBy: string | null = null
  #swallowed: Error | null = null
  #endedBy: string | null = null
  #ended = false
  /** Something of it was sent on its session. */
  #used = false
  /** Something of it was answered: another session cannot stand in without being noticed. */
  #spoken = false
  /** Something of it was committed, or may have been. */
  #mayHaveCommitted = false
  #replayed = false
  /** A new session is being opened for it. */
  #reopening = false
  /** The opening was sent again because its prepared statement was stale. */
  #repeated = false
  /** Set when its session died and could not be replaced. */
  #loss: { cause: Error; outcome: CommitOutcome; open: boolean } | null = null
  /** Why everything on it is rejected, once it was revoked. */
  #revocation: Error | null = null
  #whenQuiet: (() => void)[] = []

  constructor(session: Session, options: TurnOptions, host: TurnHost) {
    this.#session = session
    this.options = options
    this.#autocommit = options.autocommit
    this.#owned = options.owned
    this.#host = host
  }

  get state(): TurnState {
    return this.#state
  }

  get session(): Session | null {
    return this.#session
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
    return !this.#mayHaveCommitted && !this.#units().some((unit) => unit.sent && unit.mayCommit)
  }

  /** Something was sent for it: the session may not be as it was. */
  get used(): boolean {
    return this.#used
  }

  /** What the server said last, or that it can say nothing any more. Meaningful when nothing is outstanding. */
  get serverState(): ServerState {
    if (this.#loss !== null) return 'lost'
    const session = this.#session
    if (session === null) return 'idle'
    if (session.lost !== null) return 'lost'
    // A status that a predecessor left belongs to this turn only once it has spoken itself.
    return this.#used ? session.status : 'idle'
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

  /** Sends a unit as soon as it may go. The caller has asked `refusal()`. */
  issue(unit: Unit, facts: TextFacts = STATEMENT): void {
    this.#outstanding++
    if (facts !== STATEMENT) this.#facts.set(unit, facts)
    // A statement outside a transaction cannot be sent again, so it waits for a predecessor's COMMIT.
    unit.unrepeatable = this.#autocommit && !this.#owned
    const session = this.#session
    if (session === null) this.#park([unit])
    else if (session.lost === null) session.submit(unit)
    else {
      this.#parked.push(unit)
      this.sessionLost(session.lost, [], [])
    }
  }

  /** Sends COMMIT; null when nothing is open, so that it costs no round trip. */
  commit(): Promise<ControlUnit> | null {
    return this.#end('COMMIT')
  }

  /** Sends ROLLBACK; null when nothing is open. */
  rollback(): Promise<ControlUnit> | null {
    return this.#end('ROLLBACK')
  }

  #end(text: 'COMMIT' | 'ROLLBACK'): Promise<ControlUnit> | null {
    if (!this.#open && this.#outstanding === 0) return null
    const unit = new ControlUnit(this, text)
    unit.seal = true
    return this.control(unit, text === 'COMMIT' ? 'statement' : 'rollback')
  }

  /** Sends transaction control of the library's own. */
  control(unit: ControlUnit, kind: keyof ControlLimits = 'statement'): Promise<ControlUnit> {
    unit.limitMillis = this.#host.limits[kind]
    const answered = unit.promise<ControlUnit>()
    this.issue(unit)
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
    for (const unit of this.#units()) unit.reject(error)
    const unsent = [...this.#parked, ...(this.#session?.withdrawAll() ?? [])]
    this.#parked = []
    for (const unit of unsent) this.#abandon(unit, error)
    this.onRevoked?.(error)
  }

  /** Has the server cancel whatever it has under way. */
  cancelAll(): void {
    this.#session?.cancelAllOf(this)
  }

  /** Since when the server is busy with it, on the clock of `now()`: not before it is done with those before. */
  get speaksSince(): number {
    return this.#session === null ? this.grantedAt : this.#session.speaksSince(this)
  }

  /** The texts of what the holder did not wait for. */
  unfinished(): string[] {
    const units = this.#units().filter((unit) => !(unit instanceof ControlUnit && unit.internal))
    return units.map((unit) => unit.text)
  }

  /** The failures of what is unsettled are reported by the one who leaves. */
  markUnfinishedHandled(): void {
    for (const unit of this.#units()) unit.markHandled()
  }

  /** The same of nested transactions. */
  markNestedHandled(): void {
    for (const running of this.nested?.values() ?? []) running.catch(() => {})
  }

  /** The unsettled units are all in the session's hands, or parked: it alone is speaking. */
  #units(): Unit[] {
    return [...this.#parked, ...(this.#session?.unitsOf(this) ?? [])]
  }

  /** Resolves once nothing is outstanding. */
  quiet(): Promise<void> {
    if (this.#outstanding === 0) return Promise.resolve()
    return new Promise((resolve) => this.#whenQuiet.push(resolve))
  }

  // What the session asks and tells.

  admit(unit: Unit): Unit | 'skip' | Error | null {
    const facts = this.#facts.get(unit) ?? STATEMENT
    if (unit instanceof ControlUnit) return this.#admitControl(unit)
    if (this.#ended) return this.endedError()
    if (this.#beginIsDue(facts)) {
      this.#openedBy = unit.text
      if (!(unit instanceof QueryUnit) || unit.travel === 'alone') return this.#opener()
      unit.begin = this.options.begin
      unit.travel = 'last'
      this.#open = true
    }
    this.#used = true
    unit.mayCommit = facts.mayCommit || (!this.#open && !facts.begins)
    return null
  }

  #beginIsDue(facts: TextFacts): boolean {
    if (this.#open || facts.ends || (this.#autocommit && !this.#owned)) return false
    // The user's own BEGIN does for ours, unless ours has modes to set.
    return !facts.begins || this.options.begin !== 'BEGIN'
  }

  #admitControl(unit: ControlUnit): ControlUnit | 'skip' | null {
    if (unit.seal) {
      if (!this.#open) return 'skip'
      this.#open = false
      unit.mayCommit = unit.text === 'COMMIT'
    } else if (this.#beginIsDue(STATEMENT)) {
      this.#openedBy = unit.text
      return this.#opener()
    }
    this.#used = true
    return null
  }

  /** A BEGIN of its own, for a unit that cannot take one along. */
  #opener(): ControlUnit {
    const begin = new ControlUnit(this, this.options.begin, true)
    begin.travel = 'last'
    begin.limitMillis = this.#host.limits.statement
    this.#outstanding++
    this.#facts.set(begin, OPENER)
    this.#open = true
    this.#used = true
    return begin
  }

  onAnswered(unit: Unit, status: ReadyStatus): void {
    const facts = this.#facts.get(unit)
    this.#spoken = true
    if (this.#repeatsOpening(unit, status)) return
    if (hasCommitted(unit, facts)) this.#mayHaveCommitted = true
    if (status === 'inerror') this.#swallowed ??= unit.error
    if (unit instanceof ControlUnit && unit.seal) this.#noteSeal(unit, status)
    else {
      if (status === 'intrans') this.#swallowed = null
      this.#noteStatus(unit, status, facts)
      if (failedToBegin(unit, facts)) this.#refuseUnsent(unit.error!)
    }
    this.#report(unit)
    this.#settled(unit)
  }

  /**
   * The statement that opened the transaction failed only because its prepared name had become stale. Nothing has
   * happened yet and nothing waits behind it, so the transaction is opened once more.
   */
  #repeatsOpening(unit: Unit, status: ReadyStatus): boolean {
    const opening = unit instanceof QueryUnit && unit.begin !== null && unit.staleName && status === 'inerror'
    if (!opening || this.#repeated || this.#outstanding > 1 || this.#state !== 'held') return false
    this.#repeated = true
    const rollback = new ControlUnit(this, 'ROLLBACK', true)
    rollback.seal = true
    this.control(rollback, 'rollback').catch(() => {})
    this.#session!.submit(unit)
    return true
  }

  #noteSeal(unit: ControlUnit, status: ReadyStatus): void {
    unit.failedBefore = this.#swallowed
    this.#swallowed = null
    // COMMIT and ROLLBACK end the transaction, whatever they answer; what says otherwise is not to be trusted.
    if (status !== 'idle') this.#session!.lose(new Error(`the session was not idle after ${unit.text}`))
  }

  /** Learns from an answer whether a transaction is open; only where nothing was sent behind it. */
  #noteStatus(unit: Unit, status: ReadyStatus, facts: TextFacts | undefined): void {
    if (this.#session!.inFlight > 0) return
    const wasOpen = this.#open
    this.#open = status !== 'idle'
    if (!wasOpen && this.#open) this.#openedBy = unit.text
    const ended = wasOpen && !this.#open && !failedToBegin(unit, facts)
    const byText = (wasOpen || facts?.begins === true) && hasEnded(unit, facts)
    if (!ended && !byText) return
    this.#endedBy = unit.text
    this.#ended = this.#owned
  }

  /** BEGIN failed: what waits behind it would run on its own. */
  #refuseUnsent(error: Error): void {
    this.#open = false
    for (const unit of this.#session!.withdrawAll()) this.#abandon(unit, error)
  }

  /** The unit will not be answered. */
  #abandon(unit: Unit, error: Error): void {
    unit.giveUp(error)
    this.#settled(unit)
  }

  #report(unit: Unit): void {
    const failure = unit.failure()
    if (failure === null) unit.resolve(unit.outcome)
    else unit.reject(failure.reason)
  }

  onWithdrawn(unit: Unit, error: Error | null): void {
    if (error !== null) return this.#abandon(unit, error)
    unit.resolve(unit.outcome)
    this.#settled(unit)
  }

  /** A guard took the unit back before it was sent, and has told its caller. */
  withdrawn(unit: Unit): void {
    const parked = this.#parked.indexOf(unit)
    if (parked >= 0) this.#parked.splice(parked, 1)
    else if (this.#session?.withdraw(unit) !== true) return
    this.#settled(unit)
  }

  /** Only for what a turn that has been handed on left unanswered: its COMMIT or ROLLBACK. */
  onLost(unit: Unit, cause: Error): void {
    const mayCommit = unit.sent && unit.mayCommit
    if (mayCommit) this.#mayHaveCommitted = true
    const commitOutcome = mayCommit ? 'unknown' : 'none'
    this.#abandon(unit, new ConnectionLostError({ commitOutcome, cause, retrySafe: this.retrySafe }))
  }

  #settled(unit: Unit): void {
    this.#facts.delete(unit)
    this.#outstanding--
    if (this.#outstanding > 0) return
    const waiting = this.#whenQuiet
    if (waiting.length === 0) return
    this.#whenQuiet = []
    for (const tell of waiting) tell()
  }

  /**
   * Its session died. What was sent is sent again, once, where it is the unanswered opening of the turn; else the
   * turn is lost and everything on it rejected.
   */
  sessionLost(cause: Error, sent: readonly Unit[], unsent: readonly Unit[]): void {
    if (this.#canReplay(sent)) {
      this.#session = null
      this.#replayed ||= sent.length > 0
      this.#used = false
      this.#open = false
      const openings = sent.filter((unit) => !(unit instanceof ControlUnit))
      for (const unit of sent) if (unit instanceof ControlUnit) this.#settled(unit)
      this.#parked = [...openings, ...unsent, ...this.#parked]
      for (const unit of openings) unit.sent = false
      this.#park([])
    } else this.#lose(cause, sent, [...unsent, ...this.#parked])
  }

  /** Keeps `units` for a new session, and has one opened: not before there is something to send on it. */
  #park(units: readonly Unit[]): void {
    this.#parked.push(...units)
    if (this.#parked.length === 0 || this.#reopening) return
    this.#reopening = true
    this.#host.reopen(this)
  }

  #canReplay(sent: readonly Unit[]): boolean {
    if (this.#state !== 'held' || this.#loss !== null) return false
    if (sent.length === 0) return !this.#used
    const opening = sent[0]!
    if (sent.length > 1 || this.#replayed || this.#spoken) return false
    // What was to be cancelled must not begin anew.
    if (opening.guard?.reached === true) return false
    return opening instanceof QueryUnit ? opening.beginPending : this.#facts.get(opening) === OPENER
  }

  #lose(cause: Error, sent: readonly Unit[], unsent: readonly Unit[]): void {
    const outcome = sent.some((unit) => unit.mayCommit) ? 'unknown' : 'none'
    const open = this.#open || sent.length > 0 || unsent.length > 0
    if (outcome === 'unknown') this.#mayHaveCommitted = true
    this.#loss = { cause, outcome, open }
    this.#open = false
    this.#parked = []
    for (const unit of [...sent, ...unsent]) this.#abandon(unit, this.lossError())
  }

  /** A new session is being opened for it. */
  get awaitsSession(): boolean {
    return this.#reopening && this.#loss === null
  }

  /** A new session for what was parked. */
  resume(session: Session): void {
    this.#session = session
    this.#reopening = false
    const parked = this.#parked
    this.#parked = []
    for (const unit of parked) session.submit(unit)
  }

  /** No new session could be had. */
  giveUp(cause: Error): void {
    const parked = this.#parked
    this.#lose(cause, [], parked)
  }
}

/** Answered: has something of it been committed, or may it have been? */
function hasCommitted(unit: Unit, facts: TextFacts | undefined): boolean {
  if (!unit.mayCommit) return false
  if (unit instanceof ControlUnit) return unit.tag === 'COMMIT'
  if (unit.ended === 'committed') return true
  return unit.error === null || facts?.inParts === true
}

/** The text has ended a transaction, although another may be open: "COMMIT; BEGIN". ROLLBACK TO has ROLLBACK's tag. */
function hasEnded(unit: Unit, facts: TextFacts | undefined): boolean {
  return unit.ended === 'committed' || (unit.ended === 'rolled back' && facts?.mayEnd === true)
}

function failedToBegin(unit: Unit, facts: TextFacts | undefined): boolean {
  return unit.error !== null && (unit instanceof QueryUnit ? unit.beginPending : facts === OPENER)
}
