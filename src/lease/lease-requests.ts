/**
 * What is sent for one lease, and what is known of its transaction: when a BEGIN is due, what is unanswered, and what is
 * sent again if the connection dies.
 *
 * The lease's backend is live, or a new one is being opened (`replay.isParked`), or it is lost for good (`loss`).
 */
import {
  NO_LOCALS,
  SEND,
  SEND_COMMITTING,
  SKIP,
  type Admission,
  type RequestOwner,
} from '../pipeline/request-owner.js'
import { ConnectionLostError } from '../errors.js'
import { ControlRequest } from '../pipeline/control-request.js'
import { StatementsRequest } from '../pipeline/query-request.js'
import { TRAITS, type Request } from '../pipeline/request.js'
import { BEGIN_FACTS } from '../sql/classify.js'
import { Commitment } from './commitment.js'
import { LeaseSettings } from './lease-settings.js'
import { mayHaveCommitted, Replay } from './replay.js'
import { TransactionState } from './transaction-state.js'
import type { Backend } from '../backend/backend.js'
import type { LeaseTerms } from '../api/ports.js'
import type { ReadyStatus } from '../api/statement.js'
import type { ControlLimits, LeaseOwner } from './lease-owner.js'
import type { EndAnswer, Loss, ServerState } from './settlement.js'

export class LeaseRequests implements RequestOwner {
  readonly transaction: TransactionState
  outstanding = 0
  /** How its backend was lost; null while it was not, or another stands in. */
  loss: Loss | null = null
  /** Its holder may ask for more; else nothing is replayed or repeated any more. */
  accepting = true
  /** How the library commits; null where it does not, or its COMMIT is like any other. */
  readonly commitment: Commitment | null
  readonly #settings: LeaseSettings
  readonly #owner: LeaseOwner
  readonly #replay = new Replay()
  #backend: Backend
  #waiting: { readonly holds: () => boolean; readonly tell: () => void }[] = []
  /** The last that may commit what went before it. */
  #committing: Request | null = null
  /** The opening was sent again because its prepared statement was stale. */
  #repeated = false

  constructor(backend: Backend, terms: LeaseTerms, owner: LeaseOwner) {
    this.#backend = backend
    this.transaction = new TransactionState(terms)
    this.#owner = owner
    const { commitment } = terms
    this.commitment =
      commitment === null ? null : new Commitment(commitment, terms.begin, this, owner.commits)
    this.#settings = LeaseSettings.of(terms)
  }

  /** The backend that it speaks on; null while a new one is being opened for it. */
  get backend(): Backend | null {
    return this.#replay.isParked ? null : this.#backend
  }

  /** Something was sent for it: the session may not be as it was. */
  get used(): boolean {
    return this.#replay.used
  }

  /** Nothing of the whole lease can have been committed. */
  mayRetry(): boolean {
    return !this.transaction.mayHaveCommitted && !this.#all().some(mayHaveCommitted)
  }

  /** What the server said last, or that it can say nothing any more. Meaningful when nothing is outstanding. */
  get serverState(): ServerState {
    if (this.loss !== null) return 'lost'
    if (this.#replay.isParked) return 'idle'
    if (this.#backend.lost !== null) return 'lost'
    // A status that a predecessor left belongs to this lease only once it has spoken itself.
    return this.#replay.used ? this.#backend.pipeline.status : 'idle'
  }

  /** Why nothing more may be asked for; null while it may. */
  refusal(): Error | null {
    if (this.loss !== null) return this.lossError(this.loss)
    return this.transaction.endedByText ? this.transaction.endedError() : null
  }

  lossError({ cause, outcome }: Omit<Loss, 'open'>): ConnectionLostError {
    return new ConnectionLostError({ commitOutcome: outcome, cause, retrySafe: this.mayRetry() })
  }

  get speaksSince(): number | null {
    return this.backend?.pipeline.speaksSince(this) ?? null
  }

  // ---- asking

  /** Sends a request as soon as it may go. The caller has asked `refusal()`. */
  issue(request: Request): void {
    this.outstanding++
    if (this.#replay.isParked) {
      this.#replay.parked = [...this.#replay.parked, request]
      // Not before there is something to send on it.
      if (this.#replay.parked.length === 1) this.#owner.reopen(this)
      return
    }
    const { lost } = this.#backend
    if (lost === null) this.#backend.pipeline.submit(request)
    else this.backendLost(lost, [], [request])
  }

  /** Sends a command of the library's own, which takes no longer than that `kind` may. */
  control<T>(
    text: string,
    kind: keyof ControlLimits,
    endsTransaction: boolean,
    internal: boolean,
  ): Promise<T> {
    const traits = { ...TRAITS, endsTransaction, limitMillis: this.#owner.limits[kind] }
    const request = new ControlRequest(this, text, traits, internal)
    const answered = request.promise<T>()
    this.issue(request)
    return answered
  }

  /** Sends COMMIT or ROLLBACK; null when nothing is open, so that it costs no round trip. */
  end(text: 'COMMIT' | 'ROLLBACK', internal = false): Promise<EndAnswer> | null {
    if (!this.transaction.open && this.outstanding === 0) return null
    return this.control(text, text === 'COMMIT' ? 'statement' : 'rollback', true, internal)
  }

  quiet(): Promise<void> {
    return this.once(() => this.outstanding === 0)
  }

  /** Resolves once this holds, which it can do when something has been answered. */
  once(holds: () => boolean): Promise<void> {
    if (holds()) return Promise.resolve()
    return new Promise((tell) => this.#waiting.push({ holds, tell }))
  }

  /** The texts of the requests that nobody waited for. Marks them as handled, because the release reports them. */
  takeUnfinished(): string[] {
    const requests = this.#all()
    for (const request of requests) request.markHandled()
    return requests.filter((request) => !(request as ControlRequest).internal).map(({ text }) => text)
  }

  /** The unsettled requests are all in the pipeline's hands, or parked: no other lease is speaking. */
  #all(): Request[] {
    return [...this.#replay.parked, ...(this.backend?.pipeline.requestsOf(this) ?? [])]
  }

  /** A COMMIT, or a text with one, is unanswered. */
  get isCommitting(): boolean {
    return this.#all().some(({ sent, text, traits }) => sent && (text === 'COMMIT' || traits.facts.mayCommit))
  }

  // ---- taking back

  /** A guard took the request back before it was sent, and has told its caller. */
  withdraw(request: Request): void {
    if (this.#replay.withdraw(request) || this.backend?.pipeline.withdraw(request) === true) this.#settled()
  }

  /** Rejects everything with `error`; statements that run go on, and the caller cancels them. */
  rejectAll(error: Error): void {
    for (const request of this.#all()) request.revoke(error)
    const unsent = [...this.#replay.takeAll(), ...(this.backend?.pipeline.withdrawAll() ?? [])]
    for (const request of unsent) this.#abandon(request, error)
  }

  // ---- what the pipeline asks and tells

  /** Where BEGIN is decided: at the moment that the request is next to be sent. Notes what that opens or ends. */
  admit(request: Request): Admission {
    const { transaction } = this
    const { facts, endsTransaction, pipelining } = request.traits
    const isControl = request instanceof ControlRequest
    if (endsTransaction && !transaction.open) return SKIP
    const obstacle = this.commitment?.obstacle(this.#backend) ?? null
    if (obstacle instanceof Error) return { verdict: 'refuse', error: obstacle }
    if (obstacle !== null) return { verdict: 'after', first: obstacle }
    if (!isControl && transaction.endedByText) {
      return { verdict: 'refuse', error: transaction.endedError() }
    }
    const refusal = this.#settings.refusalOf(request, transaction)
    if (refusal !== null) return { verdict: 'refuse', error: refusal }
    const alone = this.#settings.aloneOf(request, transaction)
    const beginIsDue = transaction.beginIsDue(facts)
    if (beginIsDue) {
      // It goes along with one statement of the extended protocol that may be pipelined.
      const goesAlong = request instanceof StatementsRequest && pipelining !== 'exclusive'
      transaction.openedBy = request.text
      transaction.open = true
      if (!goesAlong) return this.#beginFirst()
    }
    const commits = facts.mayCommit || (!transaction.open && !facts.begins)
    const mayCommit = isControl ? request.text === 'COMMIT' : commits
    if (endsTransaction) transaction.open = false
    if (mayCommit) this.#committing = request
    this.#replay.onSending()
    const trailer = isControl ? null : (this.commitment?.questionBehind(request) ?? null)
    if (alone !== null) return alone
    if (!beginIsDue && trailer === null) return mayCommit ? SEND_COMMITTING : SEND
    const begin = beginIsDue ? transaction.begin : null
    const locals = beginIsDue ? this.#settings.commands : NO_LOCALS
    return { verdict: 'send', begin, locals, lead: null, trailer, mayCommit }
  }

  meaningOf(): string {
    return this.#settings.meaning
  }

  /** A BEGIN of its own, for a request that cannot take one along. */
  #beginFirst(): Admission {
    const traits = { ...OPENING, limitMillis: this.#owner.limits.statement }
    this.outstanding++
    this.#replay.onSending()
    const commands = [this.transaction.begin, ...this.#settings.commands]
    const first = new ControlRequest(this, commands.join('; '), traits, true, commands.length)
    return { verdict: 'after', first }
  }

  onAnswered(request: Request, status: ReadyStatus): void {
    this.#replay.onAnswered()
    if (this.#repeatsOpening(request, status)) return
    this.commitment?.onAnswered(request)
    const { endsTransaction } = request.traits
    const { pipeline } = this.#backend
    this.transaction.answered(request, status, pipeline.inFlight === 0)
    // COMMIT and ROLLBACK always end the transaction. Another status breaks the protocol.
    if (endsTransaction && status !== 'idle')
      this.#backend.lose(new Error(`the session was not idle after ${request.text}`))
    // What waits behind a BEGIN that failed would run on its own.
    const refused = request.failedToBegin ? pipeline.withdrawAll() : []
    for (const one of refused) this.#abandon(one, request.error!)
    const failedBefore = this.transaction.swallowed
    if (endsTransaction) this.transaction.swallowed = null
    const failure = request.failure()
    if (failure !== null) request.reject(failure.reason)
    else request.resolve(endsTransaction ? { tag: request.outcome, failedBefore } : request.outcome)
    this.#settled()
  }

  /**
   * The statement that opened the transaction failed only because its prepared name had become stale. Nothing has
   * happened yet and nothing waits behind it, so the transaction is opened once more.
   */
  #repeatsOpening(request: Request, status: ReadyStatus): boolean {
    const opening = request.admission.begin !== null && request.staleName && status === 'inerror'
    if (!opening || this.#repeated || this.outstanding > 1 || !this.accepting) return false
    this.#repeated = true
    this.end('ROLLBACK', true)?.catch(() => {})
    this.#backend.pipeline.submit(request)
    return true
  }

  onWithdrawn(request: Request, error: Error | null): void {
    if (error !== null) return this.#abandon(request, error)
    request.resolve({ tag: null, failedBefore: null } satisfies EndAnswer)
    this.#settled()
  }

  /** Called for what was unanswered when the lease was passed on: a COMMIT or ROLLBACK, and a batch before it. */
  onLost(request: Request, cause: Error): void {
    const committing = mayHaveCommitted(request) || this.#committing?.sent === true
    this.transaction.lost(committing)
    this.#abandon(request, this.lossError({ cause, outcome: committing ? 'unknown' : 'none' }))
  }

  #abandon(request: Request, error: Error): void {
    request.giveUp(error)
    this.#settled()
  }

  #settled(): void {
    this.outstanding--
    if (this.#waiting.length === 0) return
    const due = this.#waiting.filter(({ holds }) => holds())
    this.#waiting = this.#waiting.filter((one) => !due.includes(one))
    for (const { tell } of due) tell()
  }

  // ---- losing the backend

  /** It died: what was sent is sent again, once, where it is the unanswered opening; else everything is rejected. */
  backendLost(cause: Error, sent: readonly Request[], unsent: readonly Request[]): void {
    if (!this.accepting || this.loss !== null || !this.#replay.isPossible(sent)) {
      return this.lose(cause, sent, unsent)
    }
    const again = sent.filter((request) => !(request instanceof ControlRequest))
    for (const request of sent) if (request instanceof ControlRequest) this.#settled()
    for (const request of again) request.sent = false
    this.transaction.lost(false)
    this.#replay.park([...again, ...unsent])
    if (this.#replay.parked.length > 0) this.#owner.reopen(this)
  }

  /** Nothing stands in for its backend: everything is rejected. */
  lose(cause: Error, sent: readonly Request[] = [], unsent: readonly Request[] = []): void {
    const committing = sent.some(mayHaveCommitted)
    const open = this.transaction.open || sent.length > 0 || unsent.length > 0
    const loss: Loss = (this.loss = { cause, outcome: committing ? 'unknown' : 'none', open })
    this.transaction.lost(committing)
    const parked = this.#replay.lose()
    for (const request of [...sent, ...unsent, ...parked]) this.#abandon(request, this.lossError(loss))
  }

  /** A new backend for what was parked. */
  resume(backend: Backend): void {
    this.#backend = backend
    this.commitment?.onReopened()
    for (const request of this.#replay.resume()) backend.pipeline.submit(request)
  }
}

const OPENING = { ...TRAITS, pipelining: 'tail', facts: BEGIN_FACTS } as const
