/**
 * Watches over a connection that nobody uses: how long that has lasted. Unless somebody listens on it, it does not
 * keep the process alive, and is closed when it has been idle for `idleTimeoutMillis`.
 */
import { LONGEST_TIMER_MILLIS } from '../util/timer.js'
import type { Session } from '../session/session.js'

export interface IdleOptions {
  readonly allowExitOnIdle: boolean
  readonly idleTimeoutMillis: number
}

export class Idleness {
  readonly #options: IdleOptions
  readonly #onTooLong: () => void
  /** When the connection was last used; null while it is in use, or there is none. */
  #since: number | null = null
  /** Somebody listens on it. */
  #kept = false
  #timer: NodeJS.Timeout | null = null

  constructor(options: IdleOptions, onTooLong: () => void) {
    this.#options = options
    this.#onTooLong = onTooLong
  }

  /** How long the connection has not been used; 0 while it is in use. */
  get millis(): number {
    return this.#since === null ? 0 : performance.now() - this.#since
  }

  /** Nobody speaks on the connection any more. Where it is `kept`, because somebody listens, it stays as it is. */
  begin(session: Session, kept: boolean): void {
    if (this.#since !== null && this.#kept === kept) return
    this.#since ??= performance.now()
    this.#kept = kept
    if (kept) return session.ref()
    const { allowExitOnIdle, idleTimeoutMillis } = this.#options
    if (allowExitOnIdle) session.unref()
    if (idleTimeoutMillis > 0) this.#arm(idleTimeoutMillis)
  }

  /** The connection is used again. */
  end(session: Session): void {
    if (this.#since === null) return
    this.#since = null
    session.ref()
  }

  /** The connection has gone, or is a new one. */
  forget(): void {
    this.#since = null
  }

  /** Nothing is watched any more. */
  stop(): void {
    this.forget()
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
  }

  /** One timer that looks again when it fires, rather than one for each pause. */
  #arm(millis: number): void {
    this.#timer ??= setTimeout(() => this.#look(), Math.min(millis, LONGEST_TIMER_MILLIS)).unref()
  }

  #look(): void {
    this.#timer = null
    if (this.#since === null || this.#kept) return
    const left = this.#options.idleTimeoutMillis - this.millis
    if (left > 1) this.#arm(left)
    else this.#onTooLong()
  }
}
