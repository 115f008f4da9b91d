/**
 * A lease of another thread's broker, as the worker that has asked for it sees it.
 *
 * States: `waiting` → `held` (granted, or started because it was known to be next) → `left` (its callback has settled
 * or its handle was released; the owner settles it) → `over`. One that was refused, given up or revoked is `over` at
 * once.
 */
import { ConnectionReleasedError } from '../../errors.js'
import { withCallersFrames } from '../../util/callers-frames.js'
import { become, type Transitions } from '../../util/transitions.js'
import { encodeCall, encodeThrown } from '../wire-statement.js'
import { RemoteRows } from './remote-rows.js'
import type { QueryResult } from 'pg'
import type { TransactionStatus } from '../../api/connection.js'
import type {
  DriverSubmittable,
  Lease,
  LeaseTerms,
  Leaving,
  NestedTransaction,
  OutcomeWatch,
  RowSource,
} from '../../api/ports.js'
import type { StatementCall } from '../../api/statement.js'
import type { ToOwner, WireAnswer } from '../protocol.js'
import type { CallFacts } from './calls.js'
import type { Link } from './link.js'

type State = 'waiting' | 'held' | 'left' | 'over'

const NEXT: Transitions<State> = {
  waiting: ['held', 'over'],
  held: ['left', 'over'],
  left: ['over'],
  over: ['over'],
}

export class RemoteLease implements Lease {
  readonly id: number
  readonly terms: LeaseTerms
  readonly #link: Link
  #state: State = 'waiting'
  #autocommit: boolean
  /** What the session does between statements. */
  serverStatus: TransactionStatus = 'idle'
  /** How many of its calls are unanswered. */
  outstanding = 0
  /** Its time has passed, and the owner takes it out of the queue: it starts when it is granted, or never. */
  expiring = false
  retrySafe = true
  revocation: Error | null = null
  onRevoked: ((error: Error) => void) | null = null
  #answer!: { granted(lease: RemoteLease | null): void; refused(error: unknown): void }
  #settlement: { resolve(): void; reject(error: unknown): void } | null = null
  #departure: Promise<void> | null = null

  constructor(id: number, terms: LeaseTerms, link: Link) {
    this.id = id
    this.terms = terms
    this.#link = link
    this.#autocommit = terms.autocommit
  }

  get state(): State {
    return this.#state
  }

  get held(): boolean {
    return this.#state === 'held'
  }

  get owned(): boolean {
    return this.terms.owned
  }

  get autocommit(): boolean {
    return this.#autocommit
  }

  set autocommit(autocommit: boolean) {
    this.#autocommit = autocommit
    this.#link.say(['autocommit', this.id, autocommit])
  }

  get idle(): boolean {
    return this.serverStatus === 'idle' && this.outstanding === 0
  }

  get status(): TransactionStatus {
    if (!this.held) return 'unknown'
    return this.outstanding > 0 && this.serverStatus !== 'unknown' ? 'active' : this.serverStatus
  }

  get processID(): number | null {
    return this.held && this.serverStatus !== 'unknown' ? this.#link.processID : null
  }

  refusal(): Error | null {
    return this.revocation ?? (this.held ? null : new ConnectionReleasedError())
  }

  // ---- what the owner carries out

  #call<T>(entry: (id: number) => ToOwner, facts: CallFacts<T> = {}): Promise<T> {
    if (this.revocation !== null) return Promise.reject(this.revocation)
    const id = this.#link.createID()
    return this.#link.call(id, entry(id), { ...facts, lease: this })
  }

  query(call: StatementCall, watch: OutcomeWatch | null): Promise<QueryResult> {
    const { signal } = call.limits
    const decode = (answer: WireAnswer): QueryResult =>
      this.#link.decoder.decode(answer, [call.statement]) as QueryResult
    const wire = encodeCall(call)
    return this.#call((id) => ['statement', this.id, id, wire], { signal, decode, watch })
  }

  submit(_submittable: DriverSubmittable, refusal: Error | null): Promise<Error | null> {
    if (refusal !== null) throw refusal
    throw new TypeError(
      'a submittable (pg-cursor, pg-query-stream, pg-copy-streams) speaks to the connection itself and cannot cross ' +
        'threads; use stream() for rows, or hand it to query() in the thread that owns the connection',
    )
  }

  openRows(call: StatementCall, batchSize: number): RowSource {
    const stream = this.#link.createID()
    return new RemoteRows(call, batchSize, {
      count: (by) => void (this.outstanding += by),
      read: (opening, facts) => this.#call((id) => ['rows', this.id, id, stream, opening], facts),
      drop: () => this.#call((id) => ['drop', this.id, id, stream]),
    })
  }

  async commit(): Promise<void> {
    await this.#end('commit')
  }

  async rollback(): Promise<void> {
    await this.#end('rollback')
  }

  async #end(verb: 'commit' | 'rollback'): Promise<void> {
    // Nothing is open, and nothing under way that might open something.
    if (!this.idle) await this.#call((id) => [verb, this.id, id])
  }

  async nest(): Promise<NestedTransaction> {
    const nested = this.#link.createID()
    // The owner says when it has begun: whether there is a transaction to nest in may depend on answers to come.
    await this.#link.call(nested, ['nest', this.id, nested], { lease: this })
    const settle = async (entry: (id: number) => ToOwner): Promise<void> => {
      this.#link.markUnansweredHandled(this)
      await this.#call(entry)
    }
    return {
      finish: (leftNested) => settle((id) => ['finish', this.id, id, nested, leftNested]),
      abort: () => settle((id) => ['abort', this.id, id, nested]).catch(() => {}),
    }
  }

  async release({ left, error, close }: Leaving): Promise<void> {
    if (this.revocation !== null) throw this.revocation
    // A callback may have released its handle before it returned: that was the departure.
    if (this.held) await this.#link.leave(this, left, left === 'threw' ? encodeThrown(error) : null, close)
    else await this.#departure
  }

  drop(): null {
    return null
  }

  // ---- what becomes of it

  /** Resolves with the lease once it is granted, with null where `tryAcquire` gets none. To be asked for once. */
  get granted(): Promise<RemoteLease | null> {
    const answered = new Promise<RemoteLease | null>(
      (granted, refused) => (this.#answer = { granted, refused }),
    )
    return answered.catch(withCallersFrames)
  }

  grant(): void {
    this.#become('held')
    this.#answer.granted(this)
  }

  /** Nothing comes of it: with an error, or with null for a `tryAcquire`. */
  refuse(error: unknown): void {
    this.#become('over')
    if (error === null) this.#answer.granted(null)
    else this.#answer.refused(error)
  }

  /** The owner has revoked it. */
  revoke(error: Error): void {
    this.#become('over')
    this.revocation = error
    this.onRevoked?.(error)
  }

  /** It has been left. Resolves once the owner has settled it. */
  leave(): Promise<void> {
    this.#become('left')
    const settled = new Promise<void>((resolve, reject) => (this.#settlement = { resolve, reject }))
    return (this.#departure = settled.catch(withCallersFrames))
  }

  /** The owner has settled it. */
  settle(error: unknown = null): void {
    this.#become('over')
    if (error === null) this.#settlement!.resolve()
    else this.#settlement!.reject(error)
  }

  #become(next: State): void {
    this.#state = become('a remote lease', NEXT, this.#state, next)
  }
}
