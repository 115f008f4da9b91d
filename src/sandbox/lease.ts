/** A turn in a sandbox. It nests and is settled as every lease is, by the same code and with the same errors. */
import { CommitRolledBackError, ConnectionReleasedError } from '../errors.js'
import { openNested } from '../lease/nested.js'
import { release } from '../lease/release.js'
import { now } from '../util/clock.js'
import { firstWords } from '../sql/classify.js'
import { SandboxError } from './error.js'
import { SandboxRequests } from './requests.js'
import type { QueryResult } from 'pg'
import type { TransactionStatus } from '../api/connection.js'
import type {
  DriverSubmittable,
  Lease,
  LeaseTerms,
  Leaving,
  NestedTransaction,
  OutcomeWatch,
  RowSource,
  Wait,
} from '../api/ports.js'
import type { StatementCall } from '../api/statement.js'
import type { EndAnswer } from '../lease/settlement.js'
import type { Lease as LocalLease } from '../lease/lease.js'
import type { SandboxOwner } from './owner.js'
import type { SandboxSession } from './session.js'

export class SandboxLease implements Lease {
  readonly terms: LeaseTerms
  readonly label: string | null
  readonly stack: string | null
  readonly owner: SandboxOwner
  readonly requests: SandboxRequests
  readonly grantedAt = now()
  nested = 0
  onRevoked: ((error: Error) => void) | null = null
  onOver: (() => void) | null = null
  revocation: Error | null = null
  state: 'held' | 'leaving' | 'over' = 'held'
  #departure: Promise<void> | null = null

  constructor(terms: LeaseTerms, wait: Wait, owner: SandboxOwner, session: SandboxSession) {
    this.terms = terms.commitment === null ? terms : { ...terms, commitment: null }
    this.label = wait.label ?? null
    this.stack = wait.stack ?? null
    this.owner = owner
    this.requests = new SandboxRequests(this.terms, session)
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
    return this.held ? this.requests.session.base.processID : null
  }

  get retrySafe(): boolean {
    return this.requests.mayRetry()
  }

  refusal(): Error | null {
    if (this.revocation !== null) return this.revocation
    return this.held ? this.requests.refusal() : new ConnectionReleasedError()
  }

  query(call: StatementCall, watch: OutcomeWatch | null): Promise<QueryResult> {
    const answered = this.requests.query(call)
    return watch === null ? answered : watch.follow(answered)
  }

  submit(submittable: DriverSubmittable, refusal: Error | null): Promise<Error | null> {
    const text = String(submittable.text ?? submittable.cursor?.text ?? '')
    const controls = firstWords(text).some((word) => /^(?:BEGIN|START|COMMIT|END|ROLLBACK|ABORT)$/.test(word))
    const refused = controls
      ? new SandboxError('in a sandbox transaction control cannot be a submittable')
      : null
    const { base } = this.requests.session
    return this.requests.enqueue(text, false, () =>
      this.requests.transaction.around(text, () => base.submit(submittable, refusal ?? refused)),
    )
  }

  openRows(call: StatementCall, batchSize: number, refusal: () => Error | null): RowSource {
    const { session, transaction } = this.requests
    const { text } = call.statement
    let leave = (): void => {}
    const left = new Promise<void>((resolve) => (leave = resolve))
    let opening: Promise<RowSource> | null = null
    const open = (): Promise<RowSource> =>
      new Promise((resolve, reject) => {
        const over = this.requests.enqueue(text, false, () =>
          transaction.around(text, async () => {
            const rows = session.base.openRows(call, batchSize, () => this.refusal() ?? refusal())
            resolve(rows)
            await left
            await rows.close()
            return null
          }),
        )
        over.catch(reject)
      })
    return {
      read: async () => (await (opening ??= open())).read(),
      close: async () => {
        leave()
        if (opening !== null) await this.requests.quiet()
      },
    }
  }

  async commit(): Promise<void> {
    const answered = this.requests.end('COMMIT')
    if (answered !== null) this.checkCommitted(await answered)
  }

  checkCommitted({ tag, failedBefore }: EndAnswer): void {
    if (tag === 'COMMIT' || tag === null) return
    throw new CommitRolledBackError({ retrySafe: this.retrySafe, cause: failedBefore ?? undefined })
  }

  async rollback(): Promise<void> {
    await this.requests.end('ROLLBACK')
  }

  nest(): Promise<NestedTransaction> {
    return openNested(this.#asLocal())
  }

  release(leaving: Leaving): Promise<void> {
    return (this.#departure ??= release(this.#asLocal(), { ...leaving, close: false }))
  }

  /** It has all that nesting and leaving ask of one; a class with private members has no other shape. */
  #asLocal(): LocalLease {
    return this as unknown as LocalLease
  }

  /** What runs is waited for: what would cancel it is the connection's, which the sandbox keeps. */
  abort(error: Error): void {
    if (this.state !== 'held') return
    this.revoke(error)
    this.become('leaving')
    void this.requests
      .quiet()
      .then(() => this.requests.end('ROLLBACK'))
      .catch(() => {})
      .finally(() => this.owner.passOn(this))
  }

  drop(): null {
    return null
  }

  become(state: 'leaving' | 'over'): void {
    this.state = state
  }

  /** The manager has taken its connection back. */
  revoke(error: Error): void {
    this.revocation = error
    this.onRevoked?.(error)
  }
}
