/**
 * Asks a connection on which somebody listens, from time to time, whether it is there still. Nobody else would notice
 * the loss of one on which nothing is said: a path that has gone deaf looks like silence.
 */
import { SyncRequest } from '../pipeline/control-request.js'
import { TRAITS } from '../pipeline/request.js'
import { timerFor } from '../util/timer.js'
import { SILENT_OWNER } from '../backend/silent-owner.js'
import type { Backend } from '../backend/backend.js'
import type { Timer } from '../util/timer.js'

/** How long the answer may take, in milliseconds. */
const ANSWER_MILLIS = 5_000

export class Heartbeat {
  readonly #millis: number
  readonly #backend: () => Backend | null
  #timer: Timer | null = null

  /** @param millis how often; 0 = never */
  constructor(millis: number, backend: () => Backend | null) {
    this.#millis = millis
    this.#backend = backend
  }

  /** Somebody listens. */
  start(): void {
    if (this.#millis > 0 && this.#timer === null) this.#arm()
  }

  /** Nobody listens any more. */
  stop(): void {
    this.#timer?.stop()
    this.#timer = null
  }

  #arm(): void {
    this.#timer = timerFor(this.#millis, this.#beat) ?? null
    // What keeps the process alive is the subscription.
    this.#timer?.unref()
  }

  readonly #beat = (): void => {
    this.#arm()
    const backend = this.#backend()
    // Where something is unanswered its own limits hold, and a holder's long statement is no sign of a loss.
    if (backend === null || backend.pipeline.pending > 0) return
    backend.pipeline.submit(new SyncRequest(SILENT_OWNER, { ...TRAITS, limitMillis: ANSWER_MILLIS }))
  }
}
