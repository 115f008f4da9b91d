/** The manager of a worker: the owner's, seen through a port. */
import { inspect } from 'node:util'
import type { MessagePort } from 'node:worker_threads'
import type { CustomTypesConfig } from 'pg'
import { ManagerEndedError, ReentrantAcquireError } from '../../errors.js'
import { checkBoolean, checkCount, checkMillis, detachmentOf, refuseOwnLimits } from '../../options.js'
import { enclosingScope, runCallback } from '../../lease/holder-context.js'
import { checkOptionNames, checkWork } from '../../face/option-names.js'
import { isWorthRepeating } from '../../lease/failures.js'
import { throwIfAborted } from '../../util/abort-signals.js'
import { backoffMillis } from '../../util/backoff.js'
import { now } from '../../util/clock.js'
import { pause } from '../../util/pause.js'
import { timerFor } from '../../util/timer.js'
import { SharedStats } from '../shared-stats.js'
import { Link } from './link.js'
import { createHandle } from './remote-connection.js'
import { BufferedSubscription } from '../../listen/subscription.js'
import { RemoteLease } from './remote-lease.js'
import { ResultDecoder } from './result-decoder.js'
import {
  answerBy,
  callbackOf,
  isSubmittable,
  pick,
  readCall,
  readSignal,
  submittableError,
} from './statement.js'
import { thrownFacts } from './thrown.js'
import type {
  BatchResults,
  AcquireOptions,
  BatchOptions,
  CloseOptions,
  Connection,
  EndOptions,
  ListenOptions,
  Manager,
  ManagerStats,
  QueryConfig,
  Subscription,
  TransactionOptions,
  TransactionStatus,
  UseOptions,
  WaitOptions,
} from '../../index.js'
import type { QueryResult } from 'pg'
import type { HandleServices } from './remote-connection.js'
import type { Timer } from '../../util/timer.js'
import type { Hello, TurnKind, WireAnswer, WireLeaving } from '../protocol.js'
import type { RowWish } from './result-decoder.js'

/** Before `work` is run again after a serialization failure or a deadlock. */
const RETRY_BACKOFF = { firstMillis: 5, maxMillis: 1_000 }

/** How many unread notifications a subscription keeps. */
const DEFAULT_MAX_BUFFERED = 10_000

const END_TIMEOUT_MILLIS = 30_000

/** The options that the owner hears of. */
const TURN_OPTIONS = [
  'timeoutMillis',
  'autocommit',
  'close',
  'isolationLevel',
  'accessMode',
  'deferrable',
] as const

type Work<T> = (connection: Connection) => T | PromiseLike<T>

export class RemoteManager implements Manager {
  readonly #link: Link
  readonly #board: SharedStats
  readonly #hello: Hello
  readonly #decoder = new ResultDecoder()
  readonly #types: CustomTypesConfig | null
  readonly #services: HandleServices
  #lookedAt = -Infinity
  #ended: Promise<void> | null = null

  constructor(port: MessagePort, hello: Hello, types: CustomTypesConfig | null) {
    const board = new SharedStats(hello.board)
    this.#board = board
    this.#hello = hello
    this.#types = types
    this.#link = new Link(port)
    this.#services = {
      manager: this,
      link: this.#link,
      decoder: this.#decoder,
      types,
      get processID() {
        return board.processID
      },
    }
  }

  async use<T>(work: Work<T>, options: UseOptions = {}): Promise<T> {
    this.#checkAsk('use', work, options)
    const turn = await this.#ask('use', options)
    return this.#hold(turn!, work)
  }

  async acquire(options: AcquireOptions = {}): Promise<Connection> {
    this.#refuseReentrance('acquire', options)
    checkOptionNames('acquire', options)
    checkWait(options)
    return createHandle((await this.#ask('acquire', options))!, this.#services)
  }

  async tryAcquire(options: AcquireOptions = {}): Promise<Connection | null> {
    checkOptionNames('tryAcquire', options)
    checkWait(options)
    const turn = await this.#ask('try', options)
    return turn === null ? null : createHandle(turn, this.#services)
  }

  async transaction<T>(work: Work<T>, options: TransactionOptions = {}): Promise<T> {
    this.#checkAsk('transaction', work, options)
    const { retries = 0 } = options
    checkCount('retries', retries)
    for (let attempt = 0; ; attempt++) {
      const turn = await this.#ask('transaction', options)
      try {
        return await this.#hold(turn!, work)
      } catch (error) {
        const repeatable = isWorthRepeating(error) && !turn!.mayHaveCommitted
        if (attempt >= retries || !repeatable || this.#ended !== null) throw error
      }
      await pause(backoffMillis(RETRY_BACKOFF, attempt, Math.random()), options.signal)
    }
  }

  readonly query = ((config: unknown, values?: unknown, callback?: unknown): unknown =>
    answerBy(callbackOf(config, values, callback), this.#query(config, values))) as Manager['query']

  async #query(config: unknown, values: unknown): Promise<unknown> {
    this.#refuseReentrance('query', detachmentOf(config))
    if (isSubmittable(config)) throw submittableError()
    const call = readCall(config, values, this.#types)
    this.#refuseEnded()
    throwIfAborted(call.signal)
    const id = this.#link.createID()
    const { signal, wire, wish } = call
    return this.#link.call(id, ['query', id, wire], { signal, decode: this.#decoding([wish]) })
  }

  batch<const S extends readonly (string | QueryConfig)[]>(
    statements: S,
    options: BatchOptions = {},
  ): Promise<BatchResults<S>> {
    return this.#batch(statements, options) as Promise<BatchResults<S>>
  }

  async #batch(statements: readonly (string | QueryConfig)[], options: BatchOptions): Promise<QueryResult[]> {
    this.#refuseReentrance('batch', options)
    checkOptionNames('batch', options)
    checkWait(options)
    if (!Array.isArray(statements)) throw new TypeError('batch() takes an array of statements')
    const submittable = statements.findIndex((statement) => isSubmittable(statement))
    if (submittable >= 0) throw new TypeError(`statement ${submittable} of the batch is a submittable`)
    statements.forEach(refuseOwnLimits)
    const calls = statements.map((statement) => readCall(statement, undefined, this.#types))
    this.#refuseEnded()
    const { signal } = options
    throwIfAborted(signal)
    if (calls.length === 0) return []
    const id = this.#link.createID()
    const wires = calls.map((call) => call.wire)
    const given = pick({ ...options }, TURN_OPTIONS)
    const decode = this.#decoding(calls.map((call) => call.wish))
    const results = await this.#link.call(id, ['batch', id, wires, given, signal !== undefined], {
      signal,
      decode,
    })
    return results as QueryResult[]
  }

  #decoding(wishes: readonly RowWish[]): (answer: WireAnswer) => QueryResult | QueryResult[] {
    return (answer) => this.#decoder.decode(answer, wishes)
  }

  async listen(channel: string, options: ListenOptions = {}): Promise<Subscription> {
    this.#refuseReentrance('listen', options)
    checkOptionNames('listen', options)
    checkWait(options)
    const { maxBuffered = DEFAULT_MAX_BUFFERED, signal } = options
    checkCount('maxBuffered', maxBuffered)
    this.#refuseEnded()
    throwIfAborted(signal)
    if (typeof channel !== 'string') throw new TypeError('a channel is a name of 1 to 63 bytes')
    const link = this.#link
    const id = link.createID()
    const given = pick({ ...options }, ['timeoutMillis', 'maxBuffered'])
    // Before the owner's word that it listens: notifications may come along with that.
    const subscription = new BufferedSubscription(channel, maxBuffered, () => link.removeSubscription(id))
    link.addSubscription(id, subscription)
    try {
      await link.call(id, ['listen', id, channel, given], { signal })
    } catch (error) {
      subscription.end(null)
      throw error
    }
    return subscription
  }

  /** @internal For `asPool`. */
  get facts(): Hello['facts'] {
    return { ...this.#hello.facts, processID: this.#board.processID }
  }

  get closed(): boolean {
    return this.status === null
  }

  get status(): TransactionStatus | null {
    if (this.#link.closed) return null
    this.#look()
    return this.#board.status
  }

  get stats(): ManagerStats {
    this.#look()
    return this.#board.stats
  }

  /** Has the figures brought up to date for the next who looks, at most once a millisecond. */
  #look(): void {
    const time = now()
    if (time - this.#lookedAt < 1) return
    this.#lookedAt = time
    this.#link.say(['look'])
  }

  async close(options: CloseOptions = {}): Promise<void> {
    this.#refuseReentrance('close', options)
    checkOptionNames('close', options)
    const id = this.#link.createID()
    if (!this.#link.closed) await this.#link.call(id, ['close', id])
  }

  /** Refuses new work, serves who waits in this worker, and detaches it; the connection is the owner's. */
  async end(options: EndOptions = {}): Promise<void> {
    this.#refuseReentrance('end', options)
    checkOptionNames('end', options)
    const { timeoutMillis = END_TIMEOUT_MILLIS } = options
    checkMillis('timeoutMillis', timeoutMillis)
    this.#ended ??= this.#end(timeoutMillis)
    await this.#ended
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

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end()
  }

  toString(): string {
    return this.#hello.conninfo
  }

  [inspect.custom](): string {
    return `<ManagedConnection in a worker: ${this.#hello.conninfo} (${this.status ?? 'closed'})>`
  }

  #checkAsk(member: 'use' | 'transaction', work: unknown, options: WaitOptions): void {
    this.#refuseReentrance(member, options)
    checkWork(member, work)
    checkOptionNames(member, options)
    checkWait(options)
  }

  #refuseReentrance(member: string, { detached }: WaitOptions): void {
    if (detached !== true && enclosingScope(this) !== undefined)
      throw new ReentrantAcquireError({ member, inside: 'callback' })
  }

  #refuseEnded(): void {
    if (this.#ended !== null) throw new ManagerEndedError()
  }

  #ask(kind: TurnKind, options: UseOptions & TransactionOptions): Promise<RemoteLease | null> {
    this.#refuseEnded()
    const { autocommit = this.#hello.autocommit, signal } = options
    const turn = new RemoteLease(this.#link.createID(), kind, kind !== 'transaction' && autocommit)
    const stack = this.#hello.traces ? (new Error('acquired').stack ?? null) : null
    return this.#link.ask(turn, pick({ ...options }, TURN_OPTIONS), { signal, stack })
  }

  /** Runs `work` with the turn, and has it settled, whatever happens. */
  async #hold<T>(turn: RemoteLease, work: Work<T>): Promise<T> {
    // Granted and taken back in one message.
    if (turn.revocation !== null) throw turn.revocation as Error
    let result: T
    try {
      result = await this.#run(turn, work)
    } catch (error) {
      if (turn.revocation !== null) throw turn.revocation as Error
      // The caller's own error is the one to tell, whatever becomes of the turn.
      await this.#leave(turn, 'threw', error).catch(() => {})
      throw error
    }
    if (turn.revocation !== null) throw turn.revocation as Error
    await this.#leave(turn, 'returned')
    return result
  }

  /** Released by the callback itself: that was the departure. */
  async #leave(turn: RemoteLease, left: WireLeaving, error?: unknown): Promise<void> {
    if (turn.state === 'held')
      await this.#link.leave(turn, left, left === 'threw' ? thrownFacts(error) : null)
    else await turn.departure
  }

  #run<T>(turn: RemoteLease, work: Work<T>): Promise<T> {
    const working = runCallback(this, () => work(createHandle(turn, this.#services)))
    // What `work` does after its turn was taken back is nobody's any more, its failure neither.
    return new Promise<T>((resolve, reject) => {
      turn.onRevoked = reject
      working.then(resolve, reject)
    })
  }
}

function checkWait({ signal, timeoutMillis, detached }: WaitOptions): void {
  readSignal(signal)
  if (timeoutMillis !== undefined) checkMillis('timeoutMillis', timeoutMillis)
  if (detached !== undefined) checkBoolean('detached', detached)
}
