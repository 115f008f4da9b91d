/**
 * A lease of the local broker: the exclusive right to speak on the backend, from the moment it is granted until it is
 * passed on. Its states are those of `BaseLease`.
 */
import { ConnectionReleasedError } from '../errors.js'
import { createRequest } from '../pipeline/create-request.js'
import { CursorRows } from '../pipeline/row-source.js'
import { guardRequest } from '../pipeline/statement-guard.js'
import { SubmittableRequest } from '../pipeline/submittable-request.js'
import { BaseLease } from './base-lease.js'
import { LeaseRequests } from './lease-requests.js'
import { revoke } from './release.js'
import type { QueryResult } from 'pg'
import type { DriverSubmittable, Lease as LeasePort, LeaseTerms, OutcomeWatch } from '../api/ports.js'
import type { StatementCall } from '../api/statement.js'
import type { Backend } from '../backend/backend.js'
import type { LeaseOwner } from './lease-owner.js'

export class Lease extends BaseLease<LeaseRequests, LeaseOwner> implements LeasePort {
  readonly terms: LeaseTerms
  readonly label: string | null
  readonly stack: string | null
  readonly owner: LeaseOwner
  readonly requests: LeaseRequests

  constructor(
    backend: Backend,
    { terms, label, stack }: Pick<Lease, 'terms' | 'label' | 'stack'>,
    owner: LeaseOwner,
  ) {
    super()
    this.terms = terms
    this.label = label
    this.stack = stack
    this.owner = owner
    this.requests = new LeaseRequests(backend, terms, owner)
  }

  get processID(): number | null {
    const { backend } = this.requests
    return this.held && backend !== null && backend.lost === null ? backend.processID : null
  }

  override refusal(forEnding = false): Error | null {
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

  override become(next: Lease['state']): void {
    super.become(next)
    this.requests.accepting = false
  }
}
