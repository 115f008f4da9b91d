/** What may stand in the line: a request for a turn, and a one-shot or a batch. */
import { withCallersFrames } from '../util/callers-frames.js'
import { now } from '../util/clock.js'
import { Waiter } from './line.js'
import type { Unit } from '../driver/unit.js'
import type { Line } from './line.js'
import type { Session } from '../session/session.js'
import type { Turn, TurnOptions } from './turn.js'

/** What a request needs of the scheduler. */
export interface RequestHost {
  takeFloor(session: Session, options: TurnOptions, stack: string | null, waitedMillis: number): Turn
  /** The live session. */
  readonly session: Session | null
  /** The session is used again. */
  wake(session: Session): void
  /** A request has left the line without being granted. */
  onLeft(): void
  /** The error of one whose time has passed. */
  timedOut(timeoutMillis: number): Error
}

/** One who asks; it is granted the live session. */
export abstract class Request extends Waiter<Session> {
  protected readonly host: RequestHost
  readonly #timeoutMillis: number
  /** When it joined the line, in whole milliseconds: a fraction would be an object of its own. 0: it never did. */
  #joinedAt = 0

  constructor(host: RequestHost, timeoutMillis: number) {
    super()
    this.host = host
    this.#timeoutMillis = timeoutMillis
  }

  override joined(line: Line<Session>, signal: AbortSignal | undefined): void {
    this.#joinedAt = Math.trunc(now())
    super.joined(line, signal)
  }

  /** Whether the session can serve it now. */
  abstract fits(session: Session): boolean
  /** It is served. */
  abstract serve(session: Session): void
  /** It gets nothing. */
  abstract fail(error: unknown): void

  protected override accept(session: Session): void {
    this.serve(session)
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
export class TurnRequest<T> extends Request {
  readonly #options: TurnOptions
  readonly #stack: string | null
  readonly #receive: (turn: Turn) => T
  #resolve!: (received: T) => void
  #reject!: (error: unknown) => void

  constructor(
    host: RequestHost,
    facts: { options: TurnOptions; stack: string | null; receive: (turn: Turn) => T; timeoutMillis: number },
  ) {
    super(host, facts.timeoutMillis)
    this.#options = facts.options
    this.#stack = facts.stack
    this.#receive = facts.receive
  }

  /** Settles with the request. To be asked for once. */
  get promise(): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  /** A turn follows a predecessor's COMMIT at once, but never one-shots: an open pipeline has no owner. */
  override fits(session: Session): boolean {
    return session.onlySeals
  }

  override serve(session: Session): void {
    this.host.wake(session)
    this.#resolve(this.#receive(this.host.takeFloor(session, this.#options, this.#stack, this.waitedMillis)))
  }

  override fail(error: unknown): void {
    this.#reject(error)
  }
}

/** A one-shot or a batch, as it was asked for. */
export interface OneShot<C> {
  readonly call: C
  /** How its unit will travel. */
  readonly travel: Unit['travel']
  /** Makes the unit, when it is to be sent. */
  readonly create: (call: C) => Unit
}

/**
 * A one-shot or a batch that waits to be sent. Its unit is made when it is: a hundred thousand may wait, and what is
 * new when it is answered is cheaply collected.
 */
export class UnitRequest<C, T> extends Request {
  readonly #call: C
  readonly #create: (call: C) => Unit
  readonly #travel: Unit['travel']
  #keepsUnit = false
  /** What was sent, where its asker may want it cancelled; else it is not to outlive its answer. */
  #unit: Unit | null = null
  #resolve!: (value: T) => void
  #reject!: (error: unknown) => void

  constructor(
    host: RequestHost,
    { call, create }: OneShot<C>,
    travel: Unit['travel'],
    timeoutMillis: number,
  ) {
    super(host, timeoutMillis)
    this.#call = call
    this.#travel = travel
    this.#create = create
  }

  /** Settles with the unit, or with the request. To be asked for once. */
  get promise(): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    }).catch(withCallersFrames)
  }

  override fits(session: Session): boolean {
    return session.hasRoomFor(this.#travel)
  }

  override serve(session: Session): void {
    this.host.wake(session)
    const unit = this.#create(this.#call)
    // It could not be sent again, if the connection died behind a COMMIT.
    unit.unrepeatable = true
    if (this.#travel === 'alone') unit.travel = 'alone'
    unit.settleWith(this.#resolve, this.#reject)
    if (this.#keepsUnit) this.#unit = unit
    session.submit(unit)
  }

  override fail(error: unknown): void {
    this.#reject(error)
  }

  override keepUnit(): this {
    this.#keepsUnit = true
    return this
  }

  override abandon(error: unknown): void {
    if (!this.reject(error) && this.#unit !== null) this.host.session?.cancelAlone(this.#unit)
  }
}
