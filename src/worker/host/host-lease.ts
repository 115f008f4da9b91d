/**
 * A worker's lease, on the owner's thread: one of the broker's, driven by what the worker says.
 *
 * States: `waiting` → `held` (granted) → `left` (the worker's callback has settled, or its handle was released) →
 * `over` (settled). What the worker says ahead of the grant, because it knew to be next, is kept until then. `dead`
 * comes instead when the worker is gone, or waits no longer.
 */
import { ConnectionLostError, ConnectionReleasedError } from '../../errors.js'
import { revoke } from '../../lease/release.js'
import { deadline } from '../../util/deadlines.js'
import { become, type Transitions } from '../../util/transitions.js'
import { decodeThrown } from '../wire-statement.js'
import { WorkerGoneError } from './host-context.js'
import { HostStatements } from './host-statements.js'
import type { Lease as LeasePort, LeaseTerms } from '../../api/ports.js'
import type { LeaseWaiter } from '../../broker/waiters.js'
import type { Lease } from '../../lease/lease.js'
import type { LeaseEntry, Thrown, WireLeft } from '../protocol.js'
import type { HostContext } from './host-context.js'

type State = 'waiting' | 'held' | 'left' | 'over' | 'dead'

const NEXT: Transitions<State> = {
  waiting: ['held', 'over', 'dead'],
  held: ['left', 'over', 'dead'],
  left: ['over'],
  over: [],
  dead: ['dead', 'over'],
}

export class HostLease {
  readonly id: number
  readonly #context: HostContext
  readonly #timeoutMillis: number
  readonly #deadline = deadline(() => this.#onDue())
  #state: State = 'waiting'
  #waiter: LeaseWaiter<void> | null = null
  #lease: Lease | null = null
  #statements: HostStatements | null = null
  /** What was said before it was granted. */
  #ahead: LeaseEntry[] = []
  /** Why it was taken out of the queue. */
  #expiry: Error | null = null
  /** What the worker was told last about its session. */
  #said = 'idle'
  /** What the worker knows of its turn: nothing, that it is next, or it has started it because of that. */
  #start: 'unknown' | 'announced' | 'begun' = 'unknown'

  constructor(id: number, timeoutMillis: number, context: HostContext) {
    this.id = id
    this.#timeoutMillis = timeoutMillis
    this.#context = context
  }

  /** Whose it is. */
  get host(): object {
    return this.#context
  }

  /** How many of its statements are unanswered. */
  get unanswered(): number {
    return this.#statements?.unanswered ?? 0
  }

  holds(holder: LeasePort | null): boolean {
    return holder !== null && holder === this.#lease
  }

  #become(next: State): void {
    this.#state = become("a worker's lease", NEXT, this.#state, next)
  }

  // ---- waiting

  /** Asks the broker for it. */
  ask(terms: LeaseTerms, stack: string | null): void {
    const { broker, deadlines } = this.#context.shared
    // How long it waits is agreed on with the worker, unless it does not wait at all.
    const wait = { timeoutMillis: this.#timeoutMillis === 0 ? 0 : Infinity }
    const waiter = broker.createWaiter(terms, wait, (lease) => this.#onGranted(lease), stack)
    this.#waiter = waiter
    waiter.promise.catch((error: unknown) => this.#onRefused(error))
    broker.dispatcher.ask(waiter, wait)
    if (this.#state !== 'waiting') return
    this.#context.shared.onQueued(waiter, this)
    if (this.#timeoutMillis > 0) deadlines.add(this.#deadline, this.#timeoutMillis)
  }

  /** Its worker is told that it is next; false when that was done before. */
  announce(): boolean {
    if (this.#start !== 'unknown') return false
    this.#start = 'announced'
    return true
  }

  /** What its worker may have started meanwhile is given up by both, or by none. */
  #onDue(): void {
    if (this.#start === 'unknown') this.expire()
    else this.#context.say(['late', this.id])
  }

  /** Its time has passed. */
  expire(): void {
    if (this.#waiter?.reject(null) !== true) return
    this.#expiry = this.#context.shared.broker.dispatcher.timedOut(this.#timeoutMillis)
  }

  /** Nobody waits for it any more. */
  withdraw(): void {
    // It crossed with the grant: the worker has forgotten the lease, and nothing was said in it.
    if (this.#state !== 'waiting') return this.#leave('returned', null, false)
    this.#become('dead')
    this.#waiter!.reject(new WorkerGoneError())
  }

  #leaveQueue(): void {
    const { shared } = this.#context
    shared.deadlines.remove(this.#deadline)
    shared.onLeftQueue(this.#waiter!)
  }

  #onRefused(error: unknown): void {
    this.#leaveQueue()
    const dead = this.#state === 'dead'
    this.#end()
    if (!dead) this.#context.fail(this.id, this.#refusal(error))
  }

  /** What its worker has started already has lost its connection, where others were refused one. */
  #refusal(error: unknown): unknown {
    if (this.#expiry !== null) return this.#expiry
    if (this.#start !== 'begun') return error
    return new ConnectionLostError({ commitOutcome: 'none', retrySafe: true, cause: error })
  }

  /** Over, in whatever way: nothing is kept. */
  #end(): void {
    if (this.#state === 'over') return
    this.#become('over')
    this.#forgetAhead()
    this.#context.shared.onLeft(this)
    this.#context.settled(this.id, null)
  }

  // ---- holding

  #onGranted(lease: Lease): void {
    this.#leaveQueue()
    this.#lease = lease
    lease.onRevoked = (error) => this.#onRevoked(error)
    this.#become('held')
    this.#statements = new HostStatements(lease, this.#context, () => this.tellState())
    this.#context.shared.onGranted(this)
    if (this.#start !== 'begun') this.#context.say(['granted', this.id])
    const ahead = this.#ahead
    this.#ahead = []
    for (const entry of ahead) this.#act(entry)
  }

  #onRevoked(error: Error): void {
    if (this.#state !== 'held' && this.#state !== 'left') return
    this.#end()
    this.#context.fail(this.id, error)
  }

  /** The worker is gone: whatever it was about to do is rolled back. */
  kill(): void {
    if (this.#state === 'waiting') return this.withdraw()
    if (this.#state !== 'held') return
    this.#become('dead')
    this.#statements!.closeStreams()
    this.#context.shared.onLeft(this)
    void revoke(this.#lease!, new WorkerGoneError(), 'holder gone')
  }

  #leave(left: WireLeft, thrown: Thrown, close: boolean): void {
    if (this.#state !== 'held') return
    this.#become('left')
    this.#context.shared.onLeft(this)
    const error = left === 'threw' ? decodeThrown(thrown) : undefined
    const lease = this.#lease!
    lease.release({ left, error, close }).then(
      () => this.#onSettled(null),
      (failure: unknown) => this.#onSettled({ reason: failure }),
    )
  }

  #onSettled(failure: { readonly reason: unknown } | null): void {
    if (this.#state === 'over') return
    this.#become('over')
    this.#context.settled(this.id, failure === null ? this.#lease!.retrySafe : null)
    if (failure !== null) this.#context.fail(this.id, failure.reason)
  }

  /** Says what the session does between statements, where the worker does not know it yet. */
  tellState(): void {
    if (this.#state !== 'held') return
    const { status } = this.#lease!
    if (status === 'active' || status === this.#said) return
    this.#said = status
    this.#context.say(['state', this.id, status])
  }

  // ---- what the worker says within it

  /** Throws what is wrong with it, if the worker may not say it now. */
  hear(entry: LeaseEntry): void {
    if (this.#state !== 'waiting') return this.#act(entry)
    if (entry[0] === 'begun' && this.#start === 'announced') this.#start = 'begun'
    else if (this.#start === 'begun') this.#keepAhead(entry)
    else throw new TypeError(`"${entry[0]}" was said in a lease that had not begun`)
  }

  #keepAhead(entry: LeaseEntry): void {
    // It may be cancelled before it is its turn.
    if (isAbortable(entry)) this.#context.aborts.signal(entry[2])
    this.#ahead.push(entry)
  }

  #forgetAhead(): void {
    for (const entry of this.#ahead) if (isAbortable(entry)) this.#context.aborts.over(entry[2])
    this.#ahead = []
  }

  #act(entry: LeaseEntry): void {
    switch (entry[0]) {
      case 'begun':
        // It was granted meanwhile.
        return
      case 'leave':
        return this.#leave(entry[2], entry[3], entry[4])
      case 'autocommit':
        if (this.#state === 'held') this.#lease!.autocommit = entry[2]
        return
      default:
        if (this.#state === 'held') return this.#statements!.act(entry)
        return this.#context.fail(entry[2], new ConnectionReleasedError())
    }
  }
}

/** A `cancel` may come for it by its number. */
function isAbortable(
  entry: LeaseEntry,
): entry is Extract<LeaseEntry, readonly ['statement' | 'rows', ...unknown[]]> {
  if (entry[0] === 'statement') return entry[3][6]
  return entry[0] === 'rows' && entry[4] !== null && entry[4][0][6]
}
