/**
 * Watches over a connection that nobody uses: how long that has lasted. Unless somebody listens on it, it does not
 * keep the process alive, and is closed when it has been idle for `idleTimeoutMillis`.
 */
import { clock, now } from '../util/clock.js'
import { LONGEST_TIMER_MILLIS, timerFor, type Timer } from '../util/timer.js'
import type { Backend } from '../backend/backend.js'
import type { ResolvedOptions } from '../options.js'

export class Idleness {
  readonly #options: ResolvedOptions
  readonly #onTooLong: () => void
  readonly #onIdle: () => void
  /** When the connection was last used, on both clocks; null while it is in use, or there is none. */
  #since: { readonly monotonic: number; readonly wall: number } | null = null
  #kept = false
  #timer: Timer | null = null

  constructor(options: ResolvedOptions, onTooLong: () => void, onIdle: () => void) {
    this.#options = options
    this.#onTooLong = onTooLong
    this.#onIdle = onIdle
  }

  /** How long the connection has not been used; 0 while it is in use. */
  get millis(): number {
    if (this.#since === null) return 0
    // The monotonic clock may stand still while the machine is frozen; the wall clock may be set back.
    return Math.max(now() - this.#since.monotonic, clock.wallNow() - this.#since.wall)
  }

  /** Nobody speaks on the connection any more. Where it is `kept`, because somebody listens, it stays as it is. */
  begin(backend: Backend, kept: boolean): void {
    if (this.#since !== null && this.#kept === kept) return
    const wasIdle = this.#since !== null
    this.#since ??= { monotonic: now(), wall: clock.wallNow() }
    this.#kept = kept
    if (!wasIdle) this.#onIdle()
    if (kept) return backend.ref()
    const { allowExitOnIdle, idleTimeoutMillis } = this.#options
    if (allowExitOnIdle) backend.unref()
    if (idleTimeoutMillis > 0) this.#arm(idleTimeoutMillis)
  }

  end(backend: Backend): void {
    if (this.#since === null) return
    this.#since = null
    backend.ref()
  }

  /** The connection has gone, or is a new one. */
  forget(): void {
    this.#since = null
  }

  stop(): void {
    this.forget()
    this.#timer?.stop()
    this.#timer = null
  }

  /** One timer that looks again when it fires, rather than one for each pause. */
  #arm(millis: number): void {
    if (this.#timer !== null) return
    this.#timer = timerFor(Math.min(millis, LONGEST_TIMER_MILLIS), () => this.#look())!
    this.#timer.unref()
  }

  #look(): void {
    this.#timer = null
    if (this.#since === null || this.#kept) return
    const left = this.#options.idleTimeoutMillis - this.millis
    if (left > 1) this.#arm(left)
    else this.#onTooLong()
  }
}
