/**
 * What a worker has under way with the owner: the leases that it has asked for, the calls that are unanswered, its
 * subscriptions. It keeps the thread alive while there is anything.
 */
import { reasonOf, throwIfAborted } from '../../util/abort-signals.js'
import { ConnectionLostError, ManagerEndedError } from '../../errors.js'
import { BriefMap } from '../../util/brief-map.js'
import { onAbort } from '../../util/abort-listeners.js'
import { listenTo } from '../inbox.js'
import { Outbox } from '../outbox.js'
import { decodeError } from '../wire-error.js'
import { Calls } from './calls.js'
import { ResultDecoder } from './result-decoder.js'
import { NextLeases } from './next-leases.js'
import type { MessagePort } from 'node:worker_threads'
import type { TransactionStatus } from '../../api/connection.js'
import type { Notification } from '../../api/subscription.js'
import type { Wait } from '../../api/ports.js'
import type { AskKind, Thrown, ToOwner, ToWorker, WireLeft } from '../protocol.js'
import type { CallFacts } from './calls.js'
import type { BufferedSubscription } from '../../listen/subscription.js'
import type { SharedStats } from '../shared-stats.js'
import type { RemoteLease } from './remote-lease.js'

const OWNER_GONE = 'the thread that owns the connection is gone, or has closed the port'

export class Link {
  readonly decoder = new ResultDecoder()
  readonly #port: MessagePort
  readonly #stats: SharedStats
  readonly #outbox: Outbox<ToOwner>
  readonly #calls = new Calls((id) => this.say(['cancel', id]))
  readonly #leases = new BriefMap<number, RemoteLease>()
  readonly #next = new NextLeases((lease) => {
    this.say(['begun', lease.id])
    lease.grant()
  })
  readonly #subscriptions = new Map<number, BufferedSubscription>()
  #lastID = 0
  #referenced = false
  /** Why nothing can be said any more; null while it can. */
  #closed: Error | null = null
  #drained: (() => void) | null = null

  constructor(port: MessagePort, stats: SharedStats) {
    this.#port = port
    this.#stats = stats
    this.#outbox = new Outbox<ToOwner>(port, { onFailure: (error) => this.close(error) })
    listenTo<ToWorker>(port, {
      hear: (entry) => this.#hear(entry),
      closed: () => this.close(new Error(OWNER_GONE)),
      failed: (error) => this.close(error),
    })
  }

  /** Nothing can be said any more. */
  get closed(): boolean {
    return this.#closed !== null
  }

  /** The server process; null while there is none. */
  get processID(): number | null {
    return this.#stats.processID
  }

  createID(): number {
    return ++this.#lastID
  }

  say(entry: ToOwner): void {
    this.#outbox.push(entry)
  }

  /** Says it, and waits for the answer. The entry carries `id`. */
  call<T>(id: number, entry: ToOwner, facts: CallFacts<T> = {}): Promise<T> {
    if (this.#closed !== null) return Promise.reject(this.#endedError())
    const answered = this.#calls.add(id, facts)
    this.say(entry)
    this.#watchActivity()
    return answered
  }

  #endedError(): Error {
    return new ManagerEndedError({ cause: this.#closed })
  }

  // ---- leases

  /** Asks for a lease. Resolves once it is granted; null where one was only wanted if nobody else waits. */
  async ask(
    lease: RemoteLease,
    kind: AskKind,
    { timeoutMillis, signal }: Wait,
    stack: string | null,
  ): Promise<RemoteLease | null> {
    if (this.#closed !== null) throw this.#endedError()
    throwIfAborted(signal)
    const { granted } = lease
    this.#leases.set(lease.id, lease)
    const { autocommit, begin, owned } = lease.terms
    this.say(['ask', lease.id, kind, [autocommit, begin, owned], timeoutMillis, stack])
    this.#watchActivity()
    if (signal === undefined) return granted
    const ignoreAbort = onAbort(signal, () => this.#withdraw(lease, reasonOf(signal)))
    try {
      return await granted
    } finally {
      ignoreAbort()
    }
  }

  #withdraw(lease: RemoteLease, reason: unknown): void {
    if (lease.state !== 'waiting') return
    this.say(['withdraw', lease.id])
    this.#forget(lease)
    lease.refuse(reason)
  }

  #forget(lease: RemoteLease): void {
    this.#leases.delete(lease.id)
    this.#watchActivity()
  }

  /** The lease's callback has settled, or its handle was released. Resolves once the owner has settled it. */
  leave(lease: RemoteLease, left: WireLeft, thrown: Thrown, close: boolean): Promise<void> {
    const settled = lease.leave()
    this.say(['leave', lease.id, left, thrown, close])
    // The settlement reports the statements that were left unanswered.
    this.markUnansweredHandled(lease)
    if (lease.outstanding === 0) this.#next.start()
    return settled
  }

  /** What is unanswered of a lease is reported in another way. */
  markUnansweredHandled(lease: RemoteLease): void {
    this.#calls.markHandled(lease)
  }

  // ---- what the owner says

  #hear(entry: ToWorker): void {
    switch (entry[0]) {
      case 'granted':
        return this.#onGranted(entry[1])
      case 'next':
        return this.#next.add(entry[1].map((id) => this.#leases.get(id)))
      case 'late':
        return this.#onLate(entry[1])
      case 'done':
        return this.#onDone(entry[1])
      case 'settled':
        return this.#onSettled(entry[1], entry[2])
      case 'failed':
        return this.#onFailed(entry[1], decodeError(entry[2]))
      case 'state':
        return this.#onState(entry[1], entry[2])
      case 'answer':
      case 'rows':
        return this.#onAnswer(entry[1], entry[2])
      case 'heard':
        return this.#onHeard(entry[1], entry[2])
      case 'unlistened':
        return this.#onUnlistened(entry[1], entry[2] === null ? null : (decodeError(entry[2]) as Error))
      case 'bye':
        return this.close(new Error(entry[1]))
      default:
        return entry satisfies never
    }
  }

  #onGranted(id: number): void {
    const lease = this.#leases.get(id)
    if (lease?.state === 'waiting') lease.grant()
  }

  /** Its time has passed: unless it has been started, it is given up. */
  #onLate(id: number): void {
    const lease = this.#leases.get(id)
    if (lease?.state !== 'waiting') return
    lease.expiring = true
    this.say(['expired', id])
  }

  #onDone(id: number): void {
    const lease = this.#leases.get(id)
    if (lease === undefined) return this.#onAnswer(id, undefined)
    this.#forget(lease)
    if (lease.state === 'waiting') lease.refuse(null)
    else lease.settle()
  }

  #onSettled(id: number, retrySafe: boolean): void {
    const lease = this.#leases.get(id)
    if (lease !== undefined) lease.retrySafe = retrySafe
    this.#onDone(id)
  }

  #onFailed(id: number, error: unknown): void {
    const lease = this.#leases.get(id)
    if (lease === undefined) this.#calls.fail(id, error)
    else {
      this.#leases.delete(id)
      this.#failLease(lease, error)
    }
    this.#watchActivity()
  }

  #failLease(lease: RemoteLease, error: unknown): void {
    const { state } = lease
    if (state === 'waiting') return lease.refuse(error)
    // What it has under way is not answered any more.
    this.#calls.failAllOf(lease, error)
    if (state === 'left') lease.settle(error)
    else lease.revoke(error as Error)
  }

  #onState(id: number, status: string): void {
    const lease = this.#leases.get(id)
    if (lease !== undefined) lease.serverStatus = status as TransactionStatus
  }

  #onAnswer(id: number, answer: unknown): void {
    this.#calls.answer(id, answer)
    this.#watchActivity()
  }

  // ---- subscriptions

  addSubscription(id: number, subscription: BufferedSubscription): void {
    this.#subscriptions.set(id, subscription)
    this.#watchActivity()
  }

  removeSubscription(id: number): void {
    if (!this.#subscriptions.delete(id)) return
    this.say(['unlisten', id])
    this.#watchActivity()
  }

  #onHeard(id: number, notifications: readonly Notification[]): void {
    this.say(['heard', id, notifications.length])
    const subscription = this.#subscriptions.get(id)
    for (const notification of notifications) subscription?.push(notification)
  }

  #onUnlistened(id: number, error: Error | null): void {
    const subscription = this.#subscriptions.get(id)
    this.#subscriptions.delete(id)
    subscription?.end(error)
    this.#watchActivity()
  }

  // ---- keeping alive, and closing

  get #active(): boolean {
    return this.#calls.size > 0 || this.#leases.size > 0
  }

  #watchActivity(): void {
    const active = this.#active
    if (!active) this.#drained?.()
    const wanted = active || this.#subscriptions.size > 0
    if (wanted === this.#referenced || this.#closed !== null) return
    this.#referenced = wanted
    if (wanted) this.#port.ref()
    else this.#port.unref()
  }

  /** Resolves once nothing is under way. */
  drained(): Promise<void> {
    if (!this.#active) return Promise.resolve()
    return new Promise((resolve) => (this.#drained = resolve))
  }

  /** Detaches: what is still under way is given up. */
  close(why: Error): void {
    if (this.#closed !== null) return
    this.#outbox.close()
    this.#closed = why
    this.#giveUp(why)
    this.#port.close()
  }

  #giveUp(cause: Error): void {
    const leases = this.#leases.values()
    this.#leases.clear()
    for (const lease of leases) {
      this.#failLease(lease, lease.state === 'waiting' ? this.#endedError() : lostError(lease, cause))
    }
    this.#calls.failAll(() => lostError(null, cause))
    for (const subscription of [...this.#subscriptions.values()]) subscription.end(null)
    this.#subscriptions.clear()
    this.#drained?.()
  }
}

/**
 * The outcome is certain only for a transaction that was not about to be committed; and even that may have
 * been committed by a text of the user's.
 */
function lostError(lease: RemoteLease | null, cause: Error): ConnectionLostError {
  const isOpen = lease !== null && lease.owned && lease.state === 'held'
  return new ConnectionLostError({ commitOutcome: isOpen ? 'none' : 'unknown', retrySafe: false, cause })
}
