/** What may stand in the line: a waiter for a turn, and a one-shot or a batch. */
import { withCallersFrames } from '../util/callers-frames.js'
import { now } from '../util/clock.js'
import { Waiter } from './wait-queue.js'
import type { Request } from '../pipeline/request.js'
import type { WaitQueue } from './wait-queue.js'
import type { Backend } from '../backend/backend.js'
import type { Lease, LeaseTerms } from '../lease/lease.js'

/** What a waiter needs of the broker. */
export interface WaiterHost {
  grant(backend: Backend, options: LeaseTerms, stack: string | null, waitedMillis: number): Lease
  /** The live backend. */
  readonly backend: Backend | null
  /** The backend is used again. */
  wake(backend: Backend): void
  /** A waiter has left the line without being granted. */
  onLeft(): void
  /** The error of one whose time has passed. */
  timedOut(timeoutMillis: number): Error
}

/** One who asks; it is granted the live backend. */
export abstract class BrokerWaiter extends Waiter<Backend> {
  protected readonly host: WaiterHost
  readonly #timeoutMillis: number
  /** When it joined the line, in whole milliseconds: a fraction would be an object of its own. 0: it never did. */
  #joinedAt = 0

  constructor(host: WaiterHost, timeoutMillis: number) {
    super()
    this.host = host
    this.#timeoutMillis = timeoutMillis
  }

  override joined(line: WaitQueue<Backend>, signal: AbortSignal | undefined): void {
    this.#joinedAt = Math.trunc(now())
    super.joined(line, signal)
  }

  /** Whether the backend can serve it now. */
  abstract fits(backend: Backend): boolean
  /** It is served. */
  abstract serve(backend: Backend): void
  /** It gets nothing. */
  abstract fail(error: unknown): void

  protected override accept(backend: Backend): void {
    this.serve(backend)
  }

  protected override refuse(error: unknown): void {
    this.fail(error)
    this.host.onLeft()
  }

  /** Its asker may call `abandon`. */
  keepUnit(): this {
    return this
  }

  /** Its asker is gone: it leaves the line, and what it has under way is cancelled where that hits nobody else. */
  abandon(error: unknown): void {
    this.reject(error)
  }

  protected get waitedMillis(): number {
    return this.#joinedAt === 0 ? 0 : Math.max(0, Math.trunc(now()) - this.#joinedAt)
  }

  override timedOut(): Error {
    return this.host.timedOut(this.#timeoutMillis)
  }
}

/** One who waits for a turn, and gets what `receive` makes of it. */
export class LeaseWaiter<T> extends BrokerWaiter {
  readonly #options: LeaseTerms
  readonly #stack: string | null
  readonly #receive: (turn: Lease) => T
  #resolve!: (received: T) => void
  #reject!: (error: unknown) => void

  constructor(
    host: WaiterHost,
    facts: { options: LeaseTerms; stack: string | null; receive: (turn: Lease) => T; timeoutMillis: number },
  ) {
    super(host, facts.timeoutMillis)
    this.#options = facts.options
    this.#stack = facts.stack
    this.#receive = facts.receive
  }

  /** Settles with the waiter. To be asked for once. */
  get promise(): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  /** A turn follows a predecessor's COMMIT at once, but never one-shots: an open pipeline has no owner. */
  override fits(backend: Backend): boolean {
    return backend.onlySeals
  }

  override serve(backend: Backend): void {
    this.host.wake(backend)
    this.#resolve(this.#receive(this.host.grant(backend, this.#options, this.#stack, this.waitedMillis)))
  }

  override fail(error: unknown): void {
    this.#reject(error)
  }
}

/** A one-shot or a batch, as it was asked for. */
export interface OneShot<C> {
  readonly call: C
  /** How its request will pipelining. */
  readonly pipelining: Request['pipelining']
  /** Makes the request, when it is to be sent. */
  readonly create: (call: C) => Request
}

/**
 * A one-shot or a batch that waits to be sent. Its request is made when it is: a hundred thousand may wait, and what is
 * new when it is answered is cheaply collected.
 */
export class OneShotWaiter<C, T> extends BrokerWaiter {
  readonly #call: C
  readonly #create: (call: C) => Request
  readonly #pipelining: Request['pipelining']
  #keepsUnit = false
  /** What was sent, where its asker may want it cancelled; else it is not to outlive its answer. */
  #request: Request | null = null
  #resolve!: (value: T) => void
  #reject!: (error: unknown) => void

  constructor(
    host: WaiterHost,
    { call, create }: OneShot<C>,
    pipelining: Request['pipelining'],
    timeoutMillis: number,
  ) {
    super(host, timeoutMillis)
    this.#call = call
    this.#pipelining = pipelining
    this.#create = create
  }

  /** Settles with the request, or with the waiter. To be asked for once. */
  get promise(): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    }).catch(withCallersFrames)
  }

  override fits(backend: Backend): boolean {
    return backend.hasRoomFor(this.#pipelining)
  }

  override serve(backend: Backend): void {
    this.host.wake(backend)
    const request = this.#create(this.#call)
    // It could not be sent again, if the connection died behind a COMMIT.
    request.unrepeatable = true
    if (this.#pipelining === 'exclusive') request.pipelining = 'exclusive'
    request.settleWith(this.#resolve, this.#reject)
    if (this.#keepsUnit) this.#request = request
    backend.submit(request)
  }

  override fail(error: unknown): void {
    this.#reject(error)
  }

  override keepUnit(): this {
    this.#keepsUnit = true
    return this
  }

  override abandon(error: unknown): void {
    if (!this.reject(error) && this.#request !== null) this.host.backend?.cancelAlone(this.#request)
  }
}
