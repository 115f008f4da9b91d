/** Those who want the connection to be open, and stand in no line for it. */
import { ConnectError } from '../errors.js'
import { onAbort } from '../util/abort-listeners.js'
import { reasonOf, throwIfAborted } from '../util/abort-signals.js'
import { now } from '../util/clock.js'
import { timerFor } from '../util/timer.js'
import type { Wait } from '../api/ports.js'
import type { BackendLife } from './backend-life.js'

/** An attempt that ends with its time tells more than that its time was up. */
const GRACE_MILLIS = 100

export class Connecting {
  #count = 0
  readonly #onNobody: () => void

  /** @param onNobody is told when the last of them waits no longer */
  constructor(onNobody: () => void) {
    this.#onNobody = onNobody
  }

  get isUnderWay(): boolean {
    return this.#count > 0
  }

  /** Waits until the connection is open, as long as `timeoutMillis` says for a server that is not there yet. */
  async wait(life: BackendLife, { timeoutMillis, signal }: Wait): Promise<void> {
    throwIfAborted(signal)
    const { keeper } = life
    if (keeper.backend !== null) return
    this.#count++
    keeper.patientUntil = Math.max(keeper.patientUntil, now() + timeoutMillis)
    try {
      await inTime(life.open(), { timeoutMillis, signal }, () => keeper.attemptError)
    } finally {
      if (--this.#count === 0) {
        keeper.patientUntil = 0
        this.#onNobody()
      }
    }
  }
}

/** The attempt goes on, if others wait for it. */
function inTime(
  opening: Promise<void>,
  { timeoutMillis, signal }: Wait,
  attemptError: () => ConnectError | null,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const late = (): void => reject(lateError(timeoutMillis, attemptError()))
    const timer = timeoutMillis > 0 ? timerFor(timeoutMillis + GRACE_MILLIS, late) : undefined
    const ignoreAbort = signal && onAbort(signal, () => reject(reasonOf(signal) as Error))
    const over = (): void => {
      timer?.stop()
      ignoreAbort?.()
    }
    opening.finally(over).then(resolve, reject)
  })
}

function lateError(timeoutMillis: number, attempt: ConnectError | null): ConnectError {
  const story = `the connection was not open after ${timeoutMillis}ms`
  return attempt === null
    ? new ConnectError(story, { errors: [] })
    : new ConnectError(`${story}: ${attempt.message}`, { errors: attempt.errors, cause: attempt.cause })
}
