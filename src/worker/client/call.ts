/** A call to the owner that is unanswered. */
import { onAbort } from '../../util/abort-listeners.js'
import { reasonOf } from '../../util/abort-signals.js'
import { withCallersFrames } from '../../util/callers-frames.js'
import { CANCELLED } from '../protocol.js'
import type { OutcomeWatch } from '../../api/ports.js'
import type { RemoteLease } from './remote-lease.js'

/** What a call is about. */
export interface CallFacts<T> {
  /** The lease that it is part of. */
  readonly lease?: RemoteLease
  /** Cancels it at the owner's. */
  readonly signal?: AbortSignal | undefined
  /** Makes what the caller gets of the owner's answer. */
  readonly decode?: (answer: never) => T
  /** Is told how it went. */
  readonly watch?: OutcomeWatch | null
}

/** One shape for all calls: there is one for each statement. */
export class Call {
  readonly lease: RemoteLease | undefined
  readonly promise: Promise<unknown>
  readonly #signal: AbortSignal | undefined
  readonly #decode: ((answer: never) => unknown) | undefined
  /** Stops listening to the signal. */
  readonly #ignoreAbort: (() => void) | null
  #resolve!: (value: unknown) => void
  #reject!: (error: unknown) => void

  /** @param cancel is called with the reason when the signal aborts */
  constructor({ lease, signal, decode, watch }: CallFacts<unknown>, cancel: (reason: unknown) => void) {
    this.lease = lease
    this.#signal = signal
    this.#decode = decode
    this.#ignoreAbort = signal === undefined ? null : onAbort(signal, () => cancel(reasonOf(signal)))
    const answered = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    }).catch(withCallersFrames)
    this.promise = watch == null ? answered : watch.follow(answered)
    if (lease !== undefined) lease.outstanding++
  }

  answer(answer: unknown): void {
    this.#over()
    try {
      this.#resolve(this.#decode === undefined ? answer : this.#decode(answer as never))
    } catch (error) {
      this.#reject(error)
    }
  }

  fail(error: unknown): void {
    this.#over()
    this.#reject(error === CANCELLED && this.#signal !== undefined ? reasonOf(this.#signal) : error)
  }

  #over(): void {
    this.#ignoreAbort?.()
    if (this.lease !== undefined) this.lease.outstanding--
  }
}
