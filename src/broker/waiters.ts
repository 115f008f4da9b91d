/** What may stand in the wait queue: one who wants a lease, and a one-shot or a batch. */
import { withCallersFrames } from '../util/callers-frames.js'
import { now } from '../util/clock.js'
import { Waiter, type WaitQueue } from './wait-queue.js'
import type { LeaseTerms, Wait } from '../api/ports.js'
import type { Backend } from '../backend/backend.js'
import type { Lease } from '../lease/lease.js'
import type { Caller, Pipelining, Request } from '../pipeline/request.js'
import type { Dispatcher } from './dispatcher.js'

export abstract class BrokerWaiter extends Waiter<Backend> {
  protected readonly dispatcher: Dispatcher
  readonly #timeoutMillis: number
  readonly label: string | null
  /** When it joined the queue, in whole milliseconds: a fraction would be an object of its own. 0: it never did. */
  #joinedAt = 0
  #resolve!: (value: unknown) => void
  #reject!: (error: unknown) => void

  constructor(dispatcher: Dispatcher, { timeoutMillis, label = null }: Wait) {
    super()
    this.dispatcher = dispatcher
    this.#timeoutMillis = timeoutMillis
    this.label = label
  }

  abstract fits(backend: Backend): boolean
  /** A transaction whose COMMIT waits for the disk together with others. */
  get grouped(): boolean {
    return false
  }

  abstract override accept(backend: Backend): void

  override joined(queue: WaitQueue<Backend>, signal: AbortSignal | undefined): void {
    this.#joinedAt = Math.trunc(now())
    super.joined(queue, signal)
  }

  /** Settles with the waiter. To be asked for once. */
  protected settled<T>(): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#resolve = resolve as (value: unknown) => void
      this.#reject = reject
    })
  }

  succeed(value: unknown): void {
    this.#resolve(value)
  }

  fail(error: unknown): void {
    this.#reject(error)
  }

  protected override refuse(error: unknown): void {
    this.fail(error)
    this.dispatcher.onLeft()
  }

  get waitedMillis(): number {
    return this.#joinedAt === 0 ? 0 : Math.max(0, Math.trunc(now()) - this.#joinedAt)
  }

  override timedOut(): Error {
    return this.dispatcher.timedOut(this.#timeoutMillis, this.label)
  }
}

/** One who waits for a lease, and gets what `receive` makes of it. */
export class LeaseWaiter<T> extends BrokerWaiter {
  readonly terms: LeaseTerms
  /** Where it was asked for; null where nobody wants to know. */
  readonly stack: string | null
  readonly #receive: (lease: Lease) => T

  constructor(
    dispatcher: Dispatcher,
    facts: { terms: LeaseTerms; receive: (lease: Lease) => T; wait: Wait },
  ) {
    super(dispatcher, facts.wait)
    this.terms = facts.terms
    this.stack = facts.wait.stack ?? null
    this.#receive = facts.receive
  }

  get promise(): Promise<T> {
    return this.settled()
  }

  override get grouped(): boolean {
    return this.terms.commitment?.group === true
  }

  /** A lease follows a predecessor's COMMIT at once, but waits until one-shots are answered. */
  override fits({ pipeline }: Backend): boolean {
    return pipeline.onlyEndings
  }

  override accept(backend: Backend): void {
    this.dispatcher.life.wake(backend)
    this.succeed(this.#receive(this.dispatcher.grant(backend, this)))
  }
}

/** A one-shot or a batch, as it was asked for. */
export interface OneShot<C> {
  readonly call: C
  readonly pipelining: Pipelining
  /** Makes the request, when it is to be sent. */
  readonly create: (call: C, exclusive: boolean) => Request
}

/**
 * A one-shot or a batch that waits to be sent. Its request is made when it is: a hundred thousand may wait, and what is
 * new when it is answered is cheaply collected.
 */
export class OneShotWaiter<C, T> extends BrokerWaiter implements Caller {
  readonly #oneShot: OneShot<C>
  readonly #keepsRequest: boolean
  /** Its failures always have a reaction. */
  readonly promise = null
  #backend: Backend | null = null
  /** What was sent, where it may have to be abandoned; else it is not to outlive its answer. */
  #request: Request | null = null

  /** @param keepsRequest `abandon` may be called for what was sent */
  constructor(dispatcher: Dispatcher, oneShot: OneShot<C>, wait: Wait, keepsRequest = false) {
    super(dispatcher, wait)
    this.#oneShot = oneShot
    this.#keepsRequest = keepsRequest
  }

  /** Settles with the request, or with the waiter. To be asked for once. */
  ask(): Promise<T> {
    return this.settled<T>().catch(withCallersFrames)
  }

  override fits({ pipeline }: Backend): boolean {
    return pipeline.hasRoomFor(this.#oneShot.pipelining)
  }

  override accept(backend: Backend): void {
    this.dispatcher.life.wake(backend)
    const { call, create, pipelining } = this.#oneShot
    const request = create(call, pipelining === 'exclusive')
    request.settleWith(this)
    if (this.#keepsRequest) {
      this.#backend = backend
      this.#request = request
    }
    backend.pipeline.submit(request)
  }

  /** Its asker is gone: it leaves the queue or, where it was sent and is alone in flight, is cancelled. */
  abandon(error: unknown): void {
    if (!this.reject(error) && this.#request !== null) this.#backend!.pipeline.cancelIfAlone(this.#request)
  }
}
