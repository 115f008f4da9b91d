/**
 * A lease of the local broker: the exclusive right to speak on the backend, from the moment it is granted until it is
 * passed on.
 *
 * States: `held` → `leaving` (its callback has settled or its handle was released: nothing new is taken, what is in
 * flight is waited for) → `over` (passed on). `revoked` comes instead when the hold timed out or the holder is gone:
 * everything on it is rejected at once, whatever still runs.
 */
import { CommitRolledBackError, ConnectionReleasedError } from '../errors.js'
import { createRequest } from '../pipeline/create-request.js'
import { CursorRows } from '../pipeline/row-source.js'
import { guardRequest } from '../pipeline/statement-guard.js'
import { SubmittableRequest } from '../pipeline/submittable-request.js'
import { withCallersFrames } from '../util/callers-frames.js'
import { now } from '../util/clock.js'
import { become, type Transitions } from '../util/transitions.js'
import { LeaseRequests } from './lease-requests.js'
import { openNested } from './nested.js'
import { release, revoke } from './release.js'
import type { QueryResult } from 'pg'
import type { TransactionStatus } from '../api/connection.js'
import type {
  DriverSubmittable,
  Lease as LeasePort,
  LeaseTerms,
  Leaving,
  NestedTransaction,
  OutcomeWatch,
} from '../api/ports.js'
import type { StatementCall } from '../api/statement.js'
import type { Backend } from '../backend/backend.js'
import type { LeaseOwner } from './lease-owner.js'
import type { EndAnswer } from './settlement.js'

type State = 'held' | 'leaving' | 'revoked' | 'over'

const NEXT: Transitions<State> = {
  held: ['leaving', 'revoked', 'over'],
  leaving: ['leaving', 'revoked', 'over'],
  revoked: ['over'],
  over: [],
}

export class Lease implements LeasePort {
  readonly terms: LeaseTerms
  /** What its holder is called; null where it has not said. */
  readonly label: string | null
  /** Where it was asked for; null where nobody wants to know. */
  readonly stack: string | null
  readonly owner: LeaseOwner
  readonly requests: LeaseRequests
  /** When it was granted, on the clock of `now()`. */
  readonly grantedAt = now()
  nested = 0
  onRevoked: ((error: Error) => void) | null = null
  onOver: (() => void) | null = null
  revocation: Error | null = null
  /** The library has sent the COMMIT that ends it. */
  commitSent = false
  state: State = 'held'
  /** Its settlement, once its holder has left. */
  #departure: Promise<void> | null = null

  constructor(
    backend: Backend,
    { terms, label, stack }: Pick<Lease, 'terms' | 'label' | 'stack'>,
    owner: LeaseOwner,
  ) {
    this.terms = terms
    this.label = label
    this.stack = stack
    this.owner = owner
    this.requests = new LeaseRequests(backend, terms, owner)
  }

  get held(): boolean {
    return this.state === 'held'
  }

  get owned(): boolean {
    return this.requests.transaction.owned
  }

  get autocommit(): boolean {
    return this.requests.transaction.autocommit
  }

  set autocommit(autocommit: boolean) {
    this.requests.transaction.autocommit = autocommit
  }

  get idle(): boolean {
    return !this.requests.transaction.open && this.requests.outstanding === 0
  }

  get status(): TransactionStatus {
    const { serverState, outstanding } = this.requests
    if (!this.held || serverState === 'lost') return 'unknown'
    return outstanding > 0 ? 'active' : serverState
  }

  get processID(): number | null {
    const { backend } = this.requests
    return this.held && backend !== null && backend.lost === null ? backend.processID : null
  }

  get retrySafe(): boolean {
    return this.requests.mayRetry()
  }

  refusal(forEnding = false): Error | null {
    if (this.revocation !== null) return this.revocation
    if (!this.held) return new ConnectionReleasedError()
    // Nothing was open, so the loss undid nothing, and earlier commits must not look as if they had failed.
    if (forEnding && this.requests.loss?.open === false) return null
    return this.requests.refusal()
  }

  query(call: StatementCall, watch: OutcomeWatch | null): Promise<QueryResult> {
    const request = createRequest(this.requests, call, this.#repeatable, false)
    const answered = request.callersPromise<QueryResult>(watch)
    guardRequest(request, call.limits, this.owner.deadlines)
    this.requests.issue(request)
    return answered
  }

  /** A statement outside a transaction cannot be sent again, so it waits for a predecessor's COMMIT. */
  get #repeatable(): boolean {
    return this.requests.transaction.transactional
  }

  submit(submittable: DriverSubmittable, refusal: Error | null): Promise<Error | null> {
    return this.#submit(submittable, refusal).over
  }

  #submit(submittable: DriverSubmittable, refusal: Error | null): SubmittableRequest {
    const request = new SubmittableRequest(this.requests, submittable, this.owner.texts, this.#repeatable)
    if (refusal === null) this.requests.issue(request)
    else request.refuse(refusal)
    return request
  }

  openRows(call: StatementCall, batchSize: number, refusal: () => Error | null): CursorRows {
    return new CursorRows(call, batchSize, (cursor) => {
      const request = this.#submit(cursor, this.refusal() ?? refusal())
      return { over: request.over, watch: () => guardRequest(request, call.limits, this.owner.deadlines) }
    })
  }

  async commit(): Promise<void> {
    const answered = this.requests.end('COMMIT')
    if (answered !== null) this.checkCommitted(await answered.catch(withCallersFrames))
  }

  /** Throws where COMMIT was answered ROLLBACK. */
  checkCommitted({ tag, failedBefore }: EndAnswer): void {
    // Nothing was sent where an earlier statement of the holder's had ended the transaction.
    if (tag === 'COMMIT' || tag === null) return
    throw new CommitRolledBackError({ retrySafe: this.retrySafe, cause: failedBefore ?? undefined })
  }

  async rollback(): Promise<void> {
    await this.requests.end('ROLLBACK')?.catch(withCallersFrames)
  }

  nest(): Promise<NestedTransaction> {
    return openNested(this)
  }

  release(leaving: Leaving): Promise<void> {
    // A callback may have released its handle before it returned: that was the departure.
    return (this.#departure ??= release(this, leaving))
  }

  abort(error: Error): void {
    if (this.commitSent || this.state === 'over') return
    const { requests } = this
    if (!requests.isCommitting) void revoke(this, error, 'aborted')
    else void requests.once(() => !requests.isCommitting).then(() => this.abort(error))
  }

  drop(): Promise<void> | null {
    const { backend } = this.requests
    if (!this.held || backend === null || !backend.answers(this.requests)) return null
    return backend.abandon(new Error('the client was dropped'))
  }

  /** Rejects everything on it, now and later, and has the server cancel what runs. */
  revoke(error: Error): void {
    this.become('revoked')
    this.revocation = error
    // Where a callback runs, its own call is rejected: what that does not wait for yet is no accident of its own.
    if (this.onRevoked !== null) this.requests.takeUnfinished()
    this.requests.rejectAll(error)
    this.onRevoked?.(error)
    this.requests.backend?.pipeline.cancelAllOf(this.requests)
  }

  become(next: State): void {
    this.state = become('a lease', NEXT, this.state, next)
    this.requests.accepting = false
  }
}
