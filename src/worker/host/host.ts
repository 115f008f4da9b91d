/**
 * One worker's side of the owner's thread: does with the manager what the worker says. Everything that is under way
 * for it ends when its port closes, which happens when the worker exits, crashes, is terminated, closes it, or says
 * what makes no sense.
 */
import { ConnectionReleasedError } from '../../errors.js'
import { BriefMap } from '../../util/brief-map.js'
import { CANCELLED, checkEntry } from '../protocol.js'
import { SharedStats } from '../shared-stats.js'
import { encodeThrown } from '../wire-error.js'
import { decodeCall, decodeCommitment, decodeSettings } from '../wire-statement.js'
import { Wire, type Speaker } from '../wire.js'
import { HostLease, workerGone } from './host-lease.js'
import { HostLeaderships } from './host-leaderships.js'
import { HostSubscription } from './host-subscription.js'
import { ResultEncoder } from './result-encoder.js'
import type { MessagePort } from 'node:worker_threads'
import type { QueryResult } from 'pg'
import type { Wait } from '../../api/ports.js'
import type { OneShotWaiter } from '../../broker/waiters.js'
import type { Entry, LeaseEntry, ToOwner, ToWorker } from '../protocol.js'
import type { SharedManager } from './shared-manager.js'

/** What a call comes to. */
export type Outcome = QueryResult | readonly QueryResult[] | boolean | string | void

export class Host implements Speaker<unknown> {
  readonly shared: SharedManager
  /** This worker's own: another could write what it likes on it. */
  readonly stats = new SharedStats()
  /** What ends the calls that the worker may cancel, by their numbers. */
  readonly aborts = new BriefMap<number, AbortController>()
  readonly leases = new BriefMap<number, HostLease>()
  readonly subscriptions = new Map<number, HostSubscription>()
  readonly #leaderships = new HostLeaderships(this)
  /** One-shots and batches that are unanswered. */
  readonly #asked = new BriefMap<number, { abandon(error: unknown): void }>()
  readonly #encoder = new ResultEncoder()
  readonly #wire: Wire<ToWorker, unknown>
  #gone = false

  constructor(shared: SharedManager, port: MessagePort) {
    this.shared = shared
    this.#wire = new Wire<ToWorker, unknown>(port, this)
    shared.enter(this)
  }

  // ---- what is said to the worker

  say(entry: ToWorker): void {
    this.#wire.say(entry)
  }

  fail(id: number, error: unknown): void {
    this.say(['failed', id, encodeThrown(error)])
  }

  /** Ends the call of this number. It may be wanted before the call is carried out. */
  abortOf(id: number): AbortController {
    let controller = this.aborts.get(id)
    if (controller === undefined) {
      controller = new AbortController()
      this.aborts.set(id, controller)
    }
    return controller
  }

  /** Answers a call with what `carryOut` comes to, in `lease` where it is part of one. */
  async answer(id: number, carryOut: () => Promise<Outcome>, lease?: HostLease): Promise<void> {
    let entry: ToWorker
    try {
      const outcome = await carryOut()
      entry = ['answer', id, typeof outcome === 'object' ? this.#encoder.encode(outcome) : (outcome ?? null)]
    } catch (error) {
      entry = ['failed', id, encodeThrown(error)]
    }
    this.aborts.delete(id)
    this.#asked.delete(id)
    lease?.tellState()
    // A lease is over. Where the worker's next one is about to be answered, that goes along: each alone would wake it.
    const { current } = this.shared
    const goesAlong = typeof entry[2] === 'boolean' && current?.host === this && current.unanswered > 0
    if (goesAlong) this.#wire.keep(entry)
    else this.say(entry)
  }

  beforeFlush(): void {
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

  /** The port is of no use any more. The worker hears why, if it can. */
  close(why: string): void {
    this.say(['bye', why])
    this.onGone()
  }

  onBroken(error: Error): void {
    if (this.#gone) return
    this.close(error.message)
    this.shared.broker.onBackgroundError(error)
  }

  onGone(): void {
    if (this.#gone) return
    this.#gone = true
    this.#wire.close()
    for (const abort of this.aborts.values()) abort.abort(CANCELLED)
    for (const waiter of this.#asked.values()) waiter.abandon(workerGone())
    for (const subscription of this.subscriptions.values()) subscription.leave()
    for (const lease of this.leases.values()) lease.kill()
    this.#leaderships.end()
    this.shared.leave(this)
  }

  // ---- what the worker says

  hear(heard: unknown): void {
    if (this.#gone) return
    try {
      this.#act(checkEntry(heard))
    } catch (error) {
      this.onBroken(new Error("a worker's port was closed: what it said makes no sense", { cause: error }))
    }
  }

  #act(entry: ToOwner): void {
    switch (entry[0]) {
      case 'ask':
        return this.#ask(entry)
      case 'withdraw':
        return this.leases.get(entry[1])?.withdraw()
      case 'expired':
        return this.leases.get(entry[1])?.expire()
      case 'query':
        return this.#query(entry)
      case 'batch':
        return this.#batch(entry)
      case 'listen':
        return this.#listen(entry)
      case 'cancel':
        return this.aborts.get(entry[1])?.abort(CANCELLED)
      case 'heard':
        return this.subscriptions.get(entry[1])?.heard(entry[2])
      case 'unlisten':
        return this.subscriptions.get(entry[1])?.leave()
      case 'lead':
        return this.#leaderships.lead(entry)
      case 'stepDown':
        return this.#leaderships.stepDown(entry)
      case 'connect':
        return this.#connect(entry)
      case 'close':
        return void this.answer(entry[1], () => this.shared.broker.close())
      case 'look':
        return this.writeStats()
      default:
        return this.#actInLease(entry)
    }
  }

  #actInLease(entry: LeaseEntry): void {
    const lease = this.leases.get(entry[1])
    if (lease !== undefined) lease.hear(entry)
    // It was settled meanwhile, and the worker is about to hear of it.
    else if (typeof entry[2] === 'number') this.fail(entry[2], new ConnectionReleasedError())
  }

  #ask(entry: Entry<'ask'>): void {
    const [, id, kind] = entry
    if (this.leases.has(id)) throw new TypeError(`lease ${id} was asked for twice`)
    const { broker } = this.shared
    if (kind === 'try' && !broker.ending && !broker.dispatcher.free) return this.say(['answer', id, null])
    new HostLease(this, entry)
  }

  #query([, id, statement, timeoutMillis, label, set]: Entry<'query'>): void {
    const { broker, texts } = this.shared
    const wait = this.#wait(id, timeoutMillis, statement[6], label)
    const call = decodeCall(statement, texts, wait.signal, set)
    if (broker.takesTurn(call)) return void this.answer(id, () => broker.query(call, wait))
    this.#send(id, broker.createQuery(call, wait), wait)
  }

  /** @throws TypeError for what a worker's face would have refused */
  #batch([, id, statements, begin, timeoutMillis, abortable, how, label, set]: Entry<'batch'>): void {
    const { broker, texts } = this.shared
    const calls = statements.map((statement) => decodeCall(statement, texts, undefined))
    if (calls.some(({ text }) => text.controls || text.kind === 'copy')) {
      throw new TypeError('a batch holds transaction control or COPY')
    }
    const explicit = begin ?? (calls.every(({ text }) => text.kind === 'plain') ? null : 'BEGIN')
    const commitment = decodeCommitment(how)
    const terms = { begin: explicit, commitment, settings: decodeSettings(set) }
    if (commitment !== null) {
      const wait = this.#wait(id, timeoutMillis, true, label)
      return void this.answer(id, () => broker.batch(calls, terms, wait))
    }
    const wait = this.#wait(id, timeoutMillis, abortable, label)
    this.#send(id, broker.createBatch(calls, terms, wait), wait)
  }

  /** Without a signal where none is needed, because what has one is not pipelined. */
  #wait(id: number, timeoutMillis: number, abortable: boolean, label: string | null = null): Wait {
    return { timeoutMillis, signal: abortable ? this.abortOf(id).signal : undefined, label }
  }

  #send<C, T extends QueryResult | QueryResult[]>(id: number, waiter: OneShotWaiter<C, T>, wait: Wait): void {
    this.#asked.set(id, waiter)
    const answered = waiter.ask()
    void this.answer(id, () => answered)
    this.shared.broker.dispatcher.ask(waiter, wait)
  }

  #connect([, id, timeoutMillis, abortable]: Entry<'connect'>): void {
    const wait = this.#wait(id, timeoutMillis, abortable)
    void this.answer(id, () => this.shared.broker.connect(wait))
  }

  /** @throws TypeError for a number that is in use */
  #listen([, id, channel, maxBuffered, timeoutMillis]: Entry<'listen'>): void {
    if (this.subscriptions.has(id)) throw new TypeError(`subscription ${id} was asked for twice`)
    const wait = this.#wait(id, timeoutMillis, true)
    const subscription = new HostSubscription(id, this)
    this.subscriptions.set(id, subscription)
    void this.answer(id, () => subscription.open(this.shared.broker.listen(channel, maxBuffered, wait)))
  }
}
