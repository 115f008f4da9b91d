/** The broker of another thread, seen through a port. */
import { BufferedSubscription } from '../../listen/subscription.js'
import { ManagerEndedError } from '../../errors.js'
import { throwIfAborted } from '../../util/abort-signals.js'
import { now } from '../../util/clock.js'
import { timerFor, type Timer } from '../../util/timer.js'
import { SharedStats } from '../shared-stats.js'
import { encodeCall } from '../wire-statement.js'
import { Link } from './link.js'
import { RemoteLease } from './remote-lease.js'
import type { MessagePort } from 'node:worker_threads'
import type { QueryResult } from 'pg'
import type { TransactionStatus } from '../../api/connection.js'
import type { ConnectionFacts, ManagerStats } from '../../api/manager.js'
import type { Broker, FaceOptions, LeaseTerms, Wait } from '../../api/ports.js'
import type { StatementCall } from '../../api/statement.js'
import type { Subscription } from '../../api/subscription.js'
import type { AskKind, Hello, WireAnswer } from '../protocol.js'

export class RemoteBroker implements Broker {
  readonly #hello: Hello
  readonly #stats: SharedStats
  readonly #link: Link
  #lookedAt = -Infinity
  #ended: Promise<void> | null = null

  constructor(port: MessagePort, hello: Hello) {
    this.#hello = hello
    this.#stats = new SharedStats(hello.stats)
    this.#link = new Link(port, this.#stats)
  }

  get options(): FaceOptions {
    return this.#hello.options
  }

  get ending(): boolean {
    return this.#ended !== null
  }

  get facts(): ConnectionFacts {
    return { ...this.#hello.facts, processID: this.#stats.processID }
  }

  get status(): TransactionStatus | null {
    if (this.#link.closed) return null
    this.#look()
    return this.#stats.status
  }

  get stats(): ManagerStats {
    this.#look()
    return this.#stats.stats
  }

  /** Has the figures brought up to date for the next who looks, at most once a millisecond. */
  #look(): void {
    const time = now()
    if (time - this.#lookedAt < 1) return
    this.#lookedAt = time
    this.#link.say(['look'])
  }

  async acquire<T>(terms: LeaseTerms, wait: Wait, receive: (lease: RemoteLease) => T): Promise<T> {
    return receive((await this.#ask('wait', terms, wait))!)
  }

  async tryAcquire<T>(terms: LeaseTerms, wait: Wait, receive: (lease: RemoteLease) => T): Promise<T | null> {
    const lease = await this.#ask('try', terms, wait)
    return lease === null ? null : receive(lease)
  }

  #ask(kind: AskKind, terms: LeaseTerms, wait: Wait): Promise<RemoteLease | null> {
    if (this.ending) return Promise.reject(new ManagerEndedError())
    const lease = new RemoteLease(this.#link.createID(), terms, this.#link)
    const stack = this.#hello.traces ? (new Error('acquired').stack ?? null) : null
    return this.#link.ask(lease, kind, wait, stack)
  }

  async query(call: StatementCall, { timeoutMillis, signal }: Wait): Promise<QueryResult> {
    this.#check(signal)
    const id = this.#link.createID()
    const decode = (answer: WireAnswer): QueryResult =>
      this.#link.decoder.decode(answer, [call.statement]) as QueryResult
    return this.#link.call(id, ['query', id, encodeCall(call), timeoutMillis], { signal, decode })
  }

  async batch(
    calls: readonly StatementCall[],
    begin: string | null,
    { timeoutMillis, signal }: Wait,
  ): Promise<QueryResult[]> {
    this.#check(signal)
    const id = this.#link.createID()
    const wishes = calls.map(({ statement }) => statement)
    const decode = (answer: WireAnswer): QueryResult[] =>
      this.#link.decoder.decode(answer, wishes) as QueryResult[]
    const entry = ['batch', id, calls.map(encodeCall), begin, timeoutMillis, signal !== undefined] as const
    return this.#link.call(id, entry, { signal, decode })
  }

  async listen(channel: string, maxBuffered: number, { timeoutMillis, signal }: Wait): Promise<Subscription> {
    this.#check(signal)
    const link = this.#link
    const id = link.createID()
    // Before the owner's word that it listens: notifications may come along with that.
    const subscription = new BufferedSubscription(channel, maxBuffered, () => link.removeSubscription(id))
    link.addSubscription(id, subscription)
    try {
      await link.call(id, ['listen', id, channel, maxBuffered, timeoutMillis], { signal })
    } catch (error) {
      subscription.end(null)
      throw error
    }
    return subscription
  }

  #check(signal: AbortSignal | undefined): void {
    if (this.ending) throw new ManagerEndedError()
    throwIfAborted(signal)
  }

  async close(): Promise<void> {
    const id = this.#link.createID()
    if (!this.#link.closed) await this.#link.call(id, ['close', id])
  }

  /** Refuses new work, serves those who wait in this worker, and detaches it; the connection is the owner's. */
  end(timeoutMillis: number): Promise<void> {
    this.#ended ??= this.#end(timeoutMillis)
    return this.#ended
  }

  async #end(timeoutMillis: number): Promise<void> {
    let timer: Timer | undefined
    const expired = new Promise<void>((resolve) => {
      timer = timerFor(timeoutMillis, resolve)
    })
    await Promise.race([this.#link.drained(), expired])
    timer?.stop()
    this.#link.close(new Error('end() was called in this worker'))
  }
}
