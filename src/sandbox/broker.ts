/** A broker over a lease of another's: it grants turns in one transaction, one at a time. */
import { Waiter, WaitQueue } from '../broker/wait-queue.js'
import {
  AcquireTimeoutError,
  ManagerEndedError,
  StatementTimeoutError,
  UncommittedTransactionError,
} from '../errors.js'
import { AUTOCOMMIT, DB_API } from '../lease/terms.js'
import { throwIfAborted } from '../util/abort-signals.js'
import { now } from '../util/clock.js'
import { Deadlines } from '../util/deadlines.js'
import { isFromServer } from '../util/thrown.js'
import { timerFor, type Timer } from '../util/timer.js'
import { SandboxError } from './error.js'
import { SandboxFigures } from './figures.js'
import { SandboxLease } from './lease.js'
import { checkIsolation } from './texts.js'
import { listenRefusal } from './transaction.js'
import type { QueryResult } from 'pg'
import type { TransactionStatus } from '../api/connection.js'
import type { ConnectionFacts, ManagerStats } from '../api/manager.js'
import type { BatchTerms, Broker, EventSink, FaceOptions, LeaseTerms, Wait } from '../api/ports.js'
import type { StatementCall } from '../api/statement.js'
import type { RollbackEvent } from '../events.js'
import type { BaseOwner } from '../lease/base-lease.js'
import type { SandboxSession } from './session.js'

class TurnWaiter extends Waiter<null> {
  readonly #askedAt = now()
  readonly #resolve: () => void
  readonly #reject: (error: unknown) => void
  protected readonly timedOut: () => Error

  constructor(resolve: () => void, reject: (error: unknown) => void, timedOut: () => Error) {
    super()
    this.#resolve = resolve
    this.#reject = reject
    this.timedOut = timedOut
  }

  protected override accept(): void {
    this.#resolve()
  }

  get waitedMillis(): number {
    return Math.max(0, Math.trunc(now() - this.#askedAt))
  }

  protected override refuse(error: unknown): void {
    this.#reject(error)
  }
}

export class SandboxBroker implements Broker, BaseOwner {
  readonly session: SandboxSession
  readonly #under: Broker
  readonly #figures: SandboxFigures
  readonly #deadlines = new Deadlines()
  readonly #queue = new WaitQueue<null>(this.#deadlines)
  #holder: SandboxLease | null = null
  /** It has the connection for a turn, and not for a single statement or batch. */
  #isTurn = false
  #ended: Promise<void> | null = null
  #onIdle = (): void => {}
  /** Told when its connection is given back. */
  onEnd: (() => void) | null = null
  // As the manager's defaults are. The connection is kept, whatever a holder wishes.
  readonly life = { replacementDue: false, close: async (): Promise<void> => {} } as const
  readonly options: FaceOptions & BaseOwner['options']

  constructor(session: SandboxSession, under: Broker, events: EventSink) {
    this.session = session
    this.#under = under
    this.#figures = new SandboxFigures(events)
    const own = { groupCommit: false, verifyCommit: false, releaseGraceMillis: 5_000 } as const
    this.options = { ...under.options, ...own, closeOn: 'broken' }
    session.base.onRevoked = (error) => this.#giveUp(error)
  }

  get ending(): boolean {
    return this.#ended !== null
  }

  get status(): TransactionStatus | null {
    if (this.session.base.status === 'unknown') return null
    return this.#holder?.state === 'over' ? 'active' : (this.#holder?.status ?? 'idle')
  }

  get stats(): ManagerStats {
    const holder = this.#isTurn ? this.#holder : null
    const first = this.#queue.first as TurnWaiter | null
    return Object.freeze({
      ...this.#under.stats,
      ...this.#figures.counts,
      held: holder !== null,
      heldMillis: holder === null ? null : Math.round(now() - holder.grantedAt),
      holderLabel: holder?.label ?? null,
      waiting: this.#queue.length,
      longestWaitMillis: first?.waitedMillis ?? null,
    })
  }

  get facts(): ConnectionFacts {
    return this.#under.facts
  }

  acquire<T>(terms: LeaseTerms, wait: Wait, receive: (lease: SandboxLease) => T): Promise<T> {
    return this.#acquire(terms, wait, (waitedMillis) => {
      const lease = this.#grant(terms, wait)
      this.#isTurn = true
      this.#figures.onAcquire(lease.label, waitedMillis)
      return receive(lease)
    })
  }

  async #acquire<T>(terms: LeaseTerms, wait: Wait, grant: (waitedMillis: number) => T): Promise<T> {
    if (this.ending) throw new ManagerEndedError()
    throwIfAborted(wait.signal)
    checkIsolation(terms.begin, this.session.isolationLevel)
    const refusal = this.session.base.refusal()
    if (refusal !== null) throw refusal
    if (this.#holder === null && this.#queue.length === 0) return grant(0)
    return new Promise<T>((resolve, reject) => {
      const accept = (): void => resolve(grant(waiter.waitedMillis))
      const waiter = new TurnWaiter(accept, reject, () => this.#timedOut(wait))
      this.#queue.join(waiter, wait)
    })
  }

  async tryAcquire<T>(terms: LeaseTerms, wait: Wait, receive: (lease: SandboxLease) => T): Promise<T | null> {
    return this.#holder === null && this.#queue.length === 0 ? this.acquire(terms, wait, receive) : null
  }

  #grant(terms: LeaseTerms, wait: Wait): SandboxLease {
    this.#isTurn = false
    return (this.#holder = new SandboxLease(terms, wait, this, this.session))
  }

  #timedOut({ timeoutMillis, label = null }: Wait): Error {
    this.#figures.timeouts++
    const { waiting, heldMillis, holderLabel, statement } = this.stats
    const facts = { timeoutMillis, label, waiting, heldMillis, holderLabel, statement }
    return new AcquireTimeoutError({ ...facts, holderStack: this.#holder?.stack ?? null, whyNobody: null })
  }

  /** The next has its turn once all is answered: a COMMIT or a ROLLBACK is several statements here. */
  passOn(lease: SandboxLease): void {
    if (this.#holder !== lease || lease.state === 'over') return
    lease.become('over')
    lease.onOver?.()
    if (lease.requests.outstanding === 0) this.#grantNext()
    else void lease.requests.quiet().then(() => this.#grantNext())
  }

  #grantNext(): void {
    const isTurn = this.#isTurn
    const holder = this.#holder!
    this.#holder = null
    if (isTurn) this.#figures.onRelease(holder)
    // One that was late declines, and the next is asked.
    while (this.#holder === null && this.#queue.first !== null) this.#queue.first.grant(null, now())
    if (this.#holder === null) this.#onIdle()
  }

  onRollback(event: RollbackEvent): void {
    this.#figures.onRollback(event)
  }

  /** Has a turn for `work`, whatever becomes of it. */
  async inTurn<T>(wait: Wait, work: (lease: SandboxLease) => Promise<T>, terms = AUTOCOMMIT): Promise<T> {
    const lease = await this.#acquire(terms, wait, () => this.#grant(terms, wait))
    try {
      return await work(lease)
    } finally {
      this.passOn(lease)
    }
  }

  query(call: StatementCall, wait: Wait): Promise<QueryResult> {
    const terms = { ...AUTOCOMMIT, settings: call.settings }
    const run = async ({ requests }: SandboxLease): Promise<QueryResult> => {
      call.onSent?.()
      let cause: unknown
      const result = await requests.query(call).catch((error: unknown) => {
        if (!requests.transaction.open) throw error
        cause = error
      })
      if (!requests.transaction.open) return result!
      await requests.end('ROLLBACK')
      const statement = call.statement.text
      this.onRollback({ reason: 'one-shot', label: null, statement })
      const retrySafe = requests.mayRetry()
      throw new UncommittedTransactionError({ statement, oneShot: true, retrySafe, cause })
    }
    return this.inTurn(wait, run, terms)
  }

  batch(
    calls: readonly StatementCall[],
    { begin, settings }: BatchTerms,
    wait: Wait,
  ): Promise<QueryResult[]> {
    const terms = { ...DB_API, begin: begin ?? DB_API.begin, settings }
    const runAll = async ({ requests }: SandboxLease): Promise<QueryResult[]> => {
      calls[0]!.onSent?.()
      const results: QueryResult[] = []
      const limits = { timeoutMillis: this.options.statementTimeoutMillis, signal: wait.signal }
      for (const [index, call] of calls.entries()) {
        try {
          results.push(await requests.query({ ...call, limits }))
        } catch (error) {
          await requests.end('ROLLBACK')
          const isOurs = isFromServer(error) || error instanceof StatementTimeoutError
          throw isOurs ? Object.assign(error as Error, { index }) : error
        }
      }
      await requests.end('COMMIT')
      return results
    }
    return this.inTurn(wait, runAll, terms)
  }

  async listen(): Promise<never> {
    throw listenRefusal()
  }

  async lead(): Promise<never> {
    throw new SandboxError(
      'leading outlives transactions, and a sandbox is one: give lead() the manager itself',
    )
  }

  async connect(): Promise<void> {
    const refusal = this.session.base.refusal()
    if (refusal !== null) throw refusal
  }

  async close(): Promise<void> {
    throw new SandboxError('a sandbox keeps its connection until it ends: call end()')
  }

  end(timeoutMillis: number): Promise<void> {
    return (this.#ended ??= this.#end(timeoutMillis))
  }

  async #end(timeoutMillis: number): Promise<void> {
    const { base } = this.session
    if (this.#holder !== null) {
      const idle = new Promise<'idle'>((resolve) => (this.#onIdle = () => resolve('idle')))
      let timer: Timer | undefined
      const late = new Promise<'late'>((resolve) => (timer = timerFor(timeoutMillis, () => resolve('late'))))
      const outcome = await Promise.race([idle, late])
      timer?.stop()
      if (outcome === 'late') this.#giveUp(new ManagerEndedError())
    }
    this.#deadlines.clear()
    // It rolls back what is open, and has the manager drop the connection where a statement still runs after a while.
    await base.release({ left: 'threw', close: false }).catch(() => {})
    this.onEnd?.()
  }

  /** Rejects everyone who waits, and everything of the holder's. */
  #giveUp(error: Error): void {
    this.#queue.rejectAll(() => error)
    this.#holder?.revoke(error)
  }
}
