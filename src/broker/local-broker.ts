/** The broker over a wait queue and a backend of its own. */
import { BackendKeeper } from '../backend/backend-keeper.js'
import { Heartbeat } from '../listen/heartbeat.js'
import { Subscriptions, type SubscriptionOwner } from '../listen/subscriptions.js'
import { ControlRequest } from '../pipeline/control-request.js'
import { QueryRequest } from '../pipeline/query-request.js'
import { ownStatement } from '../pipeline/statement-part.js'
import { TRAITS, type RequestTraits } from '../pipeline/request.js'
import { now } from '../util/clock.js'
import { BackendEvents } from './backend-events.js'
import { BackendLife } from './backend-life.js'
import { Dispatcher } from './dispatcher.js'
import { askersFrames } from './askers-frames.js'
import { OneShots } from './one-shots.js'
import { LeaseWaiter, OneShotWaiter, type OneShot } from './waiters.js'
import type { QueryResult } from 'pg'
import type { TransactionStatus } from '../api/connection.js'
import type { ConnectionFacts, ManagerStats } from '../api/manager.js'
import type { Broker, EventSink, FaceOptions, LeaseTerms, Wait } from '../api/ports.js'
import type { Statement, StatementCall } from '../api/statement.js'
import type { Subscription } from '../api/subscription.js'
import type { ConnectPlan } from '../conninfo/plan.js'
import type { Lease } from '../lease/lease.js'
import type { ResolvedOptions } from '../options.js'

export class LocalBroker implements Broker, SubscriptionOwner {
  readonly options: FaceOptions
  readonly dispatcher: Dispatcher
  readonly #resolved: ResolvedOptions
  readonly #planned: ConnectPlan
  readonly #keeper: BackendKeeper
  readonly #life: BackendLife
  readonly #events: EventSink
  readonly #oneShots: OneShots
  readonly #subscriptions = new Subscriptions(this)
  readonly #heartbeat: Heartbeat

  /**
   * @param planned what the connection string says now
   * @param plan the same, asked anew at each opening
   */
  constructor(planned: ConnectPlan, plan: () => ConnectPlan, options: ResolvedOptions, events: EventSink) {
    this.#planned = planned
    this.#resolved = options
    this.#events = events
    const { autocommit, acquireTimeoutMillis, statementTimeoutMillis, maxHoldMillis } = options
    const revokes = maxHoldMillis > 0
    this.options = { autocommit, acquireTimeoutMillis, statementTimeoutMillis, revokes }
    let keeper!: BackendKeeper
    let life!: BackendLife
    const createLife = (dispatcher: Dispatcher): BackendLife => {
      const news = new BackendEvents(
        dispatcher,
        () => life,
        () => this.#subscriptions,
        events,
      )
      keeper = new BackendKeeper(plan, options, news)
      life = new BackendLife(
        keeper,
        options,
        () => dispatcher.advance(),
        () => news.onGone(),
      )
      return life
    }
    this.dispatcher = new Dispatcher(options, events, createLife, () => this.#subscriptions.size > 0)
    this.#keeper = keeper
    this.#life = life
    this.#oneShots = new OneShots(this.dispatcher)
    this.#heartbeat = new Heartbeat(options.heartbeatMillis, () => this.#keeper.backend)
  }

  get ending(): boolean {
    return this.dispatcher.ending.begun
  }

  get status(): TransactionStatus | null {
    const { backend } = this.#keeper
    if (backend === null) return null
    return backend.pipeline.pending > 0 ? 'active' : backend.pipeline.status
  }

  get stats(): ManagerStats {
    const { holder, waiting, counters } = this.dispatcher
    const { backend, openings } = this.#keeper
    const time = now()
    return Object.freeze({
      held: holder !== null,
      heldMillis: holder === null ? null : Math.round(time - holder.grantedAt),
      waiting,
      inFlight: backend?.pipeline.pending ?? 0,
      processID: backend?.processID ?? null,
      connectedMillis: backend === null ? null : Math.round(time - backend.openedAt),
      prepared: backend?.pipeline.prepared.size ?? 0,
      connects: openings,
      ...counters,
    })
  }

  /** The live server, else the first that would be tried. */
  get facts(): ConnectionFacts {
    const { hosts, user, database } = this.#planned
    const [first] = hosts
    const planned = { host: first.host || first.hostaddr || 'localhost', port: first.port, processID: null }
    const { host, port, processID } = this.#keeper.backend?.client ?? planned
    const { idleTimeoutMillis, maxLifetimeMillis } = this.#resolved
    return { host, port, user, database, processID, idleTimeoutMillis, maxLifetimeMillis }
  }

  // ---- leases

  acquire<T>(terms: LeaseTerms, wait: Wait, receive: (lease: Lease) => T): Promise<T> {
    const waiter = this.createWaiter(terms, wait, receive, this.traces ? askersFrames() : null)
    const { promise } = waiter
    this.dispatcher.ask(waiter, wait)
    return promise
  }

  /** Makes one who waits for a lease, whose asker wants more of it than its promise. */
  createWaiter<T>(
    terms: LeaseTerms,
    { timeoutMillis }: Wait,
    receive: (lease: Lease) => T,
    stack: string | null,
  ): LeaseWaiter<T> {
    return new LeaseWaiter<T>(this.dispatcher, { terms, stack, receive, timeoutMillis })
  }

  /** It is remembered where leases are asked for. */
  get traces(): boolean {
    return this.#resolved.traceHolders || this.#resolved.holdWarningMillis > 0
  }

  async tryAcquire<T>(terms: LeaseTerms, wait: Wait, receive: (lease: Lease) => T): Promise<T | null> {
    return this.dispatcher.free ? this.acquire(terms, wait, receive) : null
  }

  // ---- one-shots

  query(call: StatementCall, wait: Wait): Promise<QueryResult> {
    return this.#send(this.#queryOf(call), wait)
  }

  batch(calls: readonly StatementCall[], begin: string | null, wait: Wait): Promise<QueryResult[]> {
    return this.#send(this.#batchOf(calls, begin, wait), wait)
  }

  #send<C, T>(oneShot: OneShot<C>, wait: Wait): Promise<T> {
    const waiter = new OneShotWaiter<C, T>(this.dispatcher, oneShot, wait.timeoutMillis)
    const answered = waiter.ask()
    this.dispatcher.ask(waiter, wait)
    return answered
  }

  /** Makes a one-shot that its asker may abandon. */
  createQuery(call: StatementCall, { timeoutMillis }: Wait): OneShotWaiter<StatementCall, QueryResult> {
    return new OneShotWaiter(this.dispatcher, this.#queryOf(call), timeoutMillis, true)
  }

  /** Makes a batch that its asker may abandon. */
  createBatch(
    calls: readonly StatementCall[],
    begin: string | null,
    wait: Wait,
  ): OneShotWaiter<readonly Statement[], QueryResult[]> {
    return new OneShotWaiter(this.dispatcher, this.#batchOf(calls, begin, wait), wait.timeoutMillis, true)
  }

  #queryOf(call: StatementCall): OneShot<StatementCall> {
    const shared = call.text.kind === 'plain' && !this.#resets
    return { call, pipelining: shared ? 'shared' : 'exclusive', create: this.#oneShots.createQuery }
  }

  /** Each result is of its own statement; the limits are those of the whole. */
  #batchOf(
    calls: readonly StatementCall[],
    begin: string | null,
    { signal }: Wait,
  ): OneShot<readonly Statement[]> {
    const limits = { timeoutMillis: this.options.statementTimeoutMillis, signal }
    return {
      call: calls.map(({ statement }) => statement),
      pipelining: begin === null && !this.#resets ? 'shared' : 'exclusive',
      create: (statements, exclusive) => this.#oneShots.createBatch(statements, begin, limits, exclusive),
    }
  }

  /** Each one-shot is followed by a reset, and no other statement may come in between. */
  get #resets(): boolean {
    return this.#resolved.reset === 'session'
  }

  // ---- subscriptions

  listen(channel: string, maxBuffered: number, wait: Wait): Promise<Subscription> {
    return this.#subscriptions.add(channel, maxBuffered, wait)
  }

  askInLine(text: string, onSent: () => void): Promise<QueryResult> {
    const create = (): QueryRequest => {
      onSent()
      return new QueryRequest(this.#oneShots, ownStatement(text), EXCLUSIVE)
    }
    const wait = { timeoutMillis: Infinity, unbounded: true }
    return this.#send({ call: null, pipelining: 'exclusive', create }, wait)
  }

  sendInLine(text: string, wait: Wait, onSent?: () => void): Promise<unknown> {
    const create = (): ControlRequest => {
      onSent?.()
      const limitMillis = this.#resolved.statementTimeoutMillis
      return new ControlRequest(this.#oneShots, text, { ...EXCLUSIVE, limitMillis }, true)
    }
    return this.#send({ call: null, pipelining: 'exclusive', create }, wait)
  }

  async open(): Promise<void> {
    try {
      await this.#life.open()
    } catch (error) {
      this.dispatcher.onOpenFailed(error as Error)
      throw error
    }
  }

  onSubscribed(): void {
    this.#heartbeat.start()
  }

  onUnsubscribed(): void {
    this.#heartbeat.stop()
    this.dispatcher.advance()
  }

  onBackgroundError(error: Error): void {
    if (this.#events.listens('error')) this.#events.tell('error', error)
  }

  // ---- closing

  close(): Promise<void> {
    return this.#life.close()
  }

  end(timeoutMillis: number): Promise<void> {
    return this.dispatcher.end(timeoutMillis, async () => {
      this.#subscriptions.end()
      await this.#life.end()
      this.#heartbeat.stop()
      this.dispatcher.deadlines.clear()
    })
  }
}

const EXCLUSIVE: RequestTraits = { ...TRAITS, pipelining: 'exclusive', repeatable: false }
