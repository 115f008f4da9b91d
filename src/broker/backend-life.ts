/**
 * Whether the next in line may have the backend, or what has to be done first: open it, look at it, replace it, close
 * it. And who has to hear what happens to it.
 *
 * States of the present backend: `none` → `ready` (opened) → `doubted` (it has refused a write) or `checking` (it was
 * not used for a while) → `ready` again, or `due` (to be replaced) → `closing` → `none`. A loss leads to `none` from
 * everywhere.
 */
import { BackendKeeper, type KeeperOwner } from '../backend/backend-keeper.js'
import { isAsWanted, lookAtSocket, validate, wantsWritable } from '../backend/checks.js'
import { runCallback } from '../lease/holder-context.js'
import { clock, now } from '../util/clock.js'
import { become, type Transitions } from '../util/transitions.js'
import { Connecting } from './connecting.js'
import { Deferred } from '../util/deferred.js'
import { Idleness } from './idleness.js'
import type { Client } from 'pg'
import type { Backend } from '../backend/backend.js'
import type { ConnectPlan } from '../conninfo/plan.js'
import type { NoticeEvent } from '../events.js'
import type { Unanswered } from '../pipeline/pipeline.js'
import type { Request } from '../pipeline/request.js'
import type { Deadlines } from '../util/deadlines.js'
import type { Dispatcher } from './dispatcher.js'

type State = 'none' | 'ready' | 'doubted' | 'checking' | 'due' | 'closing'

const NEXT: Transitions<State> = {
  none: ['none', 'ready'],
  ready: ['doubted', 'checking', 'due', 'closing', 'none'],
  doubted: ['checking', 'closing', 'none'],
  checking: ['ready', 'doubted', 'due', 'closing', 'none'],
  due: ['closing', 'none'],
  closing: ['none'],
}

/** A connection unused for longer is looked at before it is handed out: the server's goodbye may lie in the socket, unread. */
const LOOK_AFTER_IDLE_MILLIS = 20

type Check = (backend: Backend) => Promise<void>

export class BackendLife implements KeeperOwner {
  readonly keeper: BackendKeeper
  readonly deadlines: Deadlines
  readonly connecting: Connecting
  readonly #dispatcher: Dispatcher
  readonly #idleness: Idleness
  state: State = 'none'
  /** A `close()` that waits for the present holder. */
  #wanted: Deferred | null = null

  constructor(plan: () => Promise<ConnectPlan>, dispatcher: Dispatcher) {
    this.#dispatcher = dispatcher
    this.deadlines = dispatcher.deadlines
    const { options, events } = dispatcher
    const planFor = async (): Promise<ConnectPlan> => this.#planFor(await plan())
    this.keeper = new BackendKeeper(planFor, options, this, (error) => events.tell('connectError', error))
    this.connecting = new Connecting(() => dispatcher.advance())
    this.#idleness = new Idleness(
      dispatcher.options,
      () => void this.#close(),
      () => dispatcher.events.tell('idle'),
    )
  }

  /** Where it has to be found out what became of a COMMIT, only a primary will do. */
  #planFor(plan: ConnectPlan): ConnectPlan {
    if (!this.#dispatcher.commits.verifications.due || wantsWritable(plan.targetSessionAttrs)) return plan
    return { ...plan, targetSessionAttrs: 'primary' }
  }

  /** It is to be replaced before anyone else gets it. */
  get replacementDue(): boolean {
    const { backend } = this.keeper
    return this.#wanted !== null || (backend !== null && this.#isDue(backend))
  }

  #isDue(backend: Backend): boolean {
    const { options, users } = this.#dispatcher
    const livesTo = options.maxLifetimeMillis || Infinity
    return this.state === 'due' || (now() - backend.openedAt > livesTo && !users.leaders.leading)
  }

  #become(next: State): void {
    this.state = become('the life of a backend', NEXT, this.state, next)
  }

  /** Opens it, unless it is open. Where that fails all who wait are told. */
  async open(): Promise<void> {
    try {
      await this.keeper.open()
    } catch (error) {
      this.#dispatcher.onOpenFailed(error as Error)
      throw error
    }
  }

  /** The backend, where the next in line may have it now; null while something has to be done first. */
  take(): Backend | null {
    const { backend } = this.keeper
    if (this.state === 'checking' || this.#wanted !== null) return null
    if (backend === null) {
      if (!this.keeper.opening) this.open().catch(() => {})
      return null
    }
    const unused = backend.pipeline.pending === 0
    if (this.#isDue(backend)) {
      if (unused) void this.#close()
      return null
    }
    // One that is in doubt is given to nobody until it is unused, and then it is asked.
    if (!unused) return this.state === 'doubted' ? null : backend
    const check = this.#checkFor()
    if (check === null) return backend
    void this.#look(backend, check)
    return null
  }

  /** What has to be looked at before an unused backend is handed out; null where it was used a moment ago. */
  #checkFor(): Check | null {
    if (this.state === 'doubted') return this.#askWhetherWritable
    const { millis } = this.#idleness
    if (millis > this.#dispatcher.options.validateAfterIdleMillis) return validate
    return millis > LOOK_AFTER_IDLE_MILLIS ? lookAtSocket : null
  }

  readonly #askWhetherWritable: Check = async (backend) => {
    const wanted = await isAsWanted(backend, this.keeper.targetSessionAttrs)
    if (!wanted && this.keeper.backend === backend) this.#become('due')
  }

  async #look(backend: Backend, check: Check): Promise<void> {
    this.#become('checking')
    this.wake(backend)
    try {
      await check(backend)
    } catch {
      // It is lost then, and the next in line has a new one opened.
    }
    if (this.state === 'checking') this.#become('ready')
    this.#dispatcher.advance()
  }

  wake(backend: Backend): void {
    this.#idleness.end(backend)
  }

  /** The queue is empty. A backend that is `kept`, because somebody listens, does not become idle. */
  rest(backend: Backend, kept: boolean): void {
    if (this.#isDue(backend)) void this.#close()
    else this.#idleness.begin(backend, kept)
  }

  // ---- what happens to it

  traceOpening(open: () => Promise<Backend>): Promise<Backend> {
    return this.#dispatcher.traceOpening(this.keeper.openings > 0, open)
  }

  onOpened({ processID }: Backend, openedMillis: number): void {
    this.#idleness.forget()
    this.#become('ready')
    this.#dispatcher.commits.verifications.onOpened()
    this.#dispatcher.events.tell('connect', {
      processID,
      reconnected: this.keeper.openings > 1,
      openedMillis,
    })
    this.#dispatcher.users.subscriptions.onSessionOpened()
    // Those who asked for the opening come first: their promise settles before this microtask runs.
    clock.queueMicrotask(() => this.#dispatcher.advance())
  }

  onReady(): void {
    if (this.#dispatcher.holder === null) this.#dispatcher.advance()
  }

  onLost(backend: Backend, cause: Error, { sent, unsent }: Unanswered): void {
    if (this.keeper.backend !== backend) return
    this.keeper.forget(backend)
    this.#idleness.forget()
    this.#become('none')
    const { holder } = this.#dispatcher
    const requests = holder?.requests.backend === backend ? holder.requests : null
    for (const request of [...sent, ...unsent])
      if (request.owner !== requests) request.owner.onLost(request, cause)
    const own = (request: Request): boolean => request.owner === requests
    requests?.backendLost(cause, sent.filter(own), unsent.filter(own))
    this.#gone(cause)
    this.#dispatcher.advance()
  }

  #gone(...error: [] | [Error]): void {
    this.#dispatcher.counters.disconnects++
    this.#dispatcher.commits.flushes.onBackendLost(error[0] ?? new Error('the connection was closed'))
    this.#dispatcher.users.onSessionGone(error[0])
    this.#dispatcher.events.tell('disconnect', ...error)
  }

  onNotice(notice: NoticeEvent): void {
    this.#dispatcher.commits.flushes.onNotice(this.keeper.backend?.pipeline.head ?? null, notice)
    this.#dispatcher.events.tell('notice', notice)
  }

  onNotification(message: { channel: string; payload?: string | undefined; processId: number }): void {
    this.#dispatcher.users.subscriptions.deliver(message)
  }

  onListensDoubted(): void {
    this.#dispatcher.users.subscriptions.onDoubted()
  }

  /** The server would misread the texts of one-shots that were pipelined behind the change of the encoding. */
  onGarbled(backend: Backend): void {
    if (this.#dispatcher.holder === null && backend.pipeline.inFlight > 1) {
      backend.lose(new Error('client_encoding was changed, but pg writes and reads UTF8 only'))
    }
  }

  /** Whether it is a primary still is asked at the next boundary. */
  onWriteRefused(): void {
    const inUse = this.state === 'ready' || this.state === 'checking'
    if (inUse && wantsWritable(this.keeper.targetSessionAttrs)) this.#become('doubted')
  }

  verify(client: Client): Promise<void> {
    return this.#dispatcher.commits.verifications.run(client)
  }

  prepare(client: Client): Promise<void> {
    return this.#dispatcher.users.subscriptions.listenAgain(client)
  }

  runOnConnect(work: () => Promise<void>): Promise<void> {
    return runCallback(this.#dispatcher.events.manager, work, 'onConnect')
  }

  // ---- closing

  /** Closes it after the present holder. */
  close(): Promise<void> {
    this.#wanted ??= new Deferred()
    const { promise } = this.#wanted
    this.#dispatcher.advance()
    return promise
  }

  /** Sees to a `close()` at a boundary; true while it is under way. */
  seeToClose(): boolean {
    if (this.#wanted === null) return false
    const { backend, closing } = this.keeper
    if (backend === null && !closing) {
      this.#closed()
      return false
    }
    if (backend === null || backend.pipeline.pending === 0) void this.#close()
    return true
  }

  #closed(): void {
    this.#wanted?.resolve()
    this.#wanted = null
  }

  async #close(): Promise<void> {
    const { backend } = this.keeper
    if (backend !== null) this.#become('closing')
    this.#idleness.forget()
    const closed = this.keeper.close()
    // Before the server can have given their locks to others.
    if (backend !== null) this.#dispatcher.users.leaders.onSessionGone()
    await closed
    if (this.state === 'closing') this.#become('none')
    if (backend !== null) this.#gone()
    this.#dispatcher.advance()
  }

  async end(): Promise<void> {
    await this.#close()
    this.#closed()
    this.#idleness.stop()
  }
}
