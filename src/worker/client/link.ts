/**
 * What a worker has under way with the owner: the calls that are unanswered, the leases that it holds, its
 * subscriptions. It keeps the thread alive while there is anything.
 *
 * To ask for a lease is a call, too, under the lease's own number. The leases that are known to be next in line are
 * started here, when the present one has left: the owner hears of both in one message, and nobody else could have come
 * between.
 */
import { ConnectionLostError, ManagerEndedError } from '../../errors.js'
import { BufferedSubscription } from '../../listen/subscription.js'
import { reasonBehind } from '../../util/abort-signals.js'
import { BriefMap } from '../../util/brief-map.js'
import { SharedStats } from '../shared-stats.js'
import { decodeThrown } from '../wire-error.js'
import { Wire, type Speaker } from '../wire.js'
import { Call, type CallFacts } from './call.js'
import { RemoteLeaderships } from './remote-leaderships.js'
import { ResultDecoder } from './result-decoder.js'
import type { MessagePort } from 'node:worker_threads'
import type { TransactionStatus } from '../../api/connection.js'
import type { Wait } from '../../api/ports.js'
import type { Notification, Subscription } from '../../api/subscription.js'
import type { ToOwner, ToWorker, WireAnswer } from '../protocol.js'
import type { RemoteLease } from './remote-lease.js'

export class Link implements Speaker<ToWorker> {
  readonly stats: SharedStats
  readonly #wire: Wire<ToOwner, ToWorker>
  readonly #calls = new BriefMap<number, Call>()
  /** Those that are held. */
  readonly #leases = new BriefMap<number, RemoteLease>()
  /** The numbers of those that are next in line, in order. */
  readonly #next: number[] = []
  readonly #subscriptions = new Map<number, BufferedSubscription>()
  readonly leaderships = new RemoteLeaderships(this)
  readonly #decoder = new ResultDecoder()
  #lastID = 0
  #referenced = false
  /** Why nothing can be said any more; null while it can. */
  #closed: Error | null = null
  #drained: (() => void) | null = null

  constructor(port: MessagePort, stats: SharedArrayBuffer) {
    this.stats = new SharedStats(stats)
    this.#wire = new Wire<ToOwner, ToWorker>(port, this)
  }

  /** Nothing can be said any more. */
  get closed(): boolean {
    return this.#closed !== null
  }

  createID(): number {
    return ++this.#lastID
  }

  say(entry: ToOwner): void {
    this.#wire.say(entry)
  }

  /** Says what `entry` makes of the call's number, and waits for the answer. */
  call<T>(entry: (id: number) => ToOwner, facts: CallFacts<T> = {}, id = this.createID()): Promise<T> {
    if (this.#closed !== null) return Promise.reject(this.#endedError())
    const call = new Call(facts, (reason) => this.#cancel(id, reason))
    this.#calls.set(id, call)
    this.say(entry(id))
    this.watchActivity()
    return call.promise as Promise<T>
  }

  /** One who waits for a lease leaves the line at once; what is carried out ends when the owner says so. */
  #cancel(id: number, reason: unknown): void {
    if (!this.#waits(id)) return this.say(['cancel', id])
    this.say(['withdraw', id])
    this.#fail(id, reason)
  }

  #fail(id: number, error: unknown): void {
    const call = this.#calls.get(id)
    this.#calls.delete(id)
    call?.fail(error)
    this.watchActivity()
  }

  #endedError(): Error {
    return new ManagerEndedError({ cause: this.#closed })
  }

  // ---- leases

  /** Asks for a lease by `entry`. Resolves once it is granted; null where there is none at once. */
  ask(lease: RemoteLease, entry: ToOwner, signal: AbortSignal | undefined): Promise<RemoteLease | null> {
    const decode = (granted: boolean | null): RemoteLease | null => {
      if (granted === null) return null
      this.#leases.set(lease.id, lease)
      lease.held = true
      return lease
    }
    return this.call(() => entry, { lease, signal, decode }, lease.id)
  }

  /** The lease of this number was asked for, and is not granted yet. */
  #waits(id: number): boolean {
    return this.#calls.get(id)?.lease?.id === id
  }

  /** The lease's callback has settled, or its handle was released. Resolves once the owner has settled it. */
  leave(lease: RemoteLease, entry: (id: number) => ToOwner): Promise<void> {
    // The settlement reports the statements that were left unanswered.
    this.markUnansweredHandled(lease)
    const isAnswered = lease.outstanding === 0
    const decode = (retrySafe: boolean): void => void (lease.retrySafe = retrySafe)
    lease.held = false
    const settled = this.call(entry, { lease, decode })
    this.#leases.delete(lease.id)
    if (isAnswered) this.#startNext()
    return settled
  }

  /** Nobody wants it any more. */
  giveUp(lease: RemoteLease, error: Error): void {
    this.say(['giveUp', lease.id])
    this.#onRevoked(lease.id, error)
  }

  /** Where that is certain: one that may have left the line leaves open who is next. */
  #startNext(): void {
    while (this.#next.length > 0 && !this.#waits(this.#next[0])) this.#next.shift()
    const [id] = this.#next
    if (id === undefined || this.#calls.get(id)!.lease!.expiring) return
    this.#next.shift()
    this.say(['begun', id])
    this.#onAnswer(id, true)
  }

  /** What is unanswered of a lease is reported in another way. */
  markUnansweredHandled(lease: RemoteLease): void {
    if (lease.outstanding === 0) return
    for (const call of this.#calls.values()) if (call.lease === lease) call.promise.catch(() => {})
  }

  // ---- what the owner says

  hear(entry: ToWorker): void {
    switch (entry[0]) {
      case 'answer':
        return this.#onAnswer(entry[1], entry[2])
      case 'failed':
        return this.#fail(entry[1], decodeThrown(entry[2]))
      case 'next':
        return void this.#next.push(...entry[1])
      case 'late':
        return this.#onLate(entry[1])
      case 'revoked':
        return this.#onRevoked(entry[1], decodeThrown(entry[2]) as Error)
      case 'state':
        return this.#onState(entry[1], entry[2])
      case 'heard':
        return this.#onHeard(entry[1], entry[2])
      case 'unlistened':
        return this.#subscriptions.get(entry[1])?.end(decodeThrown(entry[2]) as Error | null)
      case 'deposed':
        return this.leaderships.onDeposed(entry[1], decodeThrown(entry[2]) as Error)
      case 'bye':
        return this.close(new Error(entry[1]))
      default:
        return entry satisfies never
    }
  }

  #onAnswer(id: number, answer: WireAnswer | boolean | string | null): void {
    // Whether anybody still waits for it or not.
    const described = typeof answer === 'object' && answer !== null ? this.#decoder.describe(answer) : answer
    const call = this.#calls.get(id)
    this.#calls.delete(id)
    call?.answer(described)
    this.watchActivity()
  }

  /** Its time has passed: unless it has been started, it is given up. */
  #onLate(id: number): void {
    if (!this.#waits(id)) return
    this.#calls.get(id)!.lease!.expiring = true
    this.say(['expired', id])
  }

  /** What it has under way is not answered any more. */
  #onRevoked(id: number, error: Error): void {
    const lease = this.#leases.get(id)
    this.#leases.delete(id)
    // As in the owner's thread: the call that its callback belongs to is rejected.
    if (lease !== undefined && lease.onRevoked !== null) this.markUnansweredHandled(lease)
    for (const [callID, call] of this.#calls.entries())
      if (call.lease?.id === id) this.#fail(callID, reasonBehind(error))
    lease?.revoke(error)
    this.watchActivity()
  }

  #onState(id: number, status: string): void {
    const lease = this.#leases.get(id)
    if (lease !== undefined) lease.serverStatus = status as TransactionStatus
  }

  onGone(): void {
    this.close(new Error('the thread that owns the connection is gone, or has closed the port'))
  }

  onBroken(error: Error): void {
    this.close(error)
  }

  // ---- subscriptions

  async listen(channel: string, maxBuffered: number, { timeoutMillis, signal }: Wait): Promise<Subscription> {
    const id = this.createID()
    // Before the owner's word that it listens: notifications may come along with that.
    const subscription = new BufferedSubscription(channel, maxBuffered, () => {
      if (this.#subscriptions.delete(id)) this.say(['unlisten', id])
      this.watchActivity()
    })
    this.#subscriptions.set(id, subscription)
    try {
      await this.call((id) => ['listen', id, channel, maxBuffered, timeoutMillis], { signal }, id)
    } catch (error) {
      subscription.end(null)
      throw error
    }
    return subscription
  }

  #onHeard(id: number, notifications: readonly Notification[]): void {
    this.say(['heard', id, notifications.length])
    const subscription = this.#subscriptions.get(id)
    for (const notification of notifications) subscription?.push(notification)
  }

  // ---- keeping alive, and closing

  get #active(): boolean {
    return this.#calls.size > 0 || this.#leases.size > 0
  }

  watchActivity(): void {
    const active = this.#active
    if (!active) this.#drained?.()
    const wanted = active || this.#subscriptions.size > 0 || this.leaderships.size > 0
    if (wanted === this.#referenced || this.#closed !== null) return
    this.#referenced = wanted
    this.#wire.referenced = wanted
  }

  /** Resolves once nothing is under way. */
  drained(): Promise<void> {
    if (!this.#active) return Promise.resolve()
    return new Promise((resolve) => (this.#drained = resolve))
  }

  /** Detaches: what is still under way is given up. */
  close(why: Error): void {
    if (this.#closed !== null) return
    this.#wire.close()
    this.#closed = why
    this.leaderships.end(this.#endedError())
    for (const lease of this.#leases.values()) this.#onRevoked(lease.id, lostError(lease.owned, why))
    for (const id of this.#calls.keys()) {
      this.#fail(id, this.#waits(id) ? this.#endedError() : lostError(false, why))
    }
    for (const subscription of [...this.#subscriptions.values()]) subscription.end(null)
  }
}

/**
 * The outcome is certain only for a transaction that was not about to be committed; and even that may have
 * been committed by a text of the user's.
 */
function lostError(isOpen: boolean, cause: Error): ConnectionLostError {
  return new ConnectionLostError({ commitOutcome: isOpen ? 'none' : 'unknown', retrySafe: false, cause })
}
