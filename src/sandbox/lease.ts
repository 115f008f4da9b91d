/** A turn in a sandbox. It nests and is settled as every lease is, by the same code and with the same errors. */
import { ConnectionReleasedError } from '../errors.js'
import { BaseLease, type BaseOwner } from '../lease/base-lease.js'
import { firstWords } from '../sql/classify.js'
import { SandboxError } from './error.js'
import { SandboxRequests } from './requests.js'
import type { QueryResult } from 'pg'
import type {
  DriverSubmittable,
  Lease,
  LeaseTerms,
  Leaving,
  OutcomeWatch,
  RowSource,
  Wait,
} from '../api/ports.js'
import type { StatementCall } from '../api/statement.js'
import type { SandboxSession } from './session.js'

export class SandboxLease extends BaseLease<SandboxRequests> implements Lease {
  readonly terms: LeaseTerms
  readonly label: string | null
  readonly stack: string | null
  readonly owner: BaseOwner
  readonly requests: SandboxRequests

  constructor(terms: LeaseTerms, wait: Wait, owner: BaseOwner, session: SandboxSession) {
    super()
    this.terms = terms.commitment === null ? terms : { ...terms, commitment: null }
    this.label = wait.label ?? null
    this.stack = wait.stack ?? null
    this.owner = owner
    this.requests = new SandboxRequests(this.terms, session)
  }

  get processID(): number | null {
    return this.held ? this.requests.session.base.processID : null
  }

  override refusal(): Error | null {
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

  /** The connection is kept, whatever the holder wishes. */
  override release(leaving: Leaving): Promise<void> {
    return super.release({ ...leaving, close: false })
  }

  /** What runs is waited for: what would cancel it is the connection's, which the sandbox keeps. */
  abort(error: Error): void {
    if (this.commitSent || this.state === 'over') return
    this.revoke(error)
  }

  drop(): null {
    return null
  }

  /** Everything on it is rejected, now and later; what it did is undone once what runs is over. */
  revoke(error: Error): void {
    if (this.revocation !== null || this.state === 'over') return
    this.become('revoked')
    this.revocation = error
    this.requests.rejectAll(error)
    this.onRevoked?.(error)
    void this.requests
      .quiet()
      .then(() => this.requests.end('ROLLBACK'))
      .catch(() => {})
      .finally(() => this.owner.passOn(this))
  }
}
