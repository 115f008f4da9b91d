/** The verbs of every manager, over a broker: the local one, or that of another thread. */
import { inspect } from 'node:util'
import { ManagerEndedError, ReentrantAcquireError } from '../errors.js'
import { enclosingScope } from '../lease/holder-context.js'
import { ClassifiedTexts } from '../sql/classify.js'
import { TracedBroker } from '../trace/traced-broker.js'
import { withCallersFrames } from '../util/callers-frames.js'
import { framesAbove } from './asker.js'
import { answerBy, callbackOf } from './answer-by.js'
import { checkChannel, checkOptions, checkWork, NO_OPTIONS, type OptionalCall } from './call-options.js'
import { createHolder } from './held-connection.js'
import { hold, type Work } from './hold.js'
import { isSubmittable, readBatched, readCall } from './read-call.js'
import { repeat } from './retries.js'
import { scoped } from './scoped-broker.js'
import { SafeEmitter } from './safe-emitter.js'
import { Instruments } from './shown-calls.js'
import { batchTerms, transactionTerms, turnTerms } from './terms.js'
import type { CustomTypesConfig, QueryResult } from 'pg'
import type {
  AcquireOptions,
  BatchOptions,
  CloseOptions,
  ConnectOptions,
  LabelOptions,
  ListenOptions,
  SharedOptions,
} from '../api/call-options.js'
import type { TransactionOptions, UseOptions, WaitOptions } from '../api/call-options.js'
import type { Connection, TransactionStatus } from '../api/connection.js'
import type { ConnectionFacts, EndOptions, Manager, ManagerStats } from '../api/manager.js'
import type { Broker, EventSink, Lease, LeaseTerms, Wait } from '../api/ports.js'
import type { BatchResults, OneShotQuery, QueryConfig } from '../api/query.js'
import type { Subscription } from '../api/subscription.js'
import type { HandleContext } from './held-connection.js'

/** How many unread notifications a subscription keeps. */
const DEFAULT_MAX_BUFFERED = 10_000

const END_TIMEOUT_MILLIS = 30_000

/** The verbs of a manager that take options. */
type Verb = Exclude<OptionalCall, 'stream' | 'connection.transaction' | 'with' | 'lead'>

/** What a face is made of. */
export interface FaceFacts {
  /** The connection string, as it is shown. */
  readonly conninfo: string
  /** What inspection calls the manager. */
  readonly title: string
  /** Parses the cells of statements that bring no parsers of their own; absent: those of the connection do. */
  readonly types?: CustomTypesConfig | undefined
}

const faces = new WeakMap<object, { readonly broker: Broker; readonly root: object }>()

/** The broker of one of the library's managers; undefined for anything else. */
export function brokerOf(manager: object): Broker | undefined {
  return faces.get(manager)?.broker
}

/** The manager inside of whose callbacks who asks `manager` would wait for ever. */
export function rootOf(manager: object): object {
  return faces.get(manager)?.root ?? manager
}

export abstract class ManagerFace extends SafeEmitter implements Manager {
  readonly #facts: FaceFacts
  /** The manager that this one is made of by `with()`; itself where it is none. */
  readonly #root: ManagerFace
  readonly #broker: Broker
  readonly #context: HandleContext

  protected constructor(
    facts: FaceFacts,
    createBroker: (events: EventSink) => Broker,
    root: ManagerFace | null = null,
  ) {
    super()
    this.#facts = facts
    this.#root = root ?? this
    if (root !== null) this.sendOn(root)
    const events = this.#root.sink()
    const broker = createBroker(events)
    this.#broker = new TracedBroker(broker, events)
    faces.set(this, { broker, root: this.#root })
    const texts = new ClassifiedTexts()
    const timeoutMillis = this.#broker.options.statementTimeoutMillis
    this.#context = {
      manager: this.#root,
      defaults: { texts, timeoutMillis, types: facts.types },
      instruments: new Instruments(texts, () => this.#broker.facts),
    }
  }

  // None that waits in line is an async function: a hundred thousand may, and each would keep its frame.

  use<T>(work: Work<T>, options: UseOptions = NO_OPTIONS): Promise<T> {
    try {
      const wait = this.#admit('use', options)
      checkWork('use', work)
      return this.#take(turnTerms(options, this.#broker.options), wait, work, options.close ?? false)
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
      const { revokes } = this.#broker.options
      return hold(lease, work, { context: this.#context, close, signal: wait.signal, revokes })
    }, withCallersFrames)
  }

  acquire(options: AcquireOptions = NO_OPTIONS): Promise<Connection> {
    try {
      const wait = this.#admit('acquire', options)
      return this.#broker.acquire(turnTerms(options, this.#broker.options), wait, this.#handle)
    } catch (error) {
      return Promise.reject(error as Error)
    }
  }

  readonly #handle = (lease: Lease): Connection => createHolder(lease, this.#context).handle

  async tryAcquire(options: AcquireOptions = NO_OPTIONS): Promise<Connection | null> {
    const wait = this.#admit('tryAcquire', options)
    this.#refuseEnding()
    return this.#broker.tryAcquire(turnTerms(options, this.#broker.options), wait, this.#handle)
  }

  transaction<T>(work: Work<T>, options: TransactionOptions = NO_OPTIONS): Promise<T> {
    try {
      const wait = this.#admit('transaction', options)
      checkWork('transaction', work)
      const terms = transactionTerms(options, this.#broker.options)
      const { retries = 0, close = false, signal } = options
      const attempt = (onLease?: (lease: Lease) => void): Promise<T> =>
        this.#take(terms, wait, work, close, onLease)
      return retries === 0 ? attempt() : repeat(attempt, retries, signal, () => this.#broker.ending)
    } catch (error) {
      return Promise.reject(error as Error)
    }
  }

  readonly query = ((config: unknown, values?: unknown, callback?: unknown) =>
    answerBy(callbackOf(config, values, callback), this.#query(config, values), null)) as OneShotQuery

  #query(config: unknown, values: unknown): Promise<QueryResult> {
    try {
      this.#refuseReentrance('query', (config as WaitOptions | null | undefined)?.detached)
      if (isSubmittable(config)) {
        throw new TypeError(
          'a submittable needs the connection for a while: hand it to the query() of use() or acquire()',
        )
      }
      const asked = readCall(config, values, this.#context.defaults)
      const shown = this.#context.instruments.show(asked)
      const call = shown?.calls[0] ?? asked
      const { acquireTimeoutMillis: timeoutMillis } = this.#broker.options
      const { limits, label } = call
      const answered = this.#broker.query(call, { timeoutMillis, signal: limits.signal, label })
      return shown === null ? answered : shown.follow(answered)
    } catch (error) {
      return Promise.reject(error as Error)
    }
  }

  batch<const S extends readonly (string | QueryConfig)[]>(
    statements: S,
    options: BatchOptions = NO_OPTIONS,
  ): Promise<BatchResults<S>> {
    return this.#batch(statements, options) as Promise<BatchResults<S>>
  }

  async #batch(statements: readonly (string | QueryConfig)[], options: BatchOptions): Promise<QueryResult[]> {
    const wait = this.#admit('batch', options)
    if (!Array.isArray(statements)) throw new TypeError('batch() takes an array of statements')
    const asked = statements.map((statement, index) => readBatched(statement, index, this.#context.defaults))
    this.#refuseEnding()
    const shown = this.#context.instruments.showAll(asked)
    const calls = shown?.calls ?? asked
    const explicit = calls.some(({ text }) => text.kind !== 'plain')
    const terms = batchTerms(options, this.#broker.options, explicit)
    if (calls.length === 0) return []
    const answered = this.#broker.batch(calls, terms, wait)
    return shown === null ? answered : shown.followAll(answered)
  }

  async listen(channel: string, options: ListenOptions = NO_OPTIONS): Promise<Subscription> {
    const wait = this.#admit('listen', options)
    checkChannel(channel)
    return this.#broker.listen(channel, options.maxBuffered ?? DEFAULT_MAX_BUFFERED, wait)
  }

  with(options: SharedOptions): Manager {
    checkOptions('with', options)
    return new ManagerWith(this, this.#facts, this.#root, options)
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

  async connect(options: ConnectOptions = NO_OPTIONS): Promise<void> {
    const { signal } = this.#admit('connect', options)
    const { timeoutMillis = this.#broker.options.reconnectTimeoutMillis } = options
    await this.#broker.connect({ timeoutMillis, signal })
  }

  async close(options: CloseOptions = NO_OPTIONS): Promise<void> {
    this.#admit('close', options)
    await this.#broker.close()
  }

  async end(options: EndOptions = NO_OPTIONS): Promise<void> {
    this.#admit('end', options)
    await this.#broker.end(options.timeoutMillis ?? END_TIMEOUT_MILLIS)
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

  /** Checks a call, before anything is done for it, and reads how long it waits. */
  #admit(call: Verb, options: WaitOptions & LabelOptions): Wait {
    // These wait for nobody.
    const waitsForNobody = call === 'tryAcquire' || call === 'connect'
    this.#refuseReentrance(call, waitsForNobody || (options as WaitOptions | null)?.detached)
    checkOptions(call, options)
    const { timeoutMillis = this.#broker.options.acquireTimeoutMillis, signal, label = null } = options
    const stack = this.#broker.options.traceHolders ? framesAbove(this[call]) : null
    return { timeoutMillis, signal, label, stack }
  }

  #refuseReentrance(member: string, detached: boolean | undefined): void {
    const scope = enclosingScope(this.#root)
    if (scope === undefined || (detached === true && scope.kind === 'callback')) return
    throw new ReentrantAcquireError({ member, inside: scope.kind })
  }

  #refuseEnding(): void {
    if (this.#broker.ending) throw new ManagerEndedError()
  }
}

/** A manager whose calls have something in common: the same line, connection, events and end. */
class ManagerWith extends ManagerFace {
  constructor(base: ManagerFace, facts: FaceFacts, root: ManagerFace, options: SharedOptions) {
    super(facts, () => scoped(brokerOf(base)!, options), root)
  }
}

function itself(lease: Lease): Lease {
  return lease
}
