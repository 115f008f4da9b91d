/** What a worker asks for without a lease: one-shots, batches, subscriptions. */
import { BriefMap } from '../../util/brief-map.js'
import { decodeCall } from '../wire-statement.js'
import { encodeError } from '../wire-error.js'
import { WorkerGoneError } from './host-context.js'
import { HostSubscription } from './host-subscription.js'
import type { QueryResult } from 'pg'
import type { Wait } from '../../api/ports.js'
import type { OneShotWaiter } from '../../broker/waiters.js'
import type { WireStatement } from '../protocol.js'
import type { HostContext } from './host-context.js'

export class HostCalls {
  readonly #context: HostContext
  /** One-shots and batches that are unanswered. */
  readonly #asked = new BriefMap<number, { abandon(error: unknown): void }>()
  /** The numbers of subscriptions that are asked for, or there. */
  readonly #listening = new Set<number>()
  readonly #subscriptions = new Map<number, HostSubscription>()
  #gone = false

  constructor(context: HostContext) {
    this.#context = context
  }

  query(id: number, statement: WireStatement, timeoutMillis: number): void {
    const { shared, aborts } = this.#context
    const signal = aborts.signalFor(id, statement)
    const call = decodeCall(statement, shared.texts, signal)
    const wait = { timeoutMillis, signal }
    this.#ask(id, shared.broker.createQuery(call, wait), wait)
  }

  /** @throws TypeError for what a worker's face would have refused */
  batch(id: number, statements: readonly WireStatement[], begin: string | null, wait: Wait): void {
    const { shared } = this.#context
    const calls = statements.map((statement) => decodeCall(statement, shared.texts, undefined))
    if (calls.some(({ text }) => text.controls || text.kind === 'copy')) {
      throw new TypeError('a batch holds transaction control or COPY')
    }
    const explicit = begin ?? (calls.every(({ text }) => text.kind === 'plain') ? null : 'BEGIN')
    this.#ask(id, shared.broker.createBatch(calls, explicit, wait), wait)
  }

  #ask<C, T extends QueryResult | QueryResult[]>(id: number, waiter: OneShotWaiter<C, T>, wait: Wait): void {
    this.#asked.set(id, waiter)
    waiter.ask().then(
      (result) => {
        this.#over(id)
        this.#context.answer(id, result)
      },
      (error: unknown) => {
        this.#over(id)
        this.#context.fail(id, error)
      },
    )
    this.#context.shared.broker.dispatcher.ask(waiter, wait)
  }

  #over(id: number): void {
    this.#asked.delete(id)
    this.#context.aborts.over(id)
  }

  /** @throws TypeError for a number that is in use */
  listen(id: number, channel: string, maxBuffered: number, timeoutMillis: number): void {
    if (this.#listening.has(id)) throw new TypeError(`subscription ${id} was asked for twice`)
    this.#listening.add(id)
    void this.#listen(id, channel, maxBuffered, timeoutMillis)
  }

  async #listen(id: number, channel: string, maxBuffered: number, timeoutMillis: number): Promise<void> {
    const { shared, aborts } = this.#context
    try {
      const wait = { timeoutMillis, signal: aborts.signal(id) }
      const subscription = new HostSubscription(
        await shared.broker.listen(channel, maxBuffered, wait),
        (notifications) => this.#context.say(['heard', id, notifications]),
        (error) => this.#onEnded(id, error),
      )
      this.#subscriptions.set(id, subscription)
      this.#context.say(['done', id])
      if (this.#gone) subscription.leave()
    } catch (error) {
      this.#listening.delete(id)
      this.#context.fail(id, error)
    }
    aborts.over(id)
  }

  #onEnded(id: number, error: Error | null): void {
    this.#listening.delete(id)
    this.#subscriptions.delete(id)
    this.#context.say(['unlistened', id, error === null ? null : encodeError(error)])
  }

  heard(id: number, count: number): void {
    this.#subscriptions.get(id)?.heard(count)
  }

  unlisten(id: number): void {
    this.#subscriptions.get(id)?.leave()
  }

  /** The worker is gone: nothing of it is wanted any more. */
  kill(): void {
    this.#gone = true
    for (const waiter of this.#asked.values()) waiter.abandon(new WorkerGoneError())
    for (const subscription of this.#subscriptions.values()) subscription.leave()
  }
}
