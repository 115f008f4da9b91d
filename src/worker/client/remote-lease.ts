/** A lease of another thread's broker, as the worker that has asked for it sees it. */
import { ConnectionReleasedError } from '../../errors.js'
import { reasonBehind } from '../../util/abort-signals.js'
import { isFromServer, memberOf } from '../../util/thrown.js'
import { encodeCall } from '../wire-statement.js'
import { unpack, unpackOne, type Packed } from './result-decoder.js'
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
import type { ToOwner } from '../protocol.js'
import type { CallFacts } from './call.js'
import type { Link } from './link.js'

export class RemoteLease implements Lease {
  readonly id: number
  readonly #link: Link
  readonly owned: boolean
  #autocommit: boolean
  /** From its grant, or its start because it was known to be next, until it is left or revoked. */
  held = false
  /** What the session does between statements. */
  serverStatus: TransactionStatus = 'idle'
  /** How many of its calls are unanswered, and how many streams are open. */
  outstanding = 0
  /** Its time has passed, and the owner takes it out of the queue: it starts when it is granted, or never. */
  expiring = false
  retrySafe = true
  revocation: Error | null = null
  onRevoked: ((error: Error) => void) | null = null
  #departure: Promise<void> | null = null
  /** A COMMIT of the holder's that is unanswered, and what is to be done once it is answered. */
  #commit: { next: (() => void) | null } | null = null
  /** Something was asked for since the last COMMIT or ROLLBACK: one that was given up early may still run. */
  #used = false

  constructor(id: number, { autocommit, owned }: LeaseTerms, link: Link) {
    this.id = id
    this.owned = owned
    this.#link = link
    this.#autocommit = autocommit
  }

  /** The owner does not say. */
  set onOver(_told: (() => void) | null) {}

  get onOver(): null {
    return null
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
    return this.held && this.serverStatus !== 'unknown' ? this.#link.stats.processID : null
  }

  refusal(): Error | null {
    return this.revocation ?? (this.held ? null : new ConnectionReleasedError())
  }

  /** Has the owner carry something out. */
  #call<T>(entry: (id: number) => ToOwner, facts: CallFacts<T> = {}): Promise<T> {
    if (this.revocation !== null) return Promise.reject(reasonBehind(this.revocation) as Error)
    return this.#link.call(entry, { ...facts, lease: this })
  }

  query(call: StatementCall, watch: OutcomeWatch | null): Promise<QueryResult> {
    this.#used = true
    const { signal } = call.limits
    const decode = (packed: Packed): QueryResult => unpack(packed, call.statement)
    const wire = encodeCall(call)
    return this.#link.call((id) => ['statement', this.id, id, wire], { lease: this, signal, decode, watch })
  }

  submit(_submittable: DriverSubmittable, refusal: Error | null): Promise<Error | null> {
    if (refusal !== null) throw refusal
    throw new TypeError(
      'a submittable (pg-cursor, pg-query-stream, pg-copy-streams) speaks to the connection itself and cannot cross ' +
        'threads; use stream() for rows, or hand it to query() in the thread that owns the connection',
    )
  }

  openRows(call: StatementCall, batchSize: number): RowSource {
    const { signal } = call.limits
    const stream = this.#link.createID()
    let state: 'new' | 'open' | 'over' = 'new'
    const decode = (packed: Packed): unknown[] => {
      if (packed[4] === batchSize) state = 'open'
      return unpackOne(packed, call.statement).rows
    }
    const read = async (): Promise<unknown[]> => {
      const opening = state === 'new' ? ([encodeCall(call), batchSize] as const) : null
      if (opening !== null) this.outstanding++
      this.#used = true
      // Where it fails, the owner has closed it.
      state = 'over'
      return this.#call((id) => ['rows', this.id, id, stream, opening], { signal, decode })
    }
    const close = async (): Promise<void> => {
      if (state === 'new') return
      if (state === 'open') await this.#call((id) => ['drop', this.id, id, stream]).catch(() => {})
      state = 'over'
      this.outstanding--
    }
    return { read, close }
  }

  async commit(): Promise<void> {
    await this.#end('commit')
  }

  async rollback(): Promise<void> {
    await this.#end('rollback')
  }

  async #end(verb: 'commit' | 'rollback'): Promise<void> {
    // Nothing is open, and nothing under way that might open something.
    if (this.idle && !this.#used) return
    this.#used = false
    const commit = verb === 'commit' ? { next: null as (() => void) | null } : null
    this.#commit = commit
    try {
      await this.#call((id) => [verb, this.id, id])
    } finally {
      this.#commit = null
      commit?.next?.()
    }
  }

  async nest(): Promise<NestedTransaction> {
    const nested = this.#link.createID()
    // The owner says when it has begun: whether there is a transaction to nest in may depend on answers to come.
    await this.#call((id) => ['nest', this.id, id, nested])
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
    if (this.held) {
      const thrown = left === 'threw' && isFromServer(error) ? wordsOf(error) : null
      this.#departure = this.#link.leave(this, (id) => ['leave', this.id, id, left, thrown, close])
    }
    // A callback may have released its handle before it returned: that was the departure.
    await this.#departure
  }

  abort(error: Error): void {
    if (!this.held) return
    if (this.#commit !== null) this.#commit.next = () => this.abort(error)
    else this.#link.giveUp(this, error)
  }

  drop(): null {
    return null
  }

  /** The owner has revoked it. */
  revoke(error: Error): void {
    this.held = false
    this.revocation = error
    this.onRevoked?.(error)
  }
}

/** The server's words that say whether its connection is still good. */
function wordsOf(error: Error): readonly [code: string, severity: string] {
  return [String(memberOf(error, 'code')), String(memberOf(error, 'severity'))]
}
