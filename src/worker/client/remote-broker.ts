/** The broker of another thread, seen through a port. */
import { ManagerEndedError } from '../../errors.js'
import { throwIfAborted } from '../../util/abort-signals.js'
import { now } from '../../util/clock.js'
import { timerFor, type Timer } from '../../util/timer.js'
import { encodeCall, encodeCommitment, encodeSettings } from '../wire-statement.js'
import { Link } from './link.js'
import { RemoteLease } from './remote-lease.js'
import { unpack, unpackOne, type Packed } from './result-decoder.js'
import type { MessagePort } from 'node:worker_threads'
import type { QueryResult } from 'pg'
import type { TransactionStatus } from '../../api/connection.js'
import type { ConnectionFacts, ManagerStats } from '../../api/manager.js'
import type { BatchTerms, Broker, FaceOptions, Leadership, LeaseTerms, Wait } from '../../api/ports.js'
import type { StatementCall } from '../../api/statement.js'
import type { Subscription } from '../../api/subscription.js'
import type { Hello } from '../protocol.js'

export class RemoteBroker implements Broker {
  readonly #hello: Hello
  readonly #link: Link
  #lookedAt = -Infinity
  #ended: Promise<void> | null = null

  constructor(port: MessagePort, hello: Hello) {
    this.#hello = hello
    this.#link = new Link(port, hello.stats)
  }

  get options(): FaceOptions {
    return this.#hello.options
  }

  get ending(): boolean {
    return this.#ended !== null
  }

  get facts(): ConnectionFacts {
    return { ...this.#hello.facts, processID: this.#link.stats.processID }
  }

  get status(): TransactionStatus | null {
    if (this.#link.closed) return null
    this.#look()
    return this.#link.stats.status
  }

  get stats(): ManagerStats {
    this.#look()
    return this.#link.stats.stats
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

  #ask(kind: 'wait' | 'try', terms: LeaseTerms, wait: Wait): Promise<RemoteLease | null> {
    this.#check(wait)
    const lease = new RemoteLease(this.#link.createID(), terms, this.#link)
    const { autocommit, begin, owned, commitment, settings } = terms
    const how = encodeCommitment(commitment)
    const wire = [autocommit, begin, owned, how, encodeSettings(settings)] as const
    const { timeoutMillis, stack = null, label = null } = wait
    const entry = ['ask', lease.id, kind, wire, timeoutMillis, stack, label] as const
    return this.#link.ask(lease, entry, wait.signal)
  }

  async query(call: StatementCall, wait: Wait): Promise<QueryResult> {
    this.#check(wait)
    const { timeoutMillis, signal, label = null } = wait
    const wire = encodeCall(call)
    const set = encodeSettings(call.settings)
    const decode = (packed: Packed): QueryResult => unpack(packed, call.statement)
    return this.#link.call((id) => ['query', id, wire, timeoutMillis, label, set], { signal, decode })
  }

  async batch(
    calls: readonly StatementCall[],
    { begin, commitment, settings }: BatchTerms,
    wait: Wait,
  ): Promise<QueryResult[]> {
    this.#check(wait)
    const { timeoutMillis, signal, label = null } = wait
    const wires = calls.map(encodeCall)
    const wishes = calls.map(({ statement }) => statement)
    const decode = (packed: readonly Packed[]): QueryResult[] =>
      packed.map((one, index) => unpackOne(one, wishes[index]))
    const isAbortable = signal !== undefined
    const how = encodeCommitment(commitment)
    const set = encodeSettings(settings)
    return this.#link.call((id) => ['batch', id, wires, begin, timeoutMillis, isAbortable, how, label, set], {
      signal,
      decode,
    })
  }

  async listen(channel: string, maxBuffered: number, wait: Wait): Promise<Subscription> {
    this.#check(wait)
    return this.#link.listen(channel, maxBuffered, wait)
  }

  async lead(name: string, retryMillis: number, signal: AbortSignal | undefined): Promise<Leadership> {
    this.#check({ signal })
    return this.#link.leaderships.stand(name, retryMillis, signal)
  }

  #check({ signal }: Pick<Wait, 'signal'>): void {
    if (this.ending) throw new ManagerEndedError()
    throwIfAborted(signal)
  }

  async connect(wait: Wait): Promise<void> {
    this.#check(wait)
    const { timeoutMillis, signal } = wait
    await this.#link.call((id) => ['connect', id, timeoutMillis, signal !== undefined], { signal })
  }

  async close(): Promise<void> {
    if (!this.#link.closed) await this.#link.call((id) => ['close', id])
  }

  /** Refuses new work, serves those who wait in this worker, and detaches it; the connection is the owner's. */
  end(timeoutMillis: number): Promise<void> {
    this.#ended ??= this.#end(timeoutMillis)
    return this.#ended
  }

  async #end(timeoutMillis: number): Promise<void> {
    this.#link.leaderships.end(new ManagerEndedError())
    let timer: Timer | undefined
    const expired = new Promise<void>((resolve) => {
      timer = timerFor(timeoutMillis, resolve)
    })
    await Promise.race([this.#link.drained(), expired])
    timer?.stop()
    this.#link.close(new Error('end() was called in this worker'))
  }
}
