/**
 * From time to time a connection that somebody depends on is asked whether it is there still. Nobody else would notice
 * the loss of one on which nothing is said: a path that has gone deaf looks like silence.
 */
import { validate } from '../backend/checks.js'
import { timerFor, type Timer } from '../util/timer.js'
import type { Backend } from '../backend/backend.js'

export class Heartbeat {
  readonly #millis: number
  readonly #beat: () => void
  #timer: Timer | null = null

  /** @param millis between two beats; 0 = none */
  constructor(millis: number, beat: () => void) {
    this.#millis = millis
    this.#beat = beat
  }

  start(): void {
    if (this.#millis === 0 || this.#timer !== null) return
    this.#timer = timerFor(this.#millis, this.#onTime) ?? null
    // What keeps the process alive is the one who depends on the connection.
    this.#timer?.unref()
  }

  readonly #onTime = (): void => {
    this.#timer = null
    this.start()
    this.#beat()
  }

  stop(): void {
    this.#timer?.stop()
    this.#timer = null
  }
}

/** Where something is unanswered its own limits hold, and a holder's long statement is no sign of a loss. */
export function askIfQuiet(backend: Backend | null): void {
  if (backend !== null && backend.pipeline.pending === 0) validate(backend).catch(() => {})
}
