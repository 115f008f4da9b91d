/**
 * What a worker has under way with the owner: the turns that it has asked for, the calls that are unanswered, its
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
import { NextLeases } from './next-leases.js'
import type { MessagePort } from 'node:worker_threads'
import type { Notification, TransactionStatus } from '../../index.js'
import type { Thrown, ToOwner, ToWorker, WireLeaving, WireOptions } from '../protocol.js'
import type { CallFacts } from './calls.js'
import type { BufferedSubscription } from '../../listen/subscription.js'
import type { RemoteLease } from './remote-lease.js'

const OWNER_GONE = 'the thread that owns the connection is gone, or has closed the port'

export class Link {
  readonly #port: MessagePort
  readonly #outbox: Outbox<ToOwner>
  readonly #calls = new Calls((id) => this.say(['cancel', id]))
  readonly #turns = new BriefMap<number, RemoteLease>()
  readonly #next = new NextLeases((turn) => this.#begin(turn))
  readonly #subscriptions = new Map<number, BufferedSubscription>()
  #lastID = 0
  #referenced = false
  /** Why nothing can be said any more; null while it can. */
  #closed: Error | null = null
  #drained: (() => void) | null = null

  constructor(port: MessagePort) {
    this.#port = port
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

  // ---- turns

  /** Asks for a turn. Resolves once it is granted; null where `tryAcquire` gets none. */
  async ask(
    turn: RemoteLease,
    options: WireOptions | null,
    facts: { signal: AbortSignal | undefined; stack: string | null },
  ): Promise<RemoteLease | null> {
    if (this.#closed !== null) throw this.#endedError()
    const { signal, stack } = facts
    throwIfAborted(signal)
    const { granted } = turn
    this.#turns.set(turn.id, turn)
    this.say(['ask', turn.id, turn.kind, options, stack])
    this.#watchActivity()
    if (signal === undefined) return granted
    const ignoreAbort = onAbort(signal, () => this.#withdraw(turn, reasonOf(signal)))
    try {
      return await granted
    } finally {
      ignoreAbort()
    }
  }

  #withdraw(turn: RemoteLease, reason: unknown): void {
    if (turn.state !== 'waiting') return
    this.say(['withdraw', turn.id])
    this.#forget(turn)
    turn.refuse(reason)
  }

  #begin(turn: RemoteLease): void {
    this.say(['begun', turn.id])
    turn.grant()
  }

  #forget(turn: RemoteLease): void {
    this.#turns.delete(turn.id)
    this.#watchActivity()
  }

  /** The turn's callback has settled, or its handle was released. Resolves once the owner has settled it. */
  leave(turn: RemoteLease, left: WireLeaving, thrown: Thrown): Promise<void> {
    const settled = turn.leave()
    this.say(['leave', turn.id, left, thrown])
    // Whoever left statements unanswered hears of it by the settlement.
    this.markUnansweredHandled(turn)
    turn.markNestedHandled()
    if (turn.outstanding === 0) this.#next.start()
    return settled
  }

  /** What is unanswered of a turn is reported in another way. */
  markUnansweredHandled(turn: RemoteLease): void {
    this.#calls.markHandled(turn)
  }

  // ---- what the owner says

  #hear(entry: ToWorker): void {
    switch (entry[0]) {
      case 'granted':
        return this.#onGranted(entry[1])
      case 'next':
        return this.#next.add(entry[1].map((id) => this.#turns.get(id)))
      case 'late':
        return this.#onLate(entry[1])
      case 'done':
        return this.#onDone(entry[1])
      case 'own':
        return this.#onOwn(entry[1], entry[2])
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
    const turn = this.#turns.get(id)
    if (turn?.state === 'waiting') turn.grant()
  }

  /** Its time has passed: unless it has been started, it is given up. */
  #onLate(id: number): void {
    const turn = this.#turns.get(id)
    if (turn?.state !== 'waiting') return
    turn.expiring = true
    this.say(['expired', id])
  }

  #onDone(id: number): void {
    const turn = this.#turns.get(id)
    if (turn === undefined) return this.#onAnswer(id, undefined)
    this.#forget(turn)
    if (turn.state === 'waiting') turn.refuse(null)
    else turn.settle()
  }

  /** Its worker knows the error, which was its own. */
  #onOwn(id: number, mayHaveCommitted: boolean): void {
    const turn = this.#turns.get(id)
    if (turn !== undefined) turn.mayHaveCommitted = mayHaveCommitted
    this.#onDone(id)
  }

  #onFailed(id: number, error: unknown): void {
    const turn = this.#turns.get(id)
    if (turn === undefined) this.#calls.fail(id, error)
    else {
      this.#turns.delete(id)
      this.#failTurn(turn, error)
    }
    this.#watchActivity()
  }

  #failTurn(turn: RemoteLease, error: unknown): void {
    const { state } = turn
    if (state === 'waiting') return turn.refuse(error)
    // What it has under way is not answered any more.
    this.#calls.failAllOf(turn, error)
    if (state === 'left') turn.settleWith(error)
    else turn.revoke(error)
  }

  #onState(id: number, status: string): void {
    const turn = this.#turns.get(id)
    if (turn !== undefined) turn.status = status as TransactionStatus
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
    return this.#calls.size > 0 || this.#turns.size > 0
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
    const turns = this.#turns.values()
    this.#turns.clear()
    for (const turn of turns) {
      this.#failTurn(turn, turn.state === 'waiting' ? this.#endedError() : lostError(turn, cause))
    }
    this.#calls.failAll(() => lostError(null, cause))
    for (const subscription of [...this.#subscriptions.values()]) subscription.end(null)
    this.#subscriptions.clear()
    this.#drained?.()
  }
}

/**
 * Only of a transaction that was not about to be committed is it certain what has become of it; and even that may have
 * been committed by a text of the user's.
 */
function lostError(turn: RemoteLease | null, cause: Error): ConnectionLostError {
  const isOpen = turn !== null && turn.owned && turn.state === 'held'
  return new ConnectionLostError({ commitOutcome: isOpen ? 'none' : 'unknown', retrySafe: false, cause })
}
