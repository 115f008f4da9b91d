/** What may stand in the wait queue: one who wants a lease, and a one-shot or a batch. */
import { withCallersFrames } from '../util/callers-frames.js'
import { now } from '../util/clock.js'
import { Waiter } from './wait-queue.js'
import type { LeaseTerms } from '../api/ports.js'
import type { Backend } from '../backend/backend.js'
import type { Lease } from '../lease/lease.js'
import type { Caller, Pipelining, Request } from '../pipeline/request.js'
import type { WaitQueue } from './wait-queue.js'

/** What waiters need of the broker. */
export interface WaiterHost {
  grant(backend: Backend, waiter: LeaseWaiter<never>): Lease
  /** The backend is used again. */
  wake(backend: Backend): void
  /** A waiter has left the queue without being granted. */
  onLeft(): void
  /** The error of one whose time has passed. */
  timedOut(timeoutMillis: number): Error
}

/** One who waits for the backend. */
export abstract class BrokerWaiter extends Waiter<Backend> {
  protected readonly host: WaiterHost
  readonly #timeoutMillis: number
  /** When it joined the queue, in whole milliseconds: a fraction would be an object of its own. 0: it never did. */
  #joinedAt = 0

  constructor(host: WaiterHost, timeoutMillis: number) {
    super()
    this.host = host
    this.#timeoutMillis = timeoutMillis
  }

  override joined(queue: WaitQueue<Backend>, signal: AbortSignal | undefined): void {
    this.#joinedAt = Math.trunc(now())
    super.joined(queue, signal)
  }

  /** Whether the backend can serve it now. */
  abstract fits(backend: Backend): boolean
  /** It is served. */
  abstract serve(backend: Backend): void
  /** It gets nothing. */
  abstract fail(error: unknown): void

  /** Its asker is gone: it leaves the queue or, where it was sent and is alone in flight, is cancelled. */
  abandon(error: unknown): void {
    this.reject(error)
  }

  protected override accept(backend: Backend): void {
    this.serve(backend)
  }

  protected override refuse(error: unknown): void {
    this.fail(error)
    this.host.onLeft()
  }

  /** How long it has waited. */
  get waitedMillis(): number {
    return this.#joinedAt === 0 ? 0 : Math.max(0, Math.trunc(now()) - this.#joinedAt)
  }

  override timedOut(): Error {
    return this.host.timedOut(this.#timeoutMillis)
  }
}

/** One who waits for a lease, and gets what `receive` makes of it. */
export class LeaseWaiter<T> extends BrokerWaiter {
  readonly terms: LeaseTerms
  /** Where it was asked for; null where nobody wants to know. */
  readonly stack: string | null
  readonly #receive: (lease: Lease) => T
  #resolve!: (received: T) => void
  #reject!: (error: unknown) => void

  constructor(
    host: WaiterHost,
    facts: { terms: LeaseTerms; stack: string | null; receive: (lease: Lease) => T; timeoutMillis: number },
  ) {
    super(host, facts.timeoutMillis)
    this.terms = facts.terms
    this.stack = facts.stack
    this.#receive = facts.receive
  }

  /** Settles with the waiter. To be asked for once. */
  get promise(): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  /** A lease follows a predecessor's COMMIT at once, but waits until one-shots are answered. */
  override fits({ pipeline }: Backend): boolean {
    return pipeline.onlyEndings
  }

  override serve(backend: Backend): void {
    this.host.wake(backend)
    this.#resolve(this.#receive(this.host.grant(backend, this as unknown as LeaseWaiter<never>)))
  }

  override fail(error: unknown): void {
    this.#reject(error)
  }
}

/** A one-shot or a batch, as it was asked for. */
export interface OneShot<C> {
  readonly call: C
  /** How its request will go with others. */
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
  #resolve!: (value: T) => void
  #reject!: (error: unknown) => void

  /** @param keepsRequest `abandon` may be called for what was sent */
  constructor(host: WaiterHost, oneShot: OneShot<C>, timeoutMillis: number, keepsRequest = false) {
    super(host, timeoutMillis)
    this.#oneShot = oneShot
    this.#keepsRequest = keepsRequest
  }

  /** Settles with the request, or with the waiter. To be asked for once. */
  ask(): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    }).catch(withCallersFrames)
  }

  override fits({ pipeline }: Backend): boolean {
    return pipeline.hasRoomFor(this.#oneShot.pipelining)
  }

  override serve(backend: Backend): void {
    this.host.wake(backend)
    const { call, create, pipelining } = this.#oneShot
    const request = create(call, pipelining === 'exclusive')
    request.settleWith(this)
    if (this.#keepsRequest) {
      this.#backend = backend
      this.#request = request
    }
    backend.pipeline.submit(request)
  }

  succeed(value: unknown): void {
    this.#resolve(value as T)
  }

  override fail(error: unknown): void {
    this.#reject(error)
  }

  override abandon(error: unknown): void {
    if (!this.reject(error) && this.#request !== null) this.#backend!.pipeline.cancelIfAlone(this.#request)
  }
}
