/**
 * Keeps at most one backend: opens it when it is asked for, again when it was lost, and lets it go.
 *
 * States: `none` → `opening` (one attempt for all who ask) → `open` → `closing` (until the socket is gone) → `none`.
 * A loss leads from `open` to `none` at once, and so does an attempt that fails or is given up.
 */
import { ConnectError } from '../errors.js'
import { abortable, isTransientOpenError, openClient, withDeadline } from '../connect/index.js'
import { internals } from '../pg/driver.js'
import { backoffMillis } from '../util/backoff.js'
import { inNobodysContext, now } from '../util/clock.js'
import { pause } from '../util/pause.js'
import { timerFor } from '../util/timer.js'
import { become, type Transitions } from '../util/transitions.js'
import { Backend } from './backend.js'
import { OwnFailure, setUp, toConnectError, type SetUpOwner } from './set-up.js'
import type { ConnectPlan } from '../conninfo/plan.js'
import type { OpenedClient } from '../connect/index.js'
import type { ResolvedOptions } from '../options.js'
import type { BackendOwner } from './backend.js'

export interface KeeperOwner extends BackendOwner, SetUpOwner {
  /** Tells who wants to know that a backend is being opened. */
  traceOpening(open: () => Promise<Backend>): Promise<Backend>
  /** A backend is open, set up, and nobody has it yet. */
  onOpened(backend: Backend, openedMillis: number): void
  onNotice(notice: unknown): void
  onNotification(message: { channel: string; payload?: string | undefined; processId: number }): void
}

/** Between two attempts to open the connection again, in milliseconds. */
const REOPEN_BACKOFF = { firstMillis: 50, maxMillis: 2_000 }

type State =
  | { readonly kind: 'none' }
  | { readonly kind: 'opening'; readonly promise: Promise<Backend>; readonly abort: AbortController }
  | { readonly kind: 'open'; readonly backend: Backend }
  | { readonly kind: 'closing' }

const NONE: State = { kind: 'none' }

const NEXT: Transitions<State['kind']> = {
  none: ['opening'],
  opening: ['open', 'none'],
  open: ['closing', 'none'],
  closing: ['none', 'opening'],
}

export class BackendKeeper {
  readonly #plan: () => Promise<ConnectPlan>
  #planned: ConnectPlan | null = null
  readonly #options: ResolvedOptions
  readonly #owner: KeeperOwner
  #state: State = NONE
  /** The closing of the last backend: another may be opening meanwhile. */
  #closing: Promise<void> | null = null
  /** What the next attempt waits for, so that there are no two connections at a time. */
  #before: Promise<unknown> = Promise.resolve()
  /** The commands that bring the session back to what `onConnect` left; empty without `reset: 'session'`. */
  resetText = ''
  /** How many times a backend was opened. */
  openings = 0
  /** How many backends in a row died before they were of any use. */
  #earlyDeaths = 0
  /** Somebody waits so long for a server that is not there yet, on the clock of `now()`; 0: nobody does. */
  patientUntil = 0
  /** When the last attempt to open one began, on the clock of `now()`. */
  #attemptedAt = 0
  readonly #onFailing: (error: ConnectError) => void
  /** Why the last attempt of the opening that is under way has failed; null where none has. */
  attemptError: ConnectError | null = null

  /** @param onFailing is told of the first attempt that fails, once for each opening; it may go on trying */
  constructor(
    plan: () => Promise<ConnectPlan>,
    options: ResolvedOptions,
    owner: KeeperOwner,
    onFailing: (error: ConnectError) => void,
  ) {
    this.#plan = plan
    this.#options = options
    this.#owner = owner
    this.#onFailing = onFailing
  }

  get backend(): Backend | null {
    return this.#state.kind === 'open' ? this.#state.backend : null
  }

  get opening(): boolean {
    return this.#state.kind === 'opening'
  }

  get closing(): boolean {
    return this.#closing !== null
  }

  #become(next: State): void {
    become('the keeper', NEXT, this.#state.kind, next.kind)
    this.#state = next
  }

  /** Opens a backend, or joins the attempt under way. */
  open(): Promise<Backend> {
    const state = this.#state
    if (state.kind === 'open') return Promise.resolve(state.backend)
    if (state.kind === 'opening') return state.promise
    const abort = new AbortController()
    this.attemptError = null
    // As it is now: an abort in the same tick would make this opening wait for itself.
    const before = Promise.all([this.#closing, this.#before])
    // Sockets and what they call outlive whoever asks first, and whoever has made the manager.
    const promise = inNobodysContext(() => this.#owner.traceOpening(() => this.#open(before, abort.signal)))
    this.#become({ kind: 'opening', promise, abort })
    // Those who asked handle the rejection. When all of them have left, it must not be an unhandled one.
    promise.catch(() => {})
    return promise
  }

  /** Gives up an attempt that nobody waits for any more. Who asks from now on has a new one made. */
  abortOpening(): void {
    if (this.#state.kind !== 'opening') return
    const { promise, abort } = this.#state
    this.#before = promise.catch(() => {})
    this.#become(NONE)
    abort.abort(new AbandonedOpeningError())
  }

  /** Closes the backend, politely; it must have nothing pending. */
  close(): Promise<void> {
    if (this.#state.kind !== 'open') return this.#closing ?? Promise.resolve()
    const { backend } = this.#state
    this.#become({ kind: 'closing' })
    this.#closing = backend.close().finally(() => {
      this.#closing = null
      if (this.#state.kind === 'closing') this.#become(NONE)
    })
    return this.#closing
  }

  /** The backend died: there is none until the next `open()`. */
  forget(backend: Backend): void {
    if (this.backend !== backend) return
    this.#become(NONE)
    this.#earlyDeaths = backend.wasOfUse ? 0 : this.#earlyDeaths + 1
  }

  /** What `target_session_attrs` asks for. */
  get targetSessionAttrs(): ConnectPlan['targetSessionAttrs'] {
    return this.#planned?.targetSessionAttrs ?? 'any'
  }

  async #open(before: Promise<unknown>, signal: AbortSignal): Promise<Backend> {
    try {
      await before
      signal.throwIfAborted()
      const backend = await this.#openWithPatience(signal)
      if (signal.aborted) {
        await backend.close()
        throw signal.reason as Error
      }
      this.openings++
      this.#become({ kind: 'open', backend })
      this.#owner.onOpened(backend, now() - this.#attemptedAt)
      return backend
    } catch (error) {
      // Where it was given up, another attempt may be under way.
      if (!signal.aborted && this.#state.kind === 'opening') this.#become(NONE)
      throw error
    }
  }

  async #openWithPatience(signal: AbortSignal): Promise<Backend> {
    // At the first opening, or without a reconnect time, there is one attempt without a deadline.
    const patience = this.openings > 0 ? this.#options.reconnectTimeoutMillis : 0
    const reopenUntil = patience > 0 ? now() + patience : 0
    const until = (): number => Math.max(reopenUntil, this.patientUntil)
    await this.#pauseAfterEarlyDeaths(signal)
    for (let attempt = 0; ; attempt++) {
      try {
        // The patience of one who stands in no line is no limit of an attempt that others wait for, too.
        return await this.#openOnce(signal, reopenUntil > 0 ? until() : Infinity)
      } catch (error) {
        signal.throwIfAborted()
        const isOwn = error instanceof OwnFailure
        const failure = toConnectError(isOwn ? error.cause : error)
        this.attemptError = failure
        if (attempt === 0) this.#onFailing(failure)
        const wait = backoffMillis(REOPEN_BACKOFF, attempt, Math.random())
        const late = now() + wait >= until()
        if (late || isOwn || !isTransientOpenError(error)) throw failure
        await pause(wait, signal)
      }
    }
  }

  /** A server that ends each connection soon after it was opened must not be asked for the next one at once, for ever. */
  async #pauseAfterEarlyDeaths(signal: AbortSignal): Promise<void> {
    // A single one is no sign of that.
    if (this.#earlyDeaths < 2) return
    await pause(backoffMillis(REOPEN_BACKOFF, this.#earlyDeaths - 2, Math.random()), signal)
  }

  async #openOnce(signal: AbortSignal, deadline: number): Promise<Backend> {
    this.#attemptedAt = now()
    const plan = (this.#planned = await this.#planNow(signal, deadline))
    const opened = await openClient(plan, { signal, ...(deadline === Infinity ? {} : { deadline }) })
    const abandon = (): void => void internals(opened.client).connection.stream.destroy()
    signal.addEventListener('abort', abandon, { once: true })
    const timer = timerFor(deadline - now(), abandon)
    try {
      return await this.#setUp(opened)
    } catch (error) {
      abandon()
      throw error
    } finally {
      timer?.stop()
      signal.removeEventListener('abort', abandon)
    }
  }

  /** A function of the user's may take its time, and be of no use. */
  async #planNow(signal: AbortSignal, deadline: number): Promise<ConnectPlan> {
    const plan = this.#plan().catch((error: unknown) => {
      throw new OwnFailure(error)
    })
    return withDeadline({ signal, timeoutMillis: deadline - now() }, (within) => abortable(within, plan))
  }

  async #setUp(opened: OpenedClient): Promise<Backend> {
    const { prepare, maxPrepared, preparedLifetimeMillis, pipeline, releaseGraceMillis } = this.#options
    const owner = this.#owner
    opened.client.on('notice', (notice) => owner.onNotice(notice))
    opened.client.on('notification', (message) => owner.onNotification(message))
    this.resetText = await setUp(opened.client, this.#options, owner)
    const prepared = { max: prepare ? maxPrepared : 0, lifetimeMillis: preparedLifetimeMillis }
    return new Backend(opened, { prepared, pipeline, cancelPatienceMillis: releaseGraceMillis }, owner)
  }
}

/** Nobody waited for the opening any more, so nobody is to be told. */
export class AbandonedOpeningError extends ConnectError {
  constructor() {
    super('the opening of the connection was given up: nobody waited for it any more', { errors: [] })
  }
}
