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
import { encodeThrown } from '../wire-error.js'
import { decodeCommitment, decodeSettings } from '../wire-statement.js'
import { HostStatements } from './host-statements.js'
import type { Leaving } from '../../api/ports.js'
import type { LeaseWaiter } from '../../broker/waiters.js'
import type { Lease } from '../../lease/lease.js'
import type { Entry, LeaseCall, LeaseEntry } from '../protocol.js'
import type { Host, Outcome } from './host.js'

type State = 'waiting' | 'held' | 'left' | 'over' | 'dead'

const NEXT: Transitions<State> = {
  waiting: ['held', 'over', 'dead'],
  held: ['left', 'over', 'dead'],
  left: ['over'],
  over: [],
  dead: ['dead', 'over'],
}

/** The holder, or the one who waited, is no more. */
export function workerGone(): Error {
  return new Error('the worker is gone, or waits no longer')
}

export class HostLease {
  readonly id: number
  /** Whose it is. */
  readonly host: Host
  readonly #timeoutMillis: number
  readonly #waiter: LeaseWaiter<void>
  readonly #deadline = deadline(() => this.#onDue())
  #state: State = 'waiting'
  #lease: Lease | null = null
  #statements: HostStatements | null = null
  /** How many of its calls are unanswered. */
  unanswered = 0
  /** What was said before it was granted. */
  #ahead: LeaseEntry[] = []
  /** What the worker was told last about its session. */
  #said = 'idle'
  /** What the worker knows of its turn: nothing, that it is next, or it has started it because of that. */
  #start: 'unknown' | 'announced' | 'begun' = 'unknown'

  /** Asks the broker for it. Until it is over it stands among its host's leases. */
  constructor(
    host: Host,
    [, id, , [autocommit, begin, owned, how, set], timeoutMillis, stack, label]: Entry<'ask'>,
  ) {
    this.id = id
    this.host = host
    this.#timeoutMillis = timeoutMillis
    const { broker, deadlines, waiting } = host.shared
    // How long it waits is agreed on with the worker, unless it does not wait at all.
    const wait = { timeoutMillis: timeoutMillis === 0 ? 0 : Infinity, stack, label }
    const commitment = decodeCommitment(how)
    const terms = { autocommit, begin, owned, commitment, settings: decodeSettings(set) }
    this.#waiter = broker.createWaiter(terms, wait, (lease) => this.#onGranted(lease))
    host.leases.set(id, this)
    this.#waiter.promise.catch((error: unknown) => this.#onRefused(error))
    broker.dispatcher.ask(this.#waiter, wait)
    if (this.#state !== 'waiting') return
    waiting.set(this.#waiter, this)
    if (timeoutMillis > 0) deadlines.add(this.#deadline, timeoutMillis)
  }

  get held(): boolean {
    return this.#state === 'held'
  }

  #become(next: State): void {
    this.#state = become("a worker's lease", NEXT, this.#state, next)
  }

  // ---- waiting

  /** Its worker is told that it is next; false when that was done before. */
  announce(): boolean {
    if (this.#start !== 'unknown') return false
    this.#start = 'announced'
    return true
  }

  /** What its worker may have started meanwhile is given up by both, or by none. */
  #onDue(): void {
    if (this.#start === 'unknown') this.expire()
    else this.host.say(['late', this.id])
  }

  /** Its time has passed: null stands for the error, which tells who was ahead when it had left. */
  expire(): void {
    this.#waiter.reject(null)
  }

  /** Nobody waits for it any more. */
  withdraw(): void {
    // It crossed with the grant: the worker has forgotten the lease, and nothing was said in it.
    if (this.#state !== 'waiting') return this.#act(['leave', this.id, this.id, 'returned', null, false])
    this.#become('dead')
    this.#waiter.reject(workerGone())
  }

  #leaveQueue(): void {
    const { deadlines, waiting } = this.host.shared
    deadlines.remove(this.#deadline)
    waiting.delete(this.#waiter)
  }

  #onRefused(error: unknown): void {
    this.#leaveQueue()
    const dead = this.#state === 'dead'
    this.#end()
    if (dead) return
    // What its worker has started already has lost its connection, where others were refused one.
    if (this.#start === 'begun') {
      this.#sayRevoked(new ConnectionLostError({ commitOutcome: 'none', retrySafe: true, cause: error }))
    } else if (error !== null) this.host.fail(this.id, error)
    else
      this.host.fail(
        this.id,
        this.host.shared.broker.dispatcher.timedOut(this.#timeoutMillis, this.#waiter.label),
      )
  }

  #sayRevoked(error: Error): void {
    this.host.say(['revoked', this.id, encodeThrown(error)])
  }

  /** Over, in whatever way: nothing is kept. */
  #end(): void {
    if (this.#state === 'over') return
    this.#become('over')
    for (const entry of this.#ahead) if (isAbortable(entry)) this.host.aborts.delete(entry[2])
    this.#ahead = []
    this.host.leases.delete(this.id)
  }

  // ---- holding

  #onGranted(lease: Lease): void {
    this.#leaveQueue()
    this.#lease = lease
    lease.onRevoked = (error) => this.#onRevoked(error)
    this.#become('held')
    this.#statements = new HostStatements(lease, this.host)
    this.host.shared.lastGranted = this
    if (this.#start !== 'begun') this.host.say(['answer', this.id, true])
    const ahead = this.#ahead
    this.#ahead = []
    for (const entry of ahead) this.#act(entry)
  }

  #onRevoked(error: Error): void {
    if (this.#state !== 'held' && this.#state !== 'left') return
    this.#end()
    this.#sayRevoked(error)
  }

  /** The worker is gone: whatever it was about to do is rolled back. */
  kill(): void {
    if (this.#state === 'waiting') return this.withdraw()
    if (this.#state !== 'held') return
    this.#become('dead')
    this.#statements!.closeStreams()
    void revoke(this.#lease!, workerGone(), 'holder gone')
  }

  #giveUp(): void {
    if (this.#state !== 'held') return
    this.#statements!.closeStreams()
    void revoke(this.#lease!, new Error('the worker has given it up'), 'aborted')
  }

  /** Settles it. Resolves with whether its transaction may be retried. */
  async #leave(leaving: Leaving): Promise<boolean> {
    this.#become('left')
    const lease = this.#lease!
    try {
      await lease.release(leaving)
      return lease.retrySafe
    } finally {
      this.#end()
    }
  }

  /** Says what the session does between statements, where the worker does not know it yet. */
  tellState(): void {
    if (this.#state !== 'held') return
    const { status } = this.#lease!
    if (status === 'active' || status === this.#said) return
    this.#said = status
    this.host.say(['state', this.id, status])
  }

  // ---- what the worker says within it

  /** Throws what is wrong with it, if the worker may not say it now. */
  hear(entry: LeaseEntry): void {
    if (this.#state !== 'waiting') return this.#act(entry)
    if (this.#start === 'begun') {
      // It may be cancelled before it is its turn.
      if (isAbortable(entry)) this.host.abortOf(entry[2])
      this.#ahead.push(entry)
    } else if (this.#start === 'announced' && entry[0] === 'begun') this.#start = 'begun'
    else throw new TypeError(`"${entry[0]}" was said in a lease that had not begun`)
  }

  #act(entry: LeaseEntry): void {
    // It may have been granted before it was said that it had begun.
    if (entry[0] === 'begun') return
    if (entry[0] === 'giveUp') return this.#giveUp()
    if (entry[0] !== 'autocommit') return void this.#call(entry)
    if (this.#state === 'held') this.#lease!.autocommit = entry[2]
  }

  async #call(call: LeaseCall): Promise<void> {
    if (this.#state !== 'held') return this.host.fail(call[2], new ConnectionReleasedError())
    this.unanswered++
    await this.host.answer(call[2], () => this.#carryOut(call), this)
    this.unanswered--
  }

  #carryOut(call: LeaseCall): Promise<Outcome> {
    if (call[0] !== 'leave') return this.#statements!.carryOut(call)
    const [, , , left, words, close] = call
    return this.#leave({ left, error: left === 'threw' ? errorOf(words) : undefined, close })
  }
}

/** A `cancel` may come for it by its number. */
function isAbortable(entry: LeaseEntry): entry is Entry<'statement' | 'rows'> {
  if (entry[0] === 'statement') return entry[3][6]
  return entry[0] === 'rows' && entry[4] !== null && entry[4][0][6]
}

/** What stands for the error that left the worker's callback: the server's words in it, if there are any. */
function errorOf(words: readonly [code: string, severity: string] | null): Error {
  const error = new Error('thrown in a worker')
  return words === null ? error : Object.assign(error, { code: words[0], severity: words[1] })
}
