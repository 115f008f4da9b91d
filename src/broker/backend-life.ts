/**
 * Whether the next in line may have the backend, or what has to be done first: open it, look at it, replace it, close
 * it.
 *
 * States of the present backend: `none` → `ready` (opened) → `doubted` (it has refused a write) or `checking` (it was
 * not used for a while) → `ready` again, or `due` (to be replaced) → `closing` → `none`. A loss leads to `none` from
 * everywhere.
 */
import { isAsWanted, lookAtSocket, validate, wantsWritable } from '../backend/checks.js'
import { now } from '../util/clock.js'
import { become, type Transitions } from '../util/transitions.js'
import { Deferred } from './deferred.js'
import { Idleness } from './idleness.js'
import type { BackendKeeper } from '../backend/backend-keeper.js'
import type { Backend } from '../backend/backend.js'
import type { ResolvedOptions } from '../options.js'

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

export class BackendLife {
  readonly #keeper: BackendKeeper
  readonly #options: ResolvedOptions
  readonly #idleness: Idleness
  /** Something has changed that may let the next in line be served. */
  readonly #advance: () => void
  /** The backend was closed. */
  readonly #onClosed: () => void
  #state: State = 'none'
  /** A `close()` that waits for the present holder. */
  #wanted: Deferred | null = null

  constructor(keeper: BackendKeeper, options: ResolvedOptions, advance: () => void, onClosed: () => void) {
    this.#keeper = keeper
    this.#options = options
    this.#advance = advance
    this.#onClosed = onClosed
    this.#idleness = new Idleness(options, () => void this.#close())
  }

  /** It is being looked at before anyone gets it. */
  get checking(): boolean {
    return this.#state === 'checking'
  }

  get backend(): Backend | null {
    return this.#keeper.backend
  }

  get opening(): boolean {
    return this.#keeper.opening
  }

  /** The commands that bring the session back to what `onConnect` left; empty without `reset: 'session'`. */
  get resetText(): string {
    return this.#keeper.resetText
  }

  open(): Promise<Backend> {
    return this.#keeper.open()
  }

  abortOpening(): void {
    this.#keeper.abortOpening()
  }

  /** A `close()` waits for the present holder. */
  get closeWanted(): boolean {
    return this.#wanted !== null
  }

  /** It is to be replaced before anyone else gets it. */
  get replacementDue(): boolean {
    const { backend } = this.#keeper
    return this.#wanted !== null || (backend !== null && this.#isDue(backend))
  }

  #isDue(backend: Backend): boolean {
    const { maxLifetimeMillis } = this.#options
    return this.#state === 'due' || (maxLifetimeMillis > 0 && now() - backend.openedAt > maxLifetimeMillis)
  }

  #become(next: State): void {
    this.#state = become('the life of a backend', NEXT, this.#state, next)
  }

  /** The backend, where the next in line may have it now; null while something has to be done first. */
  take(open: () => void): Backend | null {
    const { backend } = this.#keeper
    if (this.#state === 'checking' || this.#wanted !== null) return null
    if (backend === null) {
      open()
      return null
    }
    const unused = backend.pipeline.pending === 0
    if (this.#isDue(backend)) {
      if (unused) void this.#close()
      return null
    }
    // One that is in doubt is given to nobody until it is unused, and then it is asked.
    if (!unused) return this.#state === 'doubted' ? null : backend
    const check = this.#checkFor()
    if (check === null) return backend
    void this.#look(backend, check)
    return null
  }

  /** What has to be looked at before an unused backend is handed out; null where it was used a moment ago. */
  #checkFor(): Check | null {
    if (this.#state === 'doubted') return this.#askWhetherWritable
    const { millis } = this.#idleness
    if (millis > this.#options.validateAfterIdleMillis) return validate
    return millis > LOOK_AFTER_IDLE_MILLIS ? lookAtSocket : null
  }

  readonly #askWhetherWritable: Check = async (backend) => {
    const wanted = await isAsWanted(backend, this.#keeper.targetSessionAttrs)
    if (!wanted && this.#keeper.backend === backend) this.#become('due')
  }

  async #look(backend: Backend, check: Check): Promise<void> {
    this.#become('checking')
    this.wake(backend)
    try {
      await check(backend)
    } catch {
      // It is lost then, and the next in line has a new one opened.
    }
    if (this.#state === 'checking') this.#become('ready')
    this.#advance()
  }

  /** The backend is used again. */
  wake(backend: Backend): void {
    this.#idleness.end(backend)
  }

  /** The queue is empty. A backend that is `kept`, because somebody listens, does not become idle. */
  rest(backend: Backend, kept: boolean): void {
    if (this.#isDue(backend)) void this.#close()
    else this.#idleness.begin(backend, kept)
  }

  // ---- what happens to it

  onOpened(): void {
    this.#idleness.forget()
    this.#become('ready')
  }

  /** False where it was not the present one. */
  onLost(backend: Backend): boolean {
    if (this.#keeper.backend !== backend) return false
    this.#keeper.forget(backend)
    this.#idleness.forget()
    this.#become('none')
    return true
  }

  /** It has refused a write: whether it is a primary still is asked at the next boundary. */
  doubt(): void {
    const inUse = this.#state === 'ready' || this.#state === 'checking'
    if (inUse && wantsWritable(this.#keeper.targetSessionAttrs)) this.#become('doubted')
  }

  // ---- closing

  /** Closes it after the present holder. */
  close(): Promise<void> {
    this.#wanted ??= new Deferred()
    const { promise } = this.#wanted
    this.#advance()
    return promise
  }

  /** Sees to a `close()` at a boundary; false while it is under way. */
  closeNow(): boolean {
    const { backend, closing } = this.#keeper
    if (backend !== null && backend.pipeline.pending > 0) return false
    if (backend !== null || closing) {
      void this.#close()
      return false
    }
    this.#closed()
    return true
  }

  #closed(): void {
    this.#wanted?.resolve()
    this.#wanted = null
  }

  async #close(): Promise<void> {
    const { backend } = this.#keeper
    if (backend !== null) this.#become('closing')
    this.#idleness.forget()
    await this.#keeper.close()
    if (this.#state === 'closing') this.#become('none')
    if (backend !== null) this.#onClosed()
    this.#advance()
  }

  /** Closes it for good; nothing is watched any more. */
  async end(): Promise<void> {
    await this.#close()
    this.#closed()
    this.#idleness.stop()
  }
}
