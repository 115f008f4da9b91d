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
import { SandboxLease } from './lease.js'
import { listenRefusal } from './transaction.js'
import type { QueryResult } from 'pg'
import type { TransactionStatus } from '../api/connection.js'
import type { ConnectionFacts, ManagerStats } from '../api/manager.js'
import type { BatchTerms, Broker, EventSink, FaceOptions, LeaseTerms, Wait } from '../api/ports.js'
import type { StatementCall } from '../api/statement.js'
import type { RollbackEvent } from '../events.js'
import type { SandboxOwner } from './owner.js'
import type { SandboxSession } from './session.js'

class TurnWaiter extends Waiter<null> {
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

  protected override refuse(error: unknown): void {
    this.#reject(error)
  }
}

export class SandboxBroker implements Broker, SandboxOwner {
  readonly session: SandboxSession
  readonly #under: Broker
  readonly #events: EventSink
  readonly #deadlines = new Deadlines()
  readonly #queue = new WaitQueue<null>(this.#deadlines)
  #holder: SandboxLease | null = null
  #ended: Promise<void> | null = null
  #onIdle = (): void => {}
  // As the manager's defaults are. The connection is kept, whatever a holder wishes.
  readonly life = { replacementDue: false, close: async (): Promise<void> => {} } as const
  readonly options: FaceOptions & SandboxOwner['options']

  constructor(session: SandboxSession, under: Broker, events: EventSink) {
    this.session = session
    this.#under = under
    this.#events = events
    const own = { groupCommit: false, verifyCommit: false, releaseGraceMillis: 5_000 } as const
    this.options = { ...under.options, ...own, closeOn: 'never' }
    session.base.onRevoked = (error) => {
      this.#queue.rejectAll(() => error)
      this.#holder?.revoke(error)
    }
  }

  get ending(): boolean {
    return this.#ended !== null
  }

  get status(): TransactionStatus | null {
    if (this.session.base.status === 'unknown') return null
    return this.#holder?.status ?? 'idle'
  }

  get stats(): ManagerStats {
    const holder = this.#holder
    return Object.freeze({
      ...this.#under.stats,
      held: holder !== null,
      heldMillis: holder === null ? null : Math.round(now() - holder.grantedAt),
      holderLabel: holder?.label ?? null,
      waiting: this.#queue.length,
    })
  }

  get facts(): ConnectionFacts {
    return this.#under.facts
  }

  async acquire<T>(terms: LeaseTerms, wait: Wait, receive: (lease: SandboxLease) => T): Promise<T> {
    if (this.ending) throw new ManagerEndedError()
    throwIfAborted(wait.signal)
    const refusal = this.session.base.refusal()
    if (refusal !== null) throw refusal
    if (this.#holder !== null || this.#queue.length > 0) {
      return new Promise<T>((resolve, reject) => {
        const accept = (): void => resolve(receive(this.#grant(terms, wait)))
        this.#queue.join(new TurnWaiter(accept, reject, () => this.#timedOut(wait)), wait)
      })
    }
    return receive(this.#grant(terms, wait))
  }

  async tryAcquire<T>(terms: LeaseTerms, wait: Wait, receive: (lease: SandboxLease) => T): Promise<T | null> {
    return this.#holder === null && this.#queue.length === 0 ? this.acquire(terms, wait, receive) : null
  }

  #grant(terms: LeaseTerms, wait: Wait): SandboxLease {
    return (this.#holder = new SandboxLease(terms, wait, this, this.session))
  }

  #timedOut({ timeoutMillis, label = null }: Wait): Error {
    const { waiting, heldMillis, holderLabel, statement } = this.stats
    const facts = { timeoutMillis, label, waiting, heldMillis, holderLabel, statement }
    return new AcquireTimeoutError({ ...facts, holderStack: this.#holder?.stack ?? null, whyNobody: null })
  }

  passOn(lease: SandboxLease): void {
    if (this.#holder !== lease) return
    this.#holder = null
    lease.become('over')
    lease.onOver?.()
    // One that was late declines, and the next is asked.
    while (this.#holder === null && this.#queue.first !== null) this.#queue.first.grant(null, now())
    if (this.#holder === null) this.#onIdle()
  }

  onRollback(event: RollbackEvent): void {
    this.#events.tell('rollback', event)
  }

  /** Has a turn for `work`, whatever becomes of it. */
  async inTurn<T>(wait: Wait, work: (lease: SandboxLease) => Promise<T>, terms = AUTOCOMMIT): Promise<T> {
    const lease = await this.acquire(terms, wait, (granted) => granted)
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
    if (this.#holder !== null) {
      const idle = new Promise<void>((resolve) => (this.#onIdle = resolve))
      let timer: Timer | undefined
      const late = new Promise<void>((resolve) => (timer = timerFor(timeoutMillis, resolve)))
      await Promise.race([idle, late])
      timer?.stop()
      this.#queue.rejectAll(() => new ManagerEndedError())
    }
    this.#deadlines.clear()
    const { base } = this.session
    if (base.refusal() === null) await base.rollback().catch(() => {})
    await base.release({ left: 'threw', close: false }).catch(() => {})
  }
}
