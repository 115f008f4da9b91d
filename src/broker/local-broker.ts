/** The broker over a wait queue and a backend of its own. */
import { runAlone, runBatch } from '../lease/batch.js'
import { OWNED } from '../lease/terms.js'
import { SessionUsers } from '../lead/session-users.js'
import { now } from '../util/clock.js'
import { Dispatcher } from './dispatcher.js'
import { OneShots } from './one-shots.js'
import { LeaseWaiter, OneShotWaiter, type BrokerWaiter, type OneShot } from './waiters.js'
import type { QueryResult } from 'pg'
import type { TransactionStatus } from '../api/connection.js'
import type { ConnectionFacts, ManagerStats } from '../api/manager.js'
import type { BatchTerms, Broker, EventSink, FaceOptions, Leadership } from '../api/ports.js'
import type { LeaseTerms, Wait } from '../api/ports.js'
import type { Statement, StatementCall } from '../api/statement.js'
import type { Subscription } from '../api/subscription.js'
import type { Backend } from '../backend/backend.js'
import type { ConnectionPlans } from '../conninfo/plans.js'
import type { Lease } from '../lease/lease.js'
import type { SessionOwner } from '../listen/session-owner.js'
import type { ResolvedOptions } from '../options.js'
import type { RequestOwner } from '../pipeline/request-owner.js'
import type { Request } from '../pipeline/request.js'

/** Before a function has said whom to connect to. */
const UNKNOWN_PLAN = { hosts: [{ host: 'unknown', hostaddr: '', port: 0 }], user: '', database: '' } as const

export class LocalBroker implements Broker, SessionOwner {
  readonly options: FaceOptions
  readonly dispatcher: Dispatcher
  readonly #plans: ConnectionPlans
  readonly #oneShots: OneShots

  constructor(plans: ConnectionPlans, options: ResolvedOptions, events: EventSink) {
    this.#plans = plans
    const { autocommit, acquireTimeoutMillis, reconnectTimeoutMillis, statementTimeoutMillis } = options
    const { groupCommit, verifyCommit, traceValues } = options
    const traceHolders = options.traceHolders || options.holdWarningMillis > 0
    const revokes = options.maxHoldMillis > 0
    const waits = { acquireTimeoutMillis, reconnectTimeoutMillis, statementTimeoutMillis, revokes }
    this.options = { autocommit, groupCommit, verifyCommit, traceValues, traceHolders, ...waits }
    this.dispatcher = new Dispatcher(() => plans.next(), options, events, new SessionUsers(this, options))
    this.#oneShots = new OneShots(this.dispatcher)
  }

  get ending(): boolean {
    return this.dispatcher.ending.begun
  }

  get backend(): Backend | null {
    return this.dispatcher.backend
  }

  get held(): boolean {
    return this.dispatcher.holder !== null
  }

  get status(): TransactionStatus | null {
    const { backend } = this
    if (backend === null) return null
    return backend.pipeline.pending > 0 ? 'active' : backend.pipeline.status
  }

  get stats(): ManagerStats {
    const { backend } = this
    const { holder, queue, counters, life, commits } = this.dispatcher
    const time = now()
    const first = queue.first as BrokerWaiter | null
    return Object.freeze({
      held: holder !== null,
      heldMillis: holder === null ? null : Math.round(time - holder.grantedAt),
      holderLabel: holder?.label ?? null,
      statement: this.dispatcher.statement,
      waiting: queue.length,
      longestWaitMillis: first?.waitedMillis ?? null,
      inFlight: backend?.pipeline.pending ?? 0,
      processID: backend?.processID ?? null,
      connectedMillis: backend === null ? null : Math.round(time - backend.openedAt),
      prepared: backend?.pipeline.prepared.size ?? 0,
      connects: life.keeper.openings,
      reconnects: Math.max(0, life.keeper.openings - 1),
      ...counters,
      rollbacksByReason: Object.freeze({ ...counters.rollbacksByReason }),
      flushes: commits.flushes.count,
      ...commits.counters,
    })
  }

  /** The live server, else the first that would be tried. */
  get facts(): ConnectionFacts {
    const { hosts, user, database } = this.#plans.known ?? UNKNOWN_PLAN
    const [first] = hosts
    const planned = { host: first.host || first.hostaddr || 'localhost', port: first.port, processID: null }
    const { host, port, processID } = this.backend?.client ?? planned
    const { idleTimeoutMillis, maxLifetimeMillis } = this.dispatcher.options
    return { host, port, user, database, processID, idleTimeoutMillis, maxLifetimeMillis }
  }

  // ---- leases

  acquire<T>(terms: LeaseTerms, wait: Wait, receive: (lease: Lease) => T): Promise<T> {
    const waiter = this.createWaiter(terms, wait, receive)
    const { promise } = waiter
    this.dispatcher.ask(waiter, wait)
    return promise
  }

  /** Makes one who waits for a lease, whose asker wants more of it than its promise. */
  createWaiter<T>(terms: LeaseTerms, wait: Wait, receive: (lease: Lease) => T): LeaseWaiter<T> {
    return new LeaseWaiter<T>(this.dispatcher, { terms, receive, wait })
  }

  async tryAcquire<T>(terms: LeaseTerms, wait: Wait, receive: (lease: Lease) => T): Promise<T | null> {
    return this.dispatcher.free ? this.acquire(terms, wait, receive) : null
  }

  // ---- one-shots

  query(call: StatementCall, wait: Wait): Promise<QueryResult> {
    if (this.takesTurn(call)) return this.#queryInTurn(call, wait)
    return this.#ask(this.createQuery(call, wait, false), wait)
  }

  /** It has settings, and may not commit as a whole: it needs a BEGIN before it and a COMMIT behind. */
  takesTurn({ settings, text: { kind, inParts, begins } }: StatementCall): boolean {
    // A BEGIN alone does nothing that they have a say in, and is refused as it is without them.
    if (settings === null || (kind === 'control' && begins)) return false
    return (kind !== 'plain' && kind !== 'other') || inParts
  }

  /** One that may not be sent as a transaction by itself has one around it. */
  #queryInTurn(call: StatementCall, wait: Wait): Promise<QueryResult> {
    const terms = { ...OWNED, settings: call.settings }
    return this.acquire(terms, wait, (lease) => runAlone(lease, { ...call, settings: null })).then(itself)
  }

  batch(calls: readonly StatementCall[], terms: BatchTerms, wait: Wait): Promise<QueryResult[]> {
    const { begin, commitment, settings } = terms
    if (commitment === null) return this.#ask(this.createBatch(calls, terms, wait, false), wait)
    const turn = { ...OWNED, begin: begin ?? OWNED.begin, commitment, settings }
    const limits = { timeoutMillis: this.options.statementTimeoutMillis, signal: wait.signal }
    return this.acquire(turn, wait, (lease) => runBatch(lease, calls, limits)).then(itself)
  }

  sendInLine<T>(create: (owner: RequestOwner) => Request, wait: Wait): Promise<T> {
    const oneShot: OneShot<RequestOwner> = { call: this.#oneShots, pipelining: 'exclusive', create }
    return this.#ask(new OneShotWaiter(this.dispatcher, oneShot, wait), wait)
  }

  #ask<C, T>(waiter: OneShotWaiter<C, T>, wait: Wait): Promise<T> {
    const answered = waiter.ask()
    this.dispatcher.ask(waiter, wait)
    return answered
  }

  /** Makes a one-shot; where it is `abandonable` its asker may do that. */
  createQuery(
    call: StatementCall,
    wait: Wait,
    abandonable = true,
  ): OneShotWaiter<StatementCall, QueryResult> {
    return new OneShotWaiter(this.dispatcher, this.#oneShots.query(call), wait, abandonable)
  }

  createBatch(
    calls: readonly StatementCall[],
    terms: BatchTerms,
    wait: Wait,
    abandonable = true,
  ): OneShotWaiter<readonly Statement[], QueryResult[]> {
    const oneShot = this.#oneShots.batch(calls, terms, wait.signal)
    return new OneShotWaiter(this.dispatcher, oneShot, wait, abandonable)
  }

  // ---- subscriptions and leaders

  listen(channel: string, maxBuffered: number, wait: Wait): Promise<Subscription> {
    return this.dispatcher.users.subscriptions.add(channel, maxBuffered, wait)
  }

  lead(name: string, retryMillis: number, signal: AbortSignal | undefined): Promise<Leadership> {
    return this.dispatcher.users.leaders.stand(name, retryMillis, signal)
  }

  open(): Promise<void> {
    return this.dispatcher.life.open()
  }

  onUnused(): void {
    this.dispatcher.advance()
  }

  onBackgroundError(error: Error): void {
    const { events } = this.dispatcher
    if (events.listens('error')) events.tell('error', error)
  }

  // ---- closing

  connect(wait: Wait): Promise<void> {
    return this.dispatcher.connect(wait)
  }

  close(): Promise<void> {
    return this.dispatcher.life.close()
  }

  end(timeoutMillis: number): Promise<void> {
    const { leaders } = this.dispatcher.users
    const ended = this.dispatcher.end(timeoutMillis, async () => {
      this.dispatcher.users.subscriptions.end()
      await this.dispatcher.life.end()
      this.dispatcher.deadlines.clear()
    })
    leaders.end()
    return ended
  }
}

/** What a lease comes to, once that is known. */
function itself<T>(value: T): T {
  return value
}
