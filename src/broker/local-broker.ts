/**
 * Decides who speaks next. One line for holders, one-shots and batches, strictly in order of asking; one holder
 * at a time has the floor; one-shots are sent behind each other while nobody has it.
 *
 * The floor is either free or taken by one turn. It is taken by `#grant` alone and freed by `handOver` alone, so
 * that nothing that fails (a connect, a BEGIN, a COMMIT, a rollback) can lose it. `#advance` is called whenever
 * something may have made room: an answer, a hand-over, an opening, a loss, a newcomer.
 */
import { AcquireTimeoutError, ConnectError, ManagerEndedError, TooManyWaitingError } from '../errors.js'
import { ControlRequest } from '../pipeline/control-request.js'
import { QueryRequest } from '../pipeline/query-request.js'
import { ownStatement } from '../pipeline/statement-part.js'
import { ResetRequest } from '../backend/reset.js'
import { AbandonedOpeningError, BackendKeeper } from '../backend/backend-keeper.js'
import { Subscriptions } from '../listen/subscriptions.js'
import { reasonOf } from '../util/abort-signals.js'
import { clock, now } from '../util/clock.js'
import { Deadlines } from '../util/deadlines.js'
import { timerFor } from '../util/timer.js'
import { controlLimits } from '../lease/control-limits.js'
import { runInScope, createScope } from '../lease/holder-context.js'
import { Heartbeat } from '../listen/heartbeat.js'
import { HoldWatch } from '../lease/hold-watch.js'
import { Idleness } from './idleness.js'
import { WaitQueue } from './wait-queue.js'
import { LeaseWaiter, OneShotWaiter } from './waiters.js'
import { OneShots } from './one-shots.js'
import { Lease } from '../lease/lease.js'
import type { Client, QueryResult } from 'pg'
import type { ConnectPlan } from '../conninfo/plan.js'
import type { HoldTimeoutError } from '../errors.js'
import type { ManagedConnectionEvents, NoticeEvent, RollbackEvent } from '../events.js'
import type { Request } from '../pipeline/request.js'
import type { ResolvedOptions } from '../options.js'
import type { Backend, Unanswered } from '../backend/backend.js'
import type { KeeperHost } from '../backend/backend-keeper.js'
import type { SubscriptionHost } from '../listen/subscriptions.js'
import type { ControlLimits } from '../lease/control-limits.js'
import type { JoinOptions, Waiter } from './wait-queue.js'
import type { OneShotHost } from './one-shots.js'
import type { OneShot, BrokerWaiter, WaiterHost } from './waiters.js'
import type { LeaseHost, LeaseTerms } from '../lease/lease.js'

/** Tells a listener of the manager's. */
export type Tell = <K extends keyof ManagedConnectionEvents>(
  event: K,
  ...args: ManagedConnectionEvents[K]
) => void

/** Where the broker reports to. */
export interface BrokerHost {
  /** The manager, as the key of its holders' scopes. */
  readonly manager: object
  readonly tell: Tell
  listens(event: keyof ManagedConnectionEvents): boolean
  /** The hold of `turn` has timed out: its holder is to be told, and its backend tidied up. */
  onHoldTimeout(turn: Lease, error: HoldTimeoutError): void
}

/** A waiter on its way into the line that somebody wants to know. */
interface WatchedAsk {
  readonly stack: string | null
  waiter: BrokerWaiter | null
}

/** How many of each thing has happened. */
export interface Counters {
  acquires: number
  releases: number
  rollbacks: number
  timeouts: number
  disconnects: number
}

export class LocalBroker implements KeeperHost, LeaseHost, OneShotHost, WaiterHost, SubscriptionHost {
  readonly deadlines = new Deadlines()
  readonly keeper: BackendKeeper
  readonly options: ResolvedOptions
  readonly limits: ControlLimits
  readonly oneShots = new OneShots(this)
  readonly counters: Counters = { acquires: 0, releases: 0, rollbacks: 0, timeouts: 0, disconnects: 0 }
  readonly subscriptions = new Subscriptions(this)
  readonly #line = new WaitQueue<Backend>(this.deadlines)
  readonly #host: BrokerHost
  readonly #idleness: Idleness
  readonly #heartbeat: Heartbeat
  #floor: Lease | null = null
  #floorStack: string | null = null
  #holdWatch: HoldWatch | null = null
  #closing: Deferred | null = null
  /** Of no use any more: closed at the next boundary. */
  #retired: Backend | null = null
  /** It has refused a write: whether it is a primary still is asked at the next boundary. */
  #doubted: Backend | null = null
  /** The backend is being checked before anyone gets it. */
  #validating = false
  #ended: Promise<void> | null = null
  #drained: (() => void) | null = null
  /** The time of `end()` is over: nothing is opened any more. */
  #abandoned = false
  #whenEnded: (() => void)[] = []
  #watched: WatchedAsk | null = null
  /** Set while listeners' or waiters' reactions could enter `#advance` again. */
  #advancing = false

  constructor(plan: () => ConnectPlan, options: ResolvedOptions, host: BrokerHost) {
    this.options = options
    this.limits = controlLimits(options)
    this.#idleness = new Idleness(options, () => void this.#close())
    this.#host = host
    this.keeper = new BackendKeeper(plan, options, this)
    this.#heartbeat = new Heartbeat(options.heartbeatMillis, () => this.backend)
  }

  get backend(): Backend | null {
    return this.keeper.backend
  }

  get holder(): Lease | null {
    return this.#floor
  }

  get waiting(): number {
    return this.#line.length
  }

  get ending(): boolean {
    return this.#ended !== null
  }

  /** Nobody has the floor, waits, or is unanswered. */
  get free(): boolean {
    return (
      this.#floor === null &&
      this.#line.length === 0 &&
      !this.#validating &&
      (this.backend?.pending ?? 0) === 0
    )
  }

  // ---- asking

  /** Asks for a turn. Resolves with what `receive` makes of it, at the moment that it is granted. */
  acquire<T>(options: LeaseTerms, join: JoinOptions, receive: (turn: Lease) => T): Promise<T> {
    const stack = this.#traces ? (this.#watched?.stack ?? holderStack()) : null
    const waiter = new LeaseWaiter<T>(this, { options, stack, receive, timeoutMillis: join.timeoutMillis })
    const { promise } = waiter
    this.#ask(waiter, join)
    return promise
  }

  /**
   * Runs `ask`, which asks for something once. Gives the waiter, and has `stack` for the place where it was asked,
   * where that was in another thread.
   */
  watchAsk(stack: string | null, ask: () => void): BrokerWaiter | null {
    const watched: WatchedAsk = { stack, waiter: null }
    this.#watched = watched
    try {
      ask()
    } finally {
      this.#watched = null
    }
    return watched.waiter
  }

  /** The first in line. */
  get first(): Waiter<Backend> | null {
    return this.#line.first
  }

  get #traces(): boolean {
    return this.options.traceHolders || this.options.holdWarningMillis > 0
  }

  /** Asks for a one-shot to be sent in its turn. Resolves with what its request gives. */
  send<C, T>(oneShot: OneShot<C>, join: JoinOptions): Promise<T> {
    // What follows it is a reset, and nobody's statement before that.
    const pipelining = this.options.reset === 'session' ? 'exclusive' : oneShot.pipelining
    const waiter = new OneShotWaiter<C, T>(this, oneShot, pipelining, join.timeoutMillis)
    const { promise } = waiter
    this.#ask(waiter, join)
    return promise
  }

  #ask(waiter: BrokerWaiter, join: JoinOptions): void {
    if (this.#watched !== null) this.#watched.waiter = waiter.keepUnit()
    const refusal = this.#refusal(join)
    if (refusal !== null) return waiter.fail(refusal.reason)
    if (this.#floor === null && this.#line.length === 0) {
      const backend = this.#readySession()
      if (backend !== null && waiter.fits(backend)) return waiter.serve(backend)
      if (backend === null) return this.#wait(waiter, join, Infinity)
    }
    if (join.timeoutMillis === 0) return waiter.fail(waiter.timedOut())
    if (this.#line.length >= this.options.maxWaiting && join.unbounded !== true) {
      return waiter.fail(new TooManyWaitingError({ maxWaiting: this.options.maxWaiting }))
    }
    this.#wait(waiter, join, join.timeoutMillis)
  }

  #refusal(join: JoinOptions): { reason: unknown } | null {
    if (this.ending) return { reason: new ManagerEndedError() }
    return join.signal?.aborted === true ? { reason: reasonOf(join.signal) } : null
  }

  /** With nobody ahead a limit of 0, which is about waiting in line, leaves time for connecting. */
  #wait(waiter: BrokerWaiter, join: JoinOptions, ifZero: number): void {
    const timeoutMillis = join.timeoutMillis === 0 ? ifZero : join.timeoutMillis
    this.#line.join(waiter, { timeoutMillis, signal: join.signal })
    this.#advance()
  }

  onLeft(): void {
    if (this.#line.length === 0 && this.#floor === null) this.#rest()
  }

  timedOut(timeoutMillis: number): AcquireTimeoutError {
    this.counters.timeouts++
    const heldMillis = this.#floor === null ? null : Math.round(now() - this.#floor.grantedAt)
    return new AcquireTimeoutError({
      timeoutMillis,
      waiting: this.#line.length,
      heldMillis,
      holder: heldMillis === null ? this.#whyNobody() : `held for ${heldMillis}ms`,
      holderStack: this.#floorStack,
    })
  }

  #whyNobody(): string {
    if (this.keeper.opening) return 'still connecting'
    return this.#validating ? 'still checking the connection' : 'held by queries that are not answered yet'
  }

  // ---- granting

  #advance(): void {
    if (this.#advancing) return
    this.#advancing = true
    try {
      while (this.#step()) {
        // One waiter a step.
      }
    } finally {
      this.#advancing = false
    }
  }

  /** Serves the first in line, if it can be served now. */
  #step(): boolean {
    if (this.#floor !== null) return false
    if (this.#closing !== null && !this.#closeNow()) return false
    const first = this.#line.first
    if (first === null) {
      this.#rest()
      return false
    }
    const backend = this.#readySession()
    if (backend === null || !(first as BrokerWaiter).fits(backend)) return false
    // A waiter whose time had passed declines, and has left the line: either way the next is asked.
    first.grant(backend, now())
    return true
  }

  /** Gives the floor. */
  grant(backend: Backend, options: LeaseTerms, stack: string | null, waitedMillis: number): Lease {
    if (this.#floor !== null) throw new Error('BUG: the floor was given to two')
    const turn = new Lease(backend, options, this)
    this.#floor = turn
    this.#floorStack = stack
    this.counters.acquires++
    const { holdWarningMillis, maxHoldMillis } = this.options
    if (holdWarningMillis > 0 || maxHoldMillis > 0) this.#holdWatch = this.#watch(turn, stack)
    if (this.#host.listens('acquire')) {
      this.#host.tell('acquire', { waitedMillis })
    }
    return turn
  }

  #watch(turn: Lease, stack: string | null): HoldWatch {
    return new HoldWatch(turn, stack, this.options, {
      deadlines: this.deadlines,
      onWarning: (event) => this.#host.tell('holdWarning', event),
      onTimeout: (late, error) => this.#host.onHoldTimeout(late, error),
    })
  }

  /** The turn is over: the next in line is served. Only the present holder's turn can be handed on. */
  passOn(turn: Lease): void {
    if (this.#floor !== turn) return
    this.#holdWatch?.stop()
    this.#holdWatch = null
    this.#floor = null
    this.#floorStack = null
    this.counters.releases++
    turn.finish()
    if (turn.used) this.#tidySession()
    if (this.#host.listens('release')) {
      this.#host.tell('release', { heldMillis: now() - turn.grantedAt })
    }
    this.#advance()
  }

  /** Should the turn be over without having been handed on, nobody knows what is open on its backend. */
  rescue(turn: Lease): void {
    if (this.#floor !== turn) return
    this.backend?.lose(new Error('BUG: a turn ended without being settled'))
    this.passOn(turn)
  }

  /** Goes along with whatever was sent last; nothing that could not be sent again follows until it is answered. */
  #tidySession(): void {
    const { backend } = this
    if (backend === null) return
    if (backend.garbled) backend.submit(new ResetRequest(backend, RESTORE_ENCODING))
    if (this.options.reset !== 'session') return
    const reset = new ResetRequest(backend, this.keeper.resetText)
    reset.limitMillis = this.limits.rollback
    backend.submit(reset)
  }

  // ---- the backend

  /** The backend, where the next in line may have it now; null while something has to be done first. */
  #readySession(): Backend | null {
    const { backend } = this
    if (this.#validating || this.#closing !== null) return null
    if (backend === null) {
      this.#open()
      return null
    }
    if (this.#isDue(backend)) {
      if (backend.pending === 0) void this.#close()
      return null
    }
    // Nobody gets a backend that is in doubt, and so it is soon unused.
    if (this.#doubted === backend && backend.pending > 0) return null
    if (backend.pending === 0) {
      const check = this.#checkFor(backend)
      if (check !== null) {
        void this.#validate(backend, check)
        return null
      }
    }
    return backend
  }

  #isDue(backend: Backend): boolean {
    const { maxLifetimeMillis } = this.options
    if (this.#retired === backend) return true
    return maxLifetimeMillis > 0 && now() - backend.openedAt > maxLifetimeMillis
  }

  /** The backend is to be replaced before anyone else gets it. */
  get replacementDue(): boolean {
    return this.#closing !== null || (this.backend !== null && this.#isDue(this.backend))
  }

  /** What has to be looked at before an unused backend is handed out; null where it was used a moment ago. */
  #checkFor(backend: Backend): ((backend: Backend) => Promise<void>) | null {
    if (this.#doubted === backend) return this.#askWhetherWritable
    const { millis } = this.#idleness
    if (millis > this.options.validateAfterIdleMillis) return this.keeper.validate
    return millis > LOOK_AFTER_IDLE_MILLIS ? lookAtSocket : null
  }

  async #validate(backend: Backend, check: (backend: Backend) => Promise<void>): Promise<void> {
    this.#validating = true
    this.wake(backend)
    try {
      await check(backend)
    } catch {
      // It is lost then, and the next in line has a new one opened.
    }
    this.#validating = false
    this.#advance()
  }

  readonly #askWhetherWritable = async (backend: Backend): Promise<void> => {
    this.#doubted = null
    if (!(await this.keeper.isAsWanted(backend))) this.#retired = backend
  }

  #open(): void {
    if (this.keeper.opening) return
    this.keeper.open().catch((error: unknown) => this.#onOpenFailed(error as Error))
  }

  #onOpenFailed(error: Error): void {
    if (error instanceof AbandonedOpeningError) return this.#advance()
    this.#line.rejectAll(() => freshError(error))
    this.#advance()
  }

  reopen(turn: Lease): void {
    if (this.#abandoned) return turn.giveUp(new ManagerEndedError())
    this.keeper.open().then(
      (backend) => turn.awaitsSession && turn.resume(backend),
      (error: Error) => {
        if (turn.awaitsSession) turn.giveUp(error)
        this.#onOpenFailed(error)
      },
    )
  }

  wake(backend: Backend): void {
    this.#idleness.end(backend)
  }

  /** Nobody wants anything. */
  #rest(): void {
    const { backend } = this
    if (backend === null) {
      if (this.keeper.opening && (this.ending || this.subscriptions.size === 0)) this.keeper.abortOpening()
    } else if (backend.pending > 0 || this.#validating) return
    else this.#lieIdle(backend)
    if (this.#drained !== null && !this.keeper.opening) this.#drained()
  }

  #lieIdle(backend: Backend): void {
    if (this.#isDue(backend)) return void this.#close()
    // A subscription keeps the connection, and with it the process.
    this.#idleness.begin(backend, this.subscriptions.size > 0)
  }

  // ---- closing and ending

  /** Closes the connection after the present holder; the next use opens it again. */
  close(): Promise<void> {
    this.#closing ??= new Deferred()
    const { promise } = this.#closing
    this.#advance()
    return promise
  }

  /** Sees to a `close()` at a boundary; false while it is under way. */
  #closeNow(): boolean {
    const { backend } = this
    if (backend !== null && backend.pending > 0) return false
    if (backend !== null || this.keeper.closing) {
      void this.#close()
      return false
    }
    this.#closing?.resolve()
    this.#closing = null
    return true
  }

  async #close(): Promise<void> {
    const { backend } = this
    this.#retired = null
    this.#idleness.forget()
    await this.keeper.close()
    if (backend !== null) this.#onDisconnected()
    this.#advance()
  }

  /** Refuses new work, serves who waits, closes. After `timeoutMillis` it does not wait any longer. */
  end(timeoutMillis: number): Promise<void> {
    this.#ended ??= this.#end(timeoutMillis)
    return this.#ended
  }

  async #end(timeoutMillis: number): Promise<void> {
    const drained = new Promise<void>((resolve) => {
      this.#drained = resolve
    })
    const timer = timerFor(timeoutMillis, () => void this.#abandonAll())
    // Not at once: `#ended` is set when this function first waits, and refuses newcomers from then on.
    clock.queueMicrotask(() => this.#advance())
    await drained
    timer?.stop()
    this.subscriptions.end()
    await this.#close()
    this.#closing?.resolve()
    this.#closing = null
    this.#idleness.stop()
    this.#heartbeat.stop()
    this.deadlines.clear()
    for (const tell of this.#whenEnded) tell()
  }

  /** Calls `ended` at the very end. */
  onEnded(ended: () => void): void {
    this.#whenEnded.push(ended)
  }

  async #abandonAll(): Promise<void> {
    this.#abandoned = true
    this.#line.rejectAll(() => new ManagerEndedError())
    this.keeper.abortOpening()
    await this.backend?.abandon(new ManagerEndedError())
    this.#drained?.()
  }

  // ---- what the backend, the keeper and the one-shots tell

  onOpened(backend: Backend, openedMillis: number): void {
    this.#idleness.forget()
    const reconnected = this.keeper.openings > 1
    this.#host.tell('connect', { processID: backend.processID, reconnected, openedMillis })
    this.subscriptions.onSessionOpened()
    // Whoever had it opened is served first: their promise settles before this one's.
    clock.queueMicrotask(() => this.#advance())
  }

  onReady(): void {
    if (this.#floor === null) this.#advance()
  }

  onLost(backend: Backend, cause: Error, { sent, unsent }: Unanswered): void {
    if (this.backend !== backend) return
    this.keeper.forget(backend)
    this.#retired = null
    this.#idleness.forget()
    const floor = this.#floor?.backend === backend ? this.#floor : null
    for (const request of [...sent, ...unsent])
      if (request.owner !== floor) request.owner.onLost(request, cause)
    const ofFloor = (request: Request): boolean => request.owner === floor
    floor?.sessionLost(cause, sent.filter(ofFloor), unsent.filter(ofFloor))
    this.#onDisconnected(cause)
    this.#advance()
  }

  #onDisconnected(error?: Error): void {
    this.counters.disconnects++
    this.subscriptions.onSessionGone()
    if (error === undefined) this.#host.tell('disconnect')
    else this.#host.tell('disconnect', error)
  }

  onNotice(notice: NoticeEvent): void {
    this.#host.tell('notice', notice)
  }

  onNotification(message: { channel: string; payload?: string | undefined; processId: number }): void {
    this.subscriptions.deliver(message)
  }

  onListensDoubted(): void {
    this.subscriptions.onDoubted()
  }

  /** One-shots that are on their way behind whatever did it are somebody else's, and would be stored as they are read. */
  onGarbled(backend: Backend): void {
    if (this.#floor === null && backend.inFlight > 1) {
      backend.lose(new Error('client_encoding was changed, but pg writes and reads UTF8 only'))
    }
  }

  onWriteRefused(backend: Backend): void {
    if (this.keeper.wantsWritable) this.#doubted = backend
  }

  prepare(client: Client): Promise<void> {
    return this.subscriptions.listenAgain(client)
  }

  /** Sends a query of the library's own in its turn, as a one-shot. */
  askInLine(text: string, onSent: () => void): Promise<QueryResult> {
    const create = (): QueryRequest => {
      onSent()
      return new QueryRequest(this.oneShots, ownStatement(text))
    }
    return this.send(
      { call: null, pipelining: 'exclusive', create },
      { timeoutMillis: Infinity, unbounded: true },
    )
  }

  sendInLine(text: string, join: JoinOptions, onSent?: () => void): Promise<unknown> {
    const create = (): ControlRequest => {
      onSent?.()
      const request = new ControlRequest(this.oneShots, text, true)
      request.pipelining = 'exclusive'
      request.limitMillis = this.limits.statement
      return request
    }
    return this.send({ call: null, pipelining: 'exclusive', create }, join)
  }

  async open(): Promise<void> {
    try {
      await this.keeper.open()
    } catch (error) {
      this.#onOpenFailed(error as Error)
      throw error
    }
  }

  onBackgroundError(error: Error): void {
    if (this.#host.listens('error')) this.#host.tell('error', error)
  }

  onSubscribed(): void {
    this.#heartbeat.start()
  }

  onUnsubscribed(): void {
    this.#heartbeat.stop()
    this.#advance()
  }

  runOnConnect(work: () => Promise<void>): Promise<void> {
    const scope = createScope(this.#host.manager, 'onConnect')
    return runInScope(scope, work).finally(() => {
      scope.settled = true
    })
  }

  onRollback(event: RollbackEvent): void {
    this.counters.rollbacks++
    this.#host.tell('rollback', event)
  }

  onDone(): void {
    this.#tidySession()
  }
}

/** What pg writes and reads, whatever a holder has set. */
const RESTORE_ENCODING = "SET client_encoding TO 'UTF8'"

/** A connection unused for longer is looked at before it is handed out: its end may lie in the socket, unread. */
const LOOK_AFTER_IDLE_MILLIS = 20

/** Waits until what lies in the sockets has been read. */
function lookAtSocket(): Promise<void> {
  return new Promise((resolve) => clock.setImmediate(resolve))
}

class Deferred {
  resolve!: () => void
  readonly promise = new Promise<void>((resolve) => {
    this.resolve = resolve
  })
}

/** Each waiter gets an error of its own: a shared one would carry somebody else's stack. */
function freshError(error: Error): Error {
  return error instanceof ConnectError
    ? new ConnectError(error.message, { errors: [...error.errors], cause: error.cause })
    : new ConnectError(error.message, { errors: [error] })
}

/** Where the holder asked, without this library's own frames. */
function holderStack(): string {
  const frames = (new Error('acquired').stack ?? '').split('\n').slice(1)
  const own = new URL('..', import.meta.url)
  return frames.filter((frame) => !frame.includes(own.href) && !frame.includes(own.pathname)).join('\n')
}
