/** A broker that tells the tracing channels what is asked of it. While nobody wants to know it does nothing by itself. */
import { begin, beginWith, callsAreTraced, finish, HOLD, WAIT } from '../diagnostics/channels.js'
import { StatementTracer, type StatementPlace } from './statement-tracer.js'
import { TracedLease } from './traced-lease.js'
import type { QueryResult } from 'pg'
import type { ConnectionFacts, Manager, ManagerStats } from '../api/manager.js'
import type { BatchTerms, Broker, EventSink, FaceOptions, Leadership } from '../api/ports.js'
import type { Lease, LeaseTerms, Wait } from '../api/ports.js'
import type { TransactionStatus } from '../api/connection.js'
import type { StatementCall } from '../api/statement.js'
import type { Subscription } from '../api/subscription.js'
import type { WaitContext } from '../api/tracing.js'

export class TracedBroker implements Broker {
  readonly #broker: Broker
  readonly #events: EventSink
  readonly #tracer: StatementTracer

  constructor(broker: Broker, events: EventSink) {
    this.#broker = broker
    this.#events = events
    this.#tracer = new StatementTracer(events, broker.options.traceValues)
  }

  get options(): FaceOptions {
    return this.#broker.options
  }

  get ending(): boolean {
    return this.#broker.ending
  }

  get status(): TransactionStatus | null {
    return this.#broker.status
  }

  get stats(): ManagerStats {
    return this.#broker.stats
  }

  get facts(): ConnectionFacts {
    return this.#broker.facts
  }

  // ---- leases

  acquire<T>(terms: LeaseTerms, wait: Wait, receive: (lease: Lease) => T): Promise<T> {
    if (!this.#wanted) return this.#broker.acquire(terms, wait, receive)
    return this.#waitFor(wait, (received) => this.#broker.acquire(terms, wait, received(receive)))
  }

  tryAcquire<T>(terms: LeaseTerms, wait: Wait, receive: (lease: Lease) => T): Promise<T | null> {
    if (!this.#wanted) return this.#broker.tryAcquire(terms, wait, receive)
    return this.#waitFor(wait, (received) => this.#broker.tryAcquire(terms, wait, received(receive)))
  }

  get #wanted(): boolean {
    return callsAreTraced() || this.#events.listens('statement')
  }

  async #waitFor<T>(
    { label = null }: Wait,
    ask: (received: <R>(receive: (lease: Lease) => R) => (lease: Lease) => R) => Promise<T>,
  ): Promise<T> {
    const context: WaitContext = { manager: this.#manager, label }
    let isOver = false
    const over = (failure?: { error: unknown }): void => {
      if (!isOver) finish(WAIT, context, failure)
      isOver = true
    }
    try {
      return await beginWith(WAIT, context, () =>
        ask((receive) => (lease) => {
          over()
          return receive(this.#hold(lease, context))
        }),
      )
    } catch (error) {
      over({ error })
      throw error
    } finally {
      over()
    }
  }

  #hold(lease: Lease, wait: WaitContext): Lease {
    const context = { manager: this.#manager, label: wait.label, wait }
    begin(HOLD, context)
    return new TracedLease(lease, context, this.#tracer)
  }

  get #manager(): Manager {
    return this.#events.manager as Manager
  }

  // ---- one-shots

  query(call: StatementCall, wait: Wait): Promise<QueryResult> {
    if (!this.#tracer.wanted) return this.#broker.query(call, wait)
    const trace = this.#tracer.create([call], placeOf(wait))
    return trace.follow(trace.run(() => this.#broker.query({ ...call, onSent: trace.onSent }, wait)))
  }

  batch(calls: readonly StatementCall[], terms: BatchTerms, wait: Wait): Promise<QueryResult[]> {
    if (!this.#tracer.wanted) return this.#broker.batch(calls, terms, wait)
    const trace = this.#tracer.create(calls, placeOf(wait))
    const [first, ...others] = calls
    const watched = [{ ...first!, onSent: trace.onSent }, ...others]
    return trace.follow(trace.run(() => this.#broker.batch(watched, terms, wait)))
  }

  // ---- what is not traced

  listen(channel: string, maxBuffered: number, wait: Wait): Promise<Subscription> {
    return this.#broker.listen(channel, maxBuffered, wait)
  }

  lead(name: string, retryMillis: number, signal: AbortSignal | undefined): Promise<Leadership> {
    return this.#broker.lead(name, retryMillis, signal)
  }

  connect(wait: Wait): Promise<void> {
    return this.#broker.connect(wait)
  }

  close(): Promise<void> {
    return this.#broker.close()
  }

  end(timeoutMillis: number): Promise<void> {
    return this.#broker.end(timeoutMillis)
  }
}

/** The manager's own statements are part of nothing else. */
function placeOf({ label = null }: Wait): StatementPlace {
  return { label, hold: null, transaction: null }
}
