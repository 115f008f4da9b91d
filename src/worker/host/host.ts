/**
 * One worker's side of the owner's thread: does with the manager what the worker says. Everything that is under way
 * for it ends when its port closes, which happens when the worker exits, crashes, is terminated, closes it, or says
 * what makes no sense.
 */
import { ConnectionReleasedError } from '../../errors.js'
import { BriefMap } from '../../util/brief-map.js'
import { listenTo } from '../inbox.js'
import { Outbox } from '../outbox.js'
import { SharedStats } from '../shared-stats.js'
import { encodeError } from '../wire-error.js'
import { Aborts } from './aborts.js'
import { checkEntry } from './check-entry.js'
import { HostCalls } from './host-calls.js'
import { HostLease } from './host-lease.js'
import { ResultEncoder } from './result-encoder.js'
import type { MessagePort } from 'node:worker_threads'
import type { QueryResult } from 'pg'
import type { AskKind, LeaseEntry, ToOwner, ToWorker, WireAnswer, WireTerms } from '../protocol.js'
import type { HostContext } from './host-context.js'
import type { SharedManager } from './shared-manager.js'

export class Host implements HostContext {
  readonly shared: SharedManager
  readonly aborts = new Aborts()
  /** This worker's own: another could write what it likes on it. */
  readonly stats = new SharedStats()
  readonly #port: MessagePort
  readonly #outbox: Outbox<ToWorker>
  readonly #encoder = new ResultEncoder()
  readonly #leases = new BriefMap<number, HostLease>()
  readonly #calls: HostCalls
  #gone = false

  constructor(shared: SharedManager, port: MessagePort) {
    this.shared = shared
    this.#port = port
    this.#outbox = new Outbox<ToWorker>(port, {
      beforeFlush: () => this.#beforeFlush(),
      onFailure: (error) => this.#giveUp(error),
    })
    this.#calls = new HostCalls(this)
    listenTo<unknown>(port, {
      hear: (entry) => this.#hear(entry),
      closed: () => this.#onGone(),
      failed: (error) => this.#giveUp(error),
    })
    shared.enter(this)
  }

  // ---- what is said to the worker

  say(entry: ToWorker): void {
    this.#outbox.push(entry)
  }

  settled(lease: number, retrySafe: boolean | null): void {
    this.#leases.delete(lease)
    if (retrySafe === null) return
    const { current } = this.shared
    // Where the worker's next lease is about to be answered, that goes along: each alone would wake the worker.
    const answerComes = current?.host === this && current.unanswered > 0
    if (answerComes) this.#outbox.keep(['settled', lease, retrySafe])
    else this.say(['settled', lease, retrySafe])
  }

  fail(id: number, error: unknown): void {
    this.say(['failed', id, encodeError(error)])
  }

  answer(id: number, result: QueryResult | readonly QueryResult[]): void {
    let answer: WireAnswer
    try {
      answer = this.#encoder.encode(result)
    } catch (error) {
      return this.fail(id, error)
    }
    this.say(['answer', id, answer])
  }

  #beforeFlush(): void {
    const next = this.shared.next(this)
    if (next.length > 0) this.say(['next', next])
    this.writeStats()
  }

  /** Brings the worker's figures up to date. */
  writeStats(): void {
    const { broker } = this.shared
    this.stats.write(broker.status, broker.stats)
  }

  // ---- the end

  onEnded(): void {
    this.#close('the thread that owns the connection has ended its manager')
  }

  /** The port is of no use any more. The worker hears why, if it can. */
  #giveUp(error: Error): void {
    if (this.#gone) return
    this.#close(error.message)
    this.shared.broker.onBackgroundError(error)
  }

  #close(why: string): void {
    this.say(['bye', why])
    this.#outbox.close()
    this.#port.close()
    this.#onGone()
  }

  #onGone(): void {
    if (this.#gone) return
    this.#gone = true
    this.#outbox.close()
    this.aborts.abortAll()
    this.#calls.kill()
    for (const lease of this.#leases.values()) lease.kill()
    this.shared.leave(this)
  }

  // ---- what the worker says

  #hear(heard: unknown): void {
    if (this.#gone) return
    try {
      this.#act(checkEntry(heard))
    } catch (error) {
      this.#giveUp(new Error("a worker's port was closed: what it said makes no sense", { cause: error }))
    }
  }

  #act(entry: ToOwner): void {
    switch (entry[0]) {
      case 'ask':
        return this.#ask(entry[1], entry[2], entry[3], entry[4], entry[5])
      case 'withdraw':
        return this.#leases.get(entry[1])?.withdraw()
      case 'expired':
        return this.#leases.get(entry[1])?.expire()
      case 'query':
        return this.#calls.query(entry[1], entry[2], entry[3])
      case 'batch':
        return this.#batch(entry)
      case 'listen':
        return this.#calls.listen(entry[1], entry[2], entry[3], entry[4])
      case 'cancel':
        return this.aborts.abort(entry[1])
      case 'heard':
        return this.#calls.heard(entry[1], entry[2])
      case 'unlisten':
        return this.#calls.unlisten(entry[1])
      case 'close':
        return void this.#closeConnection(entry[1])
      case 'look':
        return this.writeStats()
      default:
        return this.#actInLease(entry)
    }
  }

  #actInLease(entry: LeaseEntry): void {
    const lease = this.#leases.get(entry[1])
    if (lease !== undefined) lease.hear(entry)
    // It was settled meanwhile, and the worker is about to hear of it.
    else if (typeof entry[2] === 'number') this.fail(entry[2], new ConnectionReleasedError())
  }

  #batch([, id, statements, begin, timeoutMillis, abortable]: Extract<
    ToOwner,
    readonly ['batch', ...unknown[]]
  >): void {
    this.#calls.batch(id, statements, begin, {
      timeoutMillis,
      signal: abortable ? this.aborts.signal(id) : undefined,
    })
  }

  async #closeConnection(id: number): Promise<void> {
    try {
      await this.shared.broker.close()
      this.say(['done', id])
    } catch (error) {
      this.fail(id, error)
    }
  }

  /** Where a worker's lease is asked for. */
  #ask(id: number, kind: AskKind, terms: WireTerms, timeoutMillis: number, stack: string | null): void {
    if (this.#leases.has(id)) throw new TypeError(`lease ${id} was asked for twice`)
    const { broker } = this.shared
    if (kind === 'try' && !broker.ending && !broker.dispatcher.free) return this.say(['done', id])
    const lease = new HostLease(id, timeoutMillis, this)
    this.#leases.set(id, lease)
    const [autocommit, begin, owned] = terms
    lease.ask({ autocommit, begin, owned }, stack)
  }
}
