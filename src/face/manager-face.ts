/** The verbs of every manager, over a broker: the local one, or that of another thread. */
import { inspect } from 'node:util'
import { ManagerEndedError, ReentrantAcquireError } from '../errors.js'
import { beginText } from '../lease/begin.js'
import { enclosingScope, runCallback } from '../lease/holder-context.js'
import { checkCount, checkMillis, detachmentOf } from '../options.js'
import { ClassifiedTexts } from '../sql/classify.js'
import { withCallersFrames } from '../util/callers-frames.js'
import { answerBy, callbackOf } from './answer-by.js'
import {
  checkChannel,
  readAutocommit,
  readBatchBegin,
  readClose,
  readRetries,
  readWait,
} from './call-options.js'
import { createHandle, createHolder } from './held-connection.js'
import { markNestedHandled } from './nesting.js'
import { checkOptionNames, checkWork } from './option-names.js'
import { readBatched } from './read-batched.js'
import { isSubmittable, readCall } from './read-call.js'
import { repeat } from './retries.js'
import { SafeEmitter } from './safe-emitter.js'
import { Instruments } from './shown-calls.js'
import type { CustomTypesConfig, QueryResult } from 'pg'
import type {
  AcquireOptions,
  BatchOptions,
  CloseOptions,
  ListenOptions,
  TransactionOptions,
  UseOptions,
  WaitOptions,
} from '../api/call-options.js'
import type { Connection, TransactionStatus } from '../api/connection.js'
import type { ConnectionFacts, EndOptions, Manager, ManagerStats } from '../api/manager.js'
import type { Broker, EventSink, Lease, LeaseTerms, Leaving, Wait } from '../api/ports.js'
import type { BatchResults, OneShotQuery, QueryConfig } from '../api/query.js'
import type { Subscription } from '../api/subscription.js'
import type { HandleContext, Holder } from './held-connection.js'

/** How many unread notifications a subscription keeps. */
const DEFAULT_MAX_BUFFERED = 10_000

const END_TIMEOUT_MILLIS = 30_000

/** The first statement opens a transaction, as in Python's DB-API. */
const DB_API: LeaseTerms = { autocommit: false, begin: 'BEGIN', owned: false }
const AUTOCOMMIT: LeaseTerms = { autocommit: true, begin: 'BEGIN', owned: false }
/** The library commits. */
const OWNED: LeaseTerms = { autocommit: false, begin: 'BEGIN', owned: true }

type Work<T> = (connection: Connection) => T | PromiseLike<T>

/** What a face is made of. */
export interface FaceFacts {
  /** The connection string, as it is shown. */
  readonly conninfo: string
  /** What inspection calls the manager. */
  readonly title: string
  /** Parses the cells of statements that bring no parsers of their own; absent: those of the connection do. */
  readonly types?: CustomTypesConfig | undefined
}

const brokers = new WeakMap<object, Broker>()

/** The broker of one of the library's managers; undefined for anything else. */
export function brokerOf(manager: object): Broker | undefined {
  return brokers.get(manager)
}

export abstract class ManagerFace extends SafeEmitter implements Manager {
  readonly #facts: FaceFacts
  readonly #broker: Broker
  readonly #context: HandleContext

  protected constructor(facts: FaceFacts, createBroker: (events: EventSink) => Broker) {
    super()
    this.#facts = facts
    this.#broker = createBroker(this.sink())
    brokers.set(this, this.#broker)
    const texts = new ClassifiedTexts()
    const timeoutMillis = this.#broker.options.statementTimeoutMillis
    this.#context = {
      manager: this,
      defaults: { texts, timeoutMillis, types: facts.types },
      instruments: new Instruments(texts, () => this.#broker.facts),
    }
  }

  use<T>(work: Work<T>, options: UseOptions = {}): Promise<T> {
    // Not an async function, as none is that waits in line: a hundred thousand may, and each would keep its frame.
    try {
      const wait = this.#readAsk('use', work, options)
      const close = readClose(options)
      return this.#take(this.#terms(options), wait, work, close)
    } catch (error) {
      return Promise.reject(error as Error)
    }
  }

  /** Waits for a lease and runs `work` with it. */
  #take<T>(
    terms: LeaseTerms,
    wait: Wait,
    work: Work<T>,
    close: boolean,
    onLease?: (lease: Lease) => void,
  ): Promise<T> {
    const granted = this.#broker.acquire(terms, wait, itself)
    return granted.then((lease) => {
      onLease?.(lease)
      return this.#hold(lease, work, close)
    }, withCallersFrames)
  }

  acquire(options: AcquireOptions = {}): Promise<Connection> {
    try {
      this.#refuseReentrance('acquire', options)
      checkOptionNames('acquire', options)
      const wait = readWait(options, this.#broker.options)
      return this.#broker.acquire(this.#terms(options), wait, this.#handle)
    } catch (error) {
      return Promise.reject(error as Error)
    }
  }

  readonly #handle = (lease: Lease): Connection => createHandle(lease, this.#context)

  async tryAcquire(options: AcquireOptions = {}): Promise<Connection | null> {
    if (enclosingScope(this)?.kind === 'onConnect') this.#refuseReentrance('tryAcquire', {})
    checkOptionNames('tryAcquire', options)
    const wait = readWait(options, this.#broker.options)
    this.#refuseEnding()
    return this.#broker.tryAcquire(this.#terms(options), wait, this.#handle)
  }

  transaction<T>(work: Work<T>, options: TransactionOptions = {}): Promise<T> {
    try {
      const wait = this.#readAsk('transaction', work, options)
      const terms = ownedTerms(beginText(options))
      const close = readClose(options)
      const retries = readRetries(options)
      const attempt = (onLease?: (lease: Lease) => void): Promise<T> =>
        this.#take(terms, wait, work, close, onLease)
      if (retries === 0) return attempt()
      return repeat(attempt, { retries, signal: options.signal, ending: () => this.#broker.ending })
    } catch (error) {
      return Promise.reject(error as Error)
    }
  }

  readonly query = ((config: unknown, values?: unknown, callback?: unknown) =>
    answerBy(callbackOf(config, values, callback), this.#query(config, values))) as OneShotQuery

  #query(config: unknown, values: unknown): Promise<QueryResult> {
    try {
      this.#refuseReentrance('query', detachmentOf(config))
      if (isSubmittable(config)) {
        throw new TypeError(
          'a submittable needs the connection for a while: hand it to the query() of use() or acquire()',
        )
      }
      const asked = readCall(config, values, this.#context.defaults)
      const shown = this.#context.instruments.show(asked)
      const call = shown?.calls[0] ?? asked
      const { acquireTimeoutMillis: timeoutMillis } = this.#broker.options
      const answered = this.#broker.query(call, { timeoutMillis, signal: call.limits.signal })
      return shown === null ? answered : shown.follow(answered)
    } catch (error) {
      return Promise.reject(error as Error)
    }
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
    const wait = readWait(options, this.#broker.options)
    if (!Array.isArray(statements)) throw new TypeError('batch() takes an array of statements')
    const modes = readBatchBegin(options)
    const asked = statements.map((statement, index) => readBatched(statement, index, this.#context.defaults))
    this.#refuseEnding()
    if (asked.length === 0) return []
    const shown = this.#context.instruments.showAll(asked)
    const calls = shown?.calls ?? asked
    const explicit = modes !== null || calls.some(({ text }) => text.kind !== 'plain')
    const answered = this.#broker.batch(calls, explicit ? (modes ?? 'BEGIN') : null, wait)
    return shown === null ? answered : shown.followAll(answered)
  }

  async listen(channel: string, options: ListenOptions = {}): Promise<Subscription> {
    this.#refuseReentrance('listen', options)
    checkOptionNames('listen', options)
    checkChannel(channel)
    const { maxBuffered = DEFAULT_MAX_BUFFERED } = options
    checkCount('maxBuffered', maxBuffered)
    return this.#broker.listen(channel, maxBuffered, readWait(options, this.#broker.options))
  }

  get closed(): boolean {
    return this.status === null
  }

  get status(): TransactionStatus | null {
    return this.#broker.status
  }

  get stats(): ManagerStats {
    return this.#broker.stats
  }

  /** @internal Whom statements are sent to: the live server, else the first that would be tried. */
  get facts(): ConnectionFacts {
    return this.#broker.facts
  }

  async close(options: CloseOptions = {}): Promise<void> {
    this.#refuseReentrance('close', options)
    checkOptionNames('close', options)
    await this.#broker.close()
  }

  async end(options: EndOptions = {}): Promise<void> {
    this.#refuseReentrance('end', options)
    checkOptionNames('end', options)
    const { timeoutMillis = END_TIMEOUT_MILLIS } = options
    checkMillis('timeoutMillis', timeoutMillis)
    await this.#broker.end(timeoutMillis)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end()
  }

  /** The connection string, with every password shown as `***`. */
  override toString(): string {
    return this.#facts.conninfo
  }

  [inspect.custom](): string {
    return `<${this.#facts.title}: ${this.#facts.conninfo} (${this.status ?? 'closed'})>`
  }

  #terms(options: AcquireOptions): LeaseTerms {
    return readAutocommit(options, this.#broker.options) ? AUTOCOMMIT : DB_API
  }

  #readAsk(member: 'use' | 'transaction', work: unknown, options: WaitOptions): Wait {
    this.#refuseReentrance(member, options)
    checkWork(member, work)
    checkOptionNames(member, options)
    return readWait(options, this.#broker.options)
  }

  #refuseReentrance(member: string, { detached }: WaitOptions): void {
    const scope = enclosingScope(this)
    if (scope === undefined || (detached === true && scope.kind === 'callback')) return
    throw new ReentrantAcquireError({ member, inside: scope.kind })
  }

  #refuseEnding(): void {
    if (this.#broker.ending) throw new ManagerEndedError()
  }

  /** Runs `work` with the lease, and settles it, whatever happens. */
  async #hold<T>(lease: Lease, work: Work<T>, close: boolean): Promise<T> {
    // In a worker it may be granted and revoked in one message.
    if (lease.revocation !== null) throw lease.revocation
    const holder = createHolder(lease, this.#context)
    let result: T
    try {
      result = await this.#run(holder, work)
    } catch (error) {
      if (lease.revocation === null) await leave(holder, { left: 'threw', error, close }).catch(() => {})
      throw lease.revocation ?? error
    }
    await leave(holder, { left: 'returned', close })
    return result
  }

  async #run<T>({ use: { lease }, handle }: Holder, work: Work<T>): Promise<T> {
    const working = runCallback(this, () => work(handle))
    return this.#broker.options.revokes ? untilRevoked(lease, working) : working
  }
}

/** Settles the lease of a holder whose work is done. */
function leave({ use }: Holder, leaving: Leaving): Promise<void> {
  markNestedHandled(use)
  return use.lease.release(leaving)
}

function ownedTerms(begin: string): LeaseTerms {
  return begin === OWNED.begin ? OWNED : { ...OWNED, begin }
}

function itself(lease: Lease): Lease {
  return lease
}

/** What `work` does after its lease was revoked is ignored, and so is its failure. */
function untilRevoked<T>(lease: Lease, working: Promise<T>): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    lease.onRevoked = reject
    working.then(resolve, reject)
  })
}
