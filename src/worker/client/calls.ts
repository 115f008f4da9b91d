/** The calls to the owner that are unanswered, by their numbers. */
import { reasonOf } from '../../util/abort-signals.js'
import { withCallersFrames } from '../../util/callers-frames.js'
import { BriefMap } from '../../util/brief-map.js'
import { onAbort } from '../../util/abort-listeners.js'
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
class Call {
  readonly lease: RemoteLease | undefined
  readonly signal: AbortSignal | undefined
  readonly decode: ((answer: never) => unknown) | undefined
  /** Stops listening to the signal. */
  readonly ignoreAbort: (() => void) | null
  readonly promise: Promise<unknown>
  resolve!: (value: unknown) => void
  reject!: (error: unknown) => void

  constructor({ lease, signal, decode, watch }: CallFacts<unknown>, ignoreAbort: (() => void) | null) {
    this.lease = lease
    this.signal = signal
    this.decode = decode
    this.ignoreAbort = ignoreAbort
    const answered = new Promise((resolve, reject) => {
      this.resolve = resolve
      this.reject = reject
    }).catch(withCallersFrames)
    this.promise = watch == null ? answered : watch.follow(answered)
  }
}

export class Calls {
  readonly #calls = new BriefMap<number, Call>()
  readonly #cancel: (id: number) => void

  /** `cancel` asks the owner to cancel a call. */
  constructor(cancel: (id: number) => void) {
    this.#cancel = cancel
  }

  get size(): number {
    return this.#calls.size
  }

  add<T>(id: number, facts: CallFacts<T>): Promise<T> {
    const { signal, lease } = facts
    const ignoreAbort = signal === undefined ? null : onAbort(signal, () => this.#cancel(id))
    const call = new Call(facts, ignoreAbort)
    this.#calls.set(id, call)
    if (lease !== undefined) lease.outstanding++
    return call.promise as Promise<T>
  }

  answer(id: number, answer: unknown): void {
    const call = this.#take(id)
    if (call === undefined) return
    try {
      call.resolve(call.decode === undefined ? answer : call.decode(answer as never))
    } catch (error) {
      call.reject(error)
    }
  }

  fail(id: number, error: unknown): void {
    const call = this.#take(id)
    call?.reject(error === CANCELLED && call.signal !== undefined ? reasonOf(call.signal) : error)
  }

  failAllOf(lease: RemoteLease, error: unknown): void {
    for (const [id, call] of this.#calls.entries()) if (call.lease === lease) this.fail(id, error)
  }

  failAll(error: () => Error): void {
    for (const id of this.#calls.keys()) this.fail(id, error())
  }

  /** What is unanswered of a lease is reported in another way. */
  markHandled(lease: RemoteLease): void {
    if (lease.outstanding === 0) return
    for (const call of this.#calls.values()) if (call.lease === lease) call.promise.catch(() => {})
  }

  #take(id: number): Call | undefined {
    const call = this.#calls.get(id)
    if (call === undefined) return undefined
    this.#calls.delete(id)
    call.ignoreAbort?.()
    if (call.lease !== undefined) call.lease.outstanding--
    return call
  }
}
