/**
 * Decides who speaks next. One wait queue for holders, one-shots and batches, strictly in order of asking; one lease is
 * held at a time; one-shots are sent behind each other while none is.
 *
 * The backend is either free or held by one lease. It is given by `grant` alone and freed by `passOn` alone, so that
 * nothing that fails (a connect, a BEGIN, a COMMIT, a rollback) can lose it. `advance` is called whenever something may
 * have made room: an answer, a lease that was passed on, an opening, a loss, a newcomer.
 */
import { AbandonedOpeningError } from '../backend/backend-keeper.js'
import { ResetRequest } from '../backend/reset.js'
import { ConnectError, ManagerEndedError, TooManyWaitingError, type AcquireTimeoutError } from '../errors.js'
import { acquireTimeout } from './acquire-timeout.js'
import { Commits, type CommitsOwner } from '../commit/commits.js'
import { traceOpening } from '../diagnostics/opening.js'
import { watchHold } from '../lease/hold-watch.js'
import { controlLimits, type ControlLimits, type LeaseOwner } from '../lease/lease-owner.js'
import { Lease } from '../lease/lease.js'
import { ClassifiedTexts } from '../sql/classify.js'
import { reasonOf } from '../util/abort-signals.js'
import { clock, now } from '../util/clock.js'
import { Deadlines } from '../util/deadlines.js'
import { noRollbacks } from '../util/rollback-reasons.js'
import { timerFor } from '../util/timer.js'
import { BackendLife } from './backend-life.js'
import { tellEndWaiting } from './end-waiting.js'
import { Ending } from './ending.js'
import { WaitQueue, type Waiter } from './wait-queue.js'
import type { Manager } from '../api/manager.js'
import type { EventSink, Wait } from '../api/ports.js'
import type { Backend } from '../backend/backend.js'
import type { ConnectPlan } from '../conninfo/plan.js'
import type { HoldWarningEvent, RollbackEvent } from '../events.js'
import type { SessionUsers } from '../lead/session-users.js'
import type { LeaseRequests } from '../lease/lease-requests.js'
import type { ResolvedOptions } from '../options.js'
import type { BrokerWaiter, LeaseWaiter } from './waiters.js'

/** When `end()` tells whom it waits for, in milliseconds. */
const END_WAITING_MILLIS = 1_000

/** How much of a statement figures and events show. */
const SHOWN_CHARACTERS = 200

/** What pg writes and reads, whatever a holder has set. */
const RESTORE_ENCODING = "SET client_encoding TO 'UTF8'"

export class Dispatcher implements LeaseOwner, CommitsOwner {
  readonly deadlines = new Deadlines()
  readonly counters = {
    ...{ acquires: 0, releases: 0, rollbacks: 0, timeouts: 0, disconnects: 0 },
    rollbacksByReason: noRollbacks(),
  }
  readonly ending = new Ending()
  readonly life: BackendLife
  readonly queue = new WaitQueue<Backend>(this.deadlines)
  readonly texts = new ClassifiedTexts()
  readonly limits: ControlLimits
  readonly options: ResolvedOptions
  readonly events: EventSink
  readonly users: SessionUsers
  readonly commits: Commits
  /** The lease that is held. */
  holder: Lease | null = null
  #stopWatch: (() => void) | null = null
  /** Set while reactions of listeners or waiters could enter `advance` again. */
  #advancing = false

  constructor(
    plan: () => Promise<ConnectPlan>,
    options: ResolvedOptions,
    events: EventSink,
    users: SessionUsers,
  ) {
    this.options = options
    this.events = events
    this.users = users
    this.limits = controlLimits(options)
    this.life = new BackendLife(plan, this)
    this.commits = new Commits(options, events, this)
  }

  get backend(): Backend | null {
    return this.life.keeper.backend
  }

  get first(): Waiter<Backend> | null {
    return this.queue.first
  }

  /** The statement that the server runs, as much of it as is shown; null where it runs none. */
  get statement(): string | null {
    return this.backend?.pipeline.head?.text.slice(0, SHOWN_CHARACTERS) ?? null
  }

  /** Nobody holds the backend, waits, or is unanswered. */
  get free(): boolean {
    const busy = this.holder !== null || this.queue.length > 0 || this.life.state === 'checking'
    return !busy && (this.backend?.pipeline.pending ?? 0) === 0
  }

  // ---- asking

  /** Serves `waiter`, or has it stand in line. */
  ask(waiter: BrokerWaiter, wait: Wait): void {
    if (this.ending.begun) return waiter.fail(new ManagerEndedError())
    if (wait.signal?.aborted === true) return waiter.fail(reasonOf(wait.signal))
    if (this.holder === null && this.queue.length === 0) {
      this.commits.flushes.sendIfDue(this.backend, waiter.grouped ? 'grouped' : 'other')
      const backend = this.life.take()
      if (backend !== null && waiter.fits(backend)) return waiter.accept(backend)
      // A limit of 0 forbids waiting for others, not connecting: with nobody ahead there is no limit.
      if (backend === null) return this.#wait(waiter, wait, wait.timeoutMillis || Infinity)
    }
    if (wait.timeoutMillis === 0) return waiter.fail(waiter.timedOut())
    const { maxWaiting } = this.options
    if (this.queue.length < maxWaiting || wait.unbounded === true)
      this.#wait(waiter, wait, wait.timeoutMillis)
    else waiter.fail(new TooManyWaitingError({ maxWaiting }))
  }

  #wait(waiter: BrokerWaiter, { signal }: Wait, timeoutMillis: number): void {
    this.queue.join(waiter, { timeoutMillis, signal })
    this.advance()
  }

  /** A waiter has left the queue without being granted: its time has passed, its signal aborted, or all are rejected. */
  onLeft(): void {
    if (this.queue.length === 0 && this.holder === null) this.#rest()
  }

  timedOut(timeoutMillis: number, label: string | null): AcquireTimeoutError {
    this.counters.timeouts++
    return acquireTimeout(this, timeoutMillis, label)
  }

  // ---- granting

  advance(): void {
    if (this.#advancing) return
    this.#advancing = true
    try {
      // One waiter a step.
      while (this.#step());
    } finally {
      this.#advancing = false
    }
  }

  #step(): boolean {
    if (this.holder !== null) return false
    const first = this.queue.first as BrokerWaiter | null
    this.#flushBefore(first)
    if (this.life.seeToClose()) return false
    if (first === null) {
      this.#rest()
      return false
    }
    const backend = this.life.take()
    if (backend === null || !first.fits(backend)) return false
    // A waiter whose time had passed declines, and has left the queue: either way the next is asked.
    first.grant(backend, now())
    return true
  }

  /** What was committed together becomes durable before anyone else is served. */
  #flushBefore(first: BrokerWaiter | null): void {
    const { replacementDue } = this.life
    const next = first === null ? 'nobody' : first.grouped ? 'grouped' : 'other'
    this.commits.flushes.sendIfDue(this.backend, replacementDue ? 'other' : next)
  }

  /** A holder who has said nothing yet does not keep others from becoming durable; in its transaction no flush can be. */
  onFlushLate(): void {
    const { backend, holder } = this
    if (holder === null) return this.advance()
    const isQuiet = !holder.requests.used && backend?.pipeline.onlyEndings === true
    if (isQuiet) this.commits.flushes.sendIfDue(backend, 'other')
  }

  grant(
    backend: Backend,
    waiter: Pick<LeaseWaiter<unknown>, 'terms' | 'stack' | 'label' | 'waitedMillis'>,
  ): Lease {
    if (this.holder !== null) throw new Error('BUG: the backend was granted to two')
    const lease = new Lease(backend, waiter, this)
    this.#stopWatch = watchHold(lease, this.options, this.#warn)
    this.holder = lease
    this.counters.acquires++
    if (this.events.listens('acquire')) {
      const { waitedMillis, label } = waiter
      this.events.tell('acquire', { waitedMillis, label })
    }
    return lease
  }

  readonly #warn = (event: HoldWarningEvent): void => this.events.tell('holdWarning', event)

  /** The lease is over: the next in line is served. Only the present holder's can be passed on. */
  passOn(lease: Lease): void {
    if (this.holder !== lease) return
    this.#stopWatch?.()
    this.holder = null
    this.counters.releases++
    lease.become('over')
    lease.onOver?.()
    if (lease.requests.used) this.tidySession()
    if (this.events.listens('release')) {
      this.events.tell('release', { heldMillis: now() - lease.grantedAt, label: lease.label })
    }
    this.advance()
  }

  /** Opens the backend for whoever stands in no line. */
  async connect(wait: Wait): Promise<void> {
    if (this.ending.begun) throw new ManagerEndedError()
    await this.life.connecting.wait(this.life, wait)
  }

  traceOpening(reconnecting: boolean, open: () => Promise<Backend>): Promise<Backend> {
    return traceOpening(this.events.manager as Manager, reconnecting, open)
  }

  /** Opens the backend for the library's own sake: who waits for it has asked for that. */
  async open(): Promise<void> {
    if (this.ending.abandoned) throw new ManagerEndedError()
    await this.life.keeper.open()
  }

  /** The lease's backend is gone, and its opening is to be sent on a new one. */
  reopen(requests: LeaseRequests): void {
    if (this.ending.abandoned) return requests.lose(new ManagerEndedError())
    this.life.keeper.open().then(
      (backend) => requests.backend === null && requests.resume(backend),
      (error: Error) => {
        if (requests.backend === null) requests.lose(error)
        this.onOpenFailed(error)
      },
    )
  }

  /** Pipelined behind the last request. Only what can be sent again follows before its answer. */
  tidySession(): void {
    const { backend, resetText } = this.life.keeper
    if (backend === null) return
    if (backend.garbled) backend.pipeline.submit(new ResetRequest(backend, RESTORE_ENCODING))
    if (this.options.reset !== 'session') return
    backend.pipeline.submit(new ResetRequest(backend, this.users.resetText(resetText), this.limits.rollback))
  }

  onRollback(event: RollbackEvent): void {
    this.counters.rollbacks++
    this.counters.rollbacksByReason[event.reason]++
    this.events.tell('rollback', event)
  }

  onOpenFailed(error: Error): void {
    if (!(error instanceof AbandonedOpeningError)) this.queue.rejectAll(() => freshError(error))
    this.advance()
  }

  /** The queue is empty and no lease is held. */
  #rest(): void {
    const { keeper } = this.life
    const { backend } = keeper
    if (backend === null) {
      const isWanted =
        this.life.connecting.isUnderWay ||
        this.commits.uncertain ||
        (this.users.present && !this.ending.begun)
      if (keeper.opening && !isWanted) keeper.abortOpening()
    } else if (backend.pipeline.pending > 0 || this.life.state === 'checking') return
    // A subscription or a leader keeps the connection, and with it the process.
    else this.life.rest(backend, this.users.present)
    if (this.ending.begun && !keeper.opening && !this.commits.uncertain) this.ending.drained()
  }

  // ---- the end

  /** Refuses new work, serves who waits, then calls `finish`. After `timeoutMillis` it does not wait any longer. */
  end(timeoutMillis: number, finish: () => Promise<void>): Promise<void> {
    const watched = this.ending.begun
      ? undefined
      : timerFor(END_WAITING_MILLIS, () => tellEndWaiting(this, END_WAITING_MILLIS))
    const ended = this.ending.begin(timeoutMillis, () => this.#abandonAll(timeoutMillis), finish)
    clock.queueMicrotask(() => this.advance())
    this.ending.onOver(() => watched?.stop())
    return ended
  }

  async #abandonAll(timeoutMillis: number): Promise<void> {
    const cause = new Error(`its turn had not come when ${timeoutMillis}ms were over`)
    this.queue.rejectAll(() => new ManagerEndedError({ cause }))
    this.life.keeper.abortOpening()
    await this.backend?.abandon(new Error(`end() has closed it, having waited ${timeoutMillis}ms`))
  }
}

/** Each waiter gets an error of its own, because a shared one would carry the stack of another caller. */
function freshError(error: Error): Error {
  return error instanceof ConnectError
    ? new ConnectError(error.message, { errors: [...error.errors], cause: error.cause })
    : new ConnectError(error.message, { errors: [error] })
}
