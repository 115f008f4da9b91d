/**
 * Decides who speaks next. One line for holders, one-shots and batches, strictly in order of asking; one holder
 * at a time has the floor; one-shots are sent behind each other while nobody has it.
 *
 * The floor is either free or taken by one turn. It is taken by `#grant` alone and freed by `handOver` alone, so
 * that nothing that fails (a connect, a BEGIN, a COMMIT, a rollback) can lose it. `#advance` is called whenever
 * something may have made room: an answer, a hand-over, an opening, a loss, a newcomer.
 */
import { AcquireTimeoutError, ConnectError, ManagerEndedError, TooManyWaitingError } from '../errors.js'
import { ControlUnit } from '../driver/control-unit.js'
import { QueryUnit } from '../driver/query-unit.js'
import { ownRequest } from '../driver/statement-part.js'
import { ResetUnit } from '../session/session-reset.js'
import { AbandonedOpeningError, SessionKeeper } from '../session/session-keeper.js'
import { Subscriptions } from '../session/subscriptions.js'
import { reasonOf } from '../util/abort-signals.js'
import { clock, now } from '../util/clock.js'
import { Deadlines } from '../util/deadlines.js'
import { timerFor } from '../util/timer.js'
import { controlLimits } from './control-limits.js'
import { runInScope, createScope } from './holder-context.js'
import { Heartbeat } from '../session/heartbeat.js'
import { HoldWatch } from './hold-watch.js'
import { Idleness } from './idleness.js'
import { Line } from './line.js'
import { TurnRequest, UnitRequest } from './requests.js'
import { OneShots } from './one-shots.js'
import { Turn } from './turn.js'
import type { Client, QueryResult } from 'pg'
import type { ConnectPlan } from '../conninfo/plan.js'
import type { HoldTimeoutError } from '../errors.js'
import type { ManagedConnectionEvents, NoticeEvent, RollbackEvent } from '../events.js'
import type { Unit } from '../driver/unit.js'
import type { ResolvedOptions } from '../options.js'
import type { Session, Unanswered } from '../session/session.js'
import type { KeeperHost } from '../session/session-keeper.js'
import type { SubscriptionHost } from '../session/subscriptions.js'
import type { ControlLimits } from './control-limits.js'
import type { JoinOptions, Waiter } from './line.js'
import type { OneShotHost } from './one-shots.js'
import type { OneShot, Request, RequestHost } from './requests.js'
import type { TurnHost, TurnOptions } from './turn.js'

/** Tells a listener of the manager's. */
export type Tell = <K extends keyof ManagedConnectionEvents>(
  event: K,
  ...args: ManagedConnectionEvents[K]
) => void

/** Where the scheduler reports to. */
export interface SchedulerHost {
  /** The manager, as the key of its holders' scopes. */
  readonly manager: object
  readonly tell: Tell
  listens(event: keyof ManagedConnectionEvents): boolean
  /** The hold of `turn` has timed out: its holder is to be told, and its session tidied up. */
  onHoldTimeout(turn: Turn, error: HoldTimeoutError): void
}

/** A request on its way into the line that somebody wants to know. */
interface WatchedAsk {
  readonly stack: string | null
  request: Request | null
}

/** How many of each thing has happened. */
export interface Counters {
  acquires: number
  releases: number
  rollbacks: number
  timeouts: number
  disconnects: number
}

export class Scheduler implements KeeperHost, TurnHost, OneShotHost, RequestHost, SubscriptionHost {
  readonly deadlines = new Deadlines()
  readonly keeper: SessionKeeper
  readonly options: ResolvedOptions
  readonly limits: ControlLimits
  readonly oneShots = new OneShots(this)
  readonly counters: Counters = { acquires: 0, releases: 0, rollbacks: 0, timeouts: 0, disconnects: 0 }
  readonly subscriptions = new Subscriptions(this)
  readonly #line = new Line<Session>(this.deadlines)
  readonly #host: SchedulerHost
  readonly #idleness: Idleness
  readonly #heartbeat: Heartbeat
  #floor: Turn | null = null
  #floorStack: string | null = null
  #holdWatch: HoldWatch | null = null
  #closeRequest: Deferred | null = null
  /** Of no use any more: closed at the next boundary. */
  #retired: Session | null = null
  /** It has refused a write: whether it is a primary still is asked at the next boundary. */
  #doubted: Session | null = null
  /** The session is being checked before anyone gets it. */
  #validating = false
  #ended: Promise<void> | null = null
  #drained: (() => void) | null = null
  /** The time of `end()` is over: nothing is opened any more. */
  #abandoned = false
  #whenEnded: (() => void)[] = []
  #watched: WatchedAsk | null = null
  /** Set while listeners' or waiters' reactions could enter `#advance` again. */
  #advancing = false

  constructor(plan: () => ConnectPlan, options: ResolvedOptions, host: SchedulerHost) {
    this.options = options
    this.limits = controlLimits(options)
    this.#idleness = new Idleness(options, () => void this.#close())
    this.#host = host
    this.keeper = new SessionKeeper(plan, options, this)
    this.#heartbeat = new Heartbeat(options.heartbeatMillis, () => this.session)
  }

  get session(): Session | null {
    return this.keeper.session
  }

  get floor(): Turn | null {
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
      (this.session?.pending ?? 0) === 0
    )
  }

  // ---- asking

  /** Asks for a turn. Resolves with what `receive` makes of it, at the moment that it is granted. */
  acquire<T>(options: TurnOptions, join: JoinOptions, receive: (turn: Turn) => T): Promise<T> {
    const stack = this.#traces ? (this.#watched?.stack ?? holderStack()) : null
    const request = new TurnRequest<T>(this, { options, stack, receive, timeoutMillis: join.timeoutMillis })
    const { promise } = request
    this.#ask(request, join)
    return promise
  }

  /**
   * Runs `ask`, which asks for something once. Gives the request, and has `stack` for the place where it was asked,
   * where that was in another thread.
   */
  watchAsk(stack: string | null, ask: () => void): Request | null {
    const watched: WatchedAsk = { stack, request: null }
    this.#watched = watched
    try {
      ask()
    } finally {
      this.#watched = null
    }
    return watched.request
  }

  /** The first in line. */
  get first(): Waiter<Session> | null {
    return this.#line.first
  }

  get #traces(): boolean {
    return this.options.traceHolders || this.options.holdWarningMillis > 0
  }

  /** Asks for a one-shot to be sent in its turn. Resolves with what its unit gives. */
  send<C, T>(oneShot: OneShot<C>, join: JoinOptions): Promise<T> {
    // What follows it is a reset, and nobody's statement before that.
    const travel = this.options.reset === 'session' ? 'alone' : oneShot.travel
    const request = new UnitRequest<C, T>(this, oneShot, travel, join.timeoutMillis)
    const { promise } = request
    this.#ask(request, join)
    return promise
  }

  #ask(request: Request, join: JoinOptions): void {
    if (this.#watched !== null) this.#watched.request = request.keepUnit()
    const refusal = this.#refusal(join)
    if (refusal !== null) return request.fail(refusal.reason)
    if (this.#floor === null && this.#line.length === 0) {
      const session = this.#readySession()
      if (session !== null && request.fits(session)) return request.serve(session)
      if (session === null) return this.#wait(request, join, Infinity)
    }
    if (join.timeoutMillis === 0) return request.fail(request.timedOut())
    if (this.#line.length >= this.options.maxWaiting && join.unbounded !== true) {
      return request.fail(new TooManyWaitingError({ maxWaiting: this.options.maxWaiting }))
    }
    this.#wait(request, join, join.timeoutMillis)
  }

  #refusal(join: JoinOptions): { reason: unknown } | null {
    if (this.ending) return { reason: new ManagerEndedError() }
    return join.signal?.aborted === true ? { reason: reasonOf(join.signal) } : null
  }

  /** With nobody ahead a limit of 0, which is about waiting in line, leaves time for connecting. */
  #wait(request: Request, join: JoinOptions, ifZero: number): void {
    const timeoutMillis = join.timeoutMillis === 0 ? ifZero : join.timeoutMillis
    this.#line.join(request, { timeoutMillis, signal: join.signal })
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
    if (this.#closeRequest !== null && !this.#closeNow()) return false
    const first = this.#line.first
    if (first === null) {
      this.#rest()
      return false
    }
    const session = this.#readySession()
    if (session === null || !(first as Request).fits(session)) return false
    // A waiter whose time had passed declines, and has left the line: either way the next is asked.
    first.grant(session, now())
    return true
  }

  /** Gives the floor. */
  takeFloor(session: Session, options: TurnOptions, stack: string | null, waitedMillis: number): Turn {
    if (this.#floor !== null) throw new Error('BUG: the floor was given to two')
    const turn = new Turn(session, options, this)
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

  #watch(turn: Turn, stack: string | null): HoldWatch {
    return new HoldWatch(turn, stack, this.options, {
      deadlines: this.deadlines,
      onWarning: (event) => this.#host.tell('holdWarning', event),
      onTimeout: (late, error) => this.#host.onHoldTimeout(late, error),
    })
  }

  /** The turn is over: the next in line is served. Only the present holder's turn can be handed on. */
  handOver(turn: Turn): void {
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

  /** Should the turn be over without having been handed on, nobody knows what is open on its session. */
  rescue(turn: Turn): void {
    if (this.#floor !== turn) return
    this.session?.lose(new Error('BUG: a turn ended without being settled'))
    this.handOver(turn)
  }

  /** Goes along with whatever was sent last; nothing that could not be sent again follows until it is answered. */
  #tidySession(): void {
    const { session } = this
    if (session === null) return
    if (session.garbled) session.submit(new ResetUnit(session, RESTORE_ENCODING))
    if (this.options.reset !== 'session') return
    const reset = new ResetUnit(session, this.keeper.resetText)
    reset.limitMillis = this.limits.rollback
    session.submit(reset)
  }

  // ---- the session

  /** The session, where the next in line may have it now; null while something has to be done first. */
  #readySession(): Session | null {
    const { session } = this
    if (this.#validating || this.#closeRequest !== null) return null
    if (session === null) {
      this.#open()
      return null
    }
    if (this.#isDue(session)) {
      if (session.pending === 0) void this.#close()
      return null
    }
    // Nobody gets a session that is in doubt, and so it is soon unused.
    if (this.#doubted === session && session.pending > 0) return null
    if (session.pending === 0) {
      const check = this.#checkFor(session)
      if (check !== null) {
        void this.#validate(session, check)
        return null
      }
    }
    return session
  }

  #isDue(session: Session): boolean {
    const { maxLifetimeMillis } = this.options
    if (this.#retired === session) return true
    return maxLifetimeMillis > 0 && now() - session.openedAt > maxLifetimeMillis
  }

  /** The session is to be replaced before anyone else gets it. */
  get replacementDue(): boolean {
    return this.#closeRequest !== null || (this.session !== null && this.#isDue(this.session))
  }

  /** What has to be looked at before an unused session is handed out; null where it was used a moment ago. */
  #checkFor(session: Session): ((session: Session) => Promise<void>) | null {
    if (this.#doubted === session) return this.#askWhetherWritable
    const { millis } = this.#idleness
    if (millis > this.options.validateAfterIdleMillis) return this.keeper.validate
    return millis > LOOK_AFTER_IDLE_MILLIS ? lookAtSocket : null
  }

  async #validate(session: Session, check: (session: Session) => Promise<void>): Promise<void> {
    this.#validating = true
    this.wake(session)
    try {
      await check(session)
    } catch {
      // It is lost then, and the next in line has a new one opened.
    }
    this.#validating = false
    this.#advance()
  }

  readonly #askWhetherWritable = async (session: Session): Promise<void> => {
    this.#doubted = null
    if (!(await this.keeper.isAsWanted(session))) this.#retired = session
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

  reopen(turn: Turn): void {
    if (this.#abandoned) return turn.giveUp(new ManagerEndedError())
    this.keeper.open().then(
      (session) => turn.awaitsSession && turn.resume(session),
      (error: Error) => {
        if (turn.awaitsSession) turn.giveUp(error)
        this.#onOpenFailed(error)
      },
    )
  }

  wake(session: Session): void {
    this.#idleness.end(session)
  }

  /** Nobody wants anything. */
  #rest(): void {
    const { session } = this
    if (session === null) {
      if (this.keeper.opening && (this.ending || this.subscriptions.size === 0)) this.keeper.abortOpening()
    } else if (session.pending > 0 || this.#validating) return
    else this.#lieIdle(session)
    if (this.#drained !== null && !this.keeper.opening) this.#drained()
  }

  #lieIdle(session: Session): void {
    if (this.#isDue(session)) return void this.#close()
    // A subscription keeps the connection, and with it the process.
    this.#idleness.begin(session, this.subscriptions.size > 0)
  }

  // ---- closing and ending

  /** Closes the connection after the present holder; the next use opens it again. */
  close(): Promise<void> {
    this.#closeRequest ??= new Deferred()
    const { promise } = this.#closeRequest
    this.#advance()
    return promise
  }

  /** Sees to a `close()` at a boundary; false while it is under way. */
  #closeNow(): boolean {
    const { session } = this
    if (session !== null && session.pending > 0) return false
    if (session !== null || this.keeper.closing) {
      void this.#close()
      return false
    }
    this.#closeRequest?.resolve()
    this.#closeRequest = null
    return true
  }

  async #close(): Promise<void> {
    const { session } = this
    this.#retired = null
    this.#idleness.forget()
    await this.keeper.close()
    if (session !== null) this.#onDisconnected()
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
    this.#closeRequest?.resolve()
    this.#closeRequest = null
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
    await this.session?.abandon(new ManagerEndedError())
    this.#drained?.()
  }

  // ---- what the session, the keeper and the one-shots tell

  onOpened(session: Session, openedMillis: number): void {
    this.#idleness.forget()
    const reconnected = this.keeper.openings > 1
    this.#host.tell('connect', { processID: session.processID, reconnected, openedMillis })
    this.subscriptions.onSessionOpened()
    // Whoever had it opened is served first: their promise settles before this one's.
    clock.queueMicrotask(() => this.#advance())
  }

  onReady(): void {
    if (this.#floor === null) this.#advance()
  }

  onLost(session: Session, cause: Error, { sent, unsent }: Unanswered): void {
    if (this.session !== session) return
    this.keeper.forget(session)
    this.#retired = null
    this.#idleness.forget()
    const floor = this.#floor?.session === session ? this.#floor : null
    for (const unit of [...sent, ...unsent]) if (unit.owner !== floor) unit.owner.onLost(unit, cause)
    const ofFloor = (unit: Unit): boolean => unit.owner === floor
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
  onGarbled(session: Session): void {
    if (this.#floor === null && session.inFlight > 1) {
      session.lose(new Error('client_encoding was changed, but pg writes and reads UTF8 only'))
    }
  }

  onWriteRefused(session: Session): void {
    if (this.keeper.wantsWritable) this.#doubted = session
  }

  prepare(client: Client): Promise<void> {
    return this.subscriptions.listenAgain(client)
  }

  /** Sends a query of the library's own in its turn, as a one-shot. */
  askInLine(text: string, onSent: () => void): Promise<QueryResult> {
    const create = (): QueryUnit => {
      onSent()
      return new QueryUnit(this.oneShots, ownRequest(text))
    }
    return this.send({ call: null, travel: 'alone', create }, { timeoutMillis: Infinity, unbounded: true })
  }

  sendInLine(text: string, join: JoinOptions, onSent?: () => void): Promise<unknown> {
    const create = (): ControlUnit => {
      onSent?.()
      const unit = new ControlUnit(this.oneShots, text, true)
      unit.travel = 'alone'
      unit.limitMillis = this.limits.statement
      return unit
    }
    return this.send({ call: null, travel: 'alone', create }, join)
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
