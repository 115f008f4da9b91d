/** What a worker asks for without a lease: one-shots, batches, subscriptions. */
import { BriefMap } from '../../util/brief-map.js'
import { encodeThrown } from '../wire-error.js'
import { decodeCall } from '../wire-statement.js'
import { workerGone } from './host-lease.js'
import type { QueryResult } from 'pg'
import type { Wait } from '../../api/ports.js'
import type { Subscription } from '../../api/subscription.js'
import type { OneShotWaiter } from '../../broker/waiters.js'
import type { Entry } from '../protocol.js'
import type { Host } from './host.js'

/** So many notifications may be on their way to a worker that is busy; the owner's buffer takes the rest. */
const MOST_UNDERWAY = 1_000

/** A subscription whose notifications are handed on, as far as the worker keeps up. */
interface Relay {
  /** Null while it is asked for. */
  subscription: Subscription | null
  underway: number
  resume: (() => void) | null
}

export class HostCalls {
  readonly #host: Host
  /** One-shots and batches that are unanswered. */
  readonly #asked = new BriefMap<number, { abandon(error: unknown): void }>()
  readonly #relays = new Map<number, Relay>()
  #gone = false

  constructor(host: Host) {
    this.#host = host
  }

  query([, id, statement, timeoutMillis]: Entry<'query'>): void {
    const { broker, texts } = this.#host.shared
    const wait = this.#wait(id, timeoutMillis, statement[6])
    this.#ask(id, broker.createQuery(decodeCall(statement, texts, wait.signal), wait), wait)
  }

  /** @throws TypeError for what a worker's face would have refused */
  batch([, id, statements, begin, timeoutMillis, abortable]: Entry<'batch'>): void {
    const { broker, texts } = this.#host.shared
    const calls = statements.map((statement) => decodeCall(statement, texts, undefined))
    if (calls.some(({ text }) => text.controls || text.kind === 'copy')) {
      throw new TypeError('a batch holds transaction control or COPY')
    }
    const explicit = begin ?? (calls.every(({ text }) => text.kind === 'plain') ? null : 'BEGIN')
    const wait = this.#wait(id, timeoutMillis, abortable)
    this.#ask(id, broker.createBatch(calls, explicit, wait), wait)
  }

  /** Without a signal where none is needed, because what has one is not pipelined. */
  #wait(id: number, timeoutMillis: number, abortable: boolean): Wait {
    return { timeoutMillis, signal: abortable ? this.#host.abortOf(id).signal : undefined }
  }

  #ask<C, T extends QueryResult | QueryResult[]>(id: number, waiter: OneShotWaiter<C, T>, wait: Wait): void {
    this.#asked.set(id, waiter)
    const answered = waiter.ask()
    void this.#host.answer(id, () => answered).then(() => this.#asked.delete(id))
    this.#host.shared.broker.dispatcher.ask(waiter, wait)
  }

  /** @throws TypeError for a number that is in use */
  listen([, id, channel, maxBuffered, timeoutMillis]: Entry<'listen'>): void {
    if (this.#relays.has(id)) throw new TypeError(`subscription ${id} was asked for twice`)
    const relay: Relay = { subscription: null, underway: 0, resume: null }
    this.#relays.set(id, relay)
    const wait = this.#wait(id, timeoutMillis, true)
    void this.#host.answer(id, async () => {
      try {
        relay.subscription = await this.#host.shared.broker.listen(channel, maxBuffered, wait)
      } catch (error) {
        this.#relays.delete(id)
        throw error
      }
      if (this.#gone) this.unlisten(id)
      void this.#pump(id, relay, relay.subscription)
    })
  }

  async #pump(id: number, relay: Relay, subscription: Subscription): Promise<void> {
    let failure: unknown = null
    try {
      for await (const notification of subscription) {
        this.#host.say(['heard', id, [notification]])
        relay.underway++
        if (relay.underway >= MOST_UNDERWAY) await new Promise<void>((resolve) => (relay.resume = resolve))
      }
    } catch (error) {
      failure = error
    }
    this.#relays.delete(id)
    this.#host.say(['unlistened', id, encodeThrown(failure)])
  }

  /** So many notifications have arrived; not more than there were, whatever the worker says. */
  heard(id: number, count: number): void {
    const relay = this.#relays.get(id)
    if (relay === undefined) return
    relay.underway = Math.max(0, relay.underway - count)
    relay.resume?.()
    relay.resume = null
  }

  unlisten(id: number): void {
    void this.#relays.get(id)?.subscription?.close()
    this.heard(id, Infinity)
  }

  /** The worker is gone: nothing of it is wanted any more. */
  kill(): void {
    this.#gone = true
    for (const waiter of this.#asked.values()) waiter.abandon(workerGone())
    for (const id of this.#relays.keys()) this.unlisten(id)
  }
}
