import { EventEmitter } from 'node:events'
import type { PoolClient, PoolOptions } from 'pg'
import { UncommittedTransactionError, UnfinishedStatementError } from '../errors.js'
import { answerBy } from '../face/answer-by.js'
import type { Droppable } from '../face/held-connection.js'
import { isSubmittable } from '../face/read-call.js'
import type { Connection, Manager } from '../index.js'
import { clock } from '../util/clock.js'
import { quoteStatement } from '../util/quote-statement.js'
import { borrowingClientOf } from './borrowing-client.js'
import { isListen, listenRefusal, readCall, tell, textOf, type Callback } from './calls.js'
import { describeOptions, type ResolvedPoolOptions } from './options.js'
import { asInPg, inheritFromPg } from './pg.js'
import { PooledClient } from './pooled-client.js'
import { PassingClient, queryOnce, submit, type Ask } from './queries.js'
import { SessionWatch } from './session-watch.js'

/** A client was released inside a transaction; it was rolled back before anyone else was served. */
export interface LeakEvent {
  /** What opened the transaction, usually a BEGIN; null where it is not known. */
  readonly statement: string | null
  /** The last thing that the client was asked for. */
  readonly lastStatement: string | null
  /** The same as an error. */
  readonly error: UncommittedTransactionError | UnfinishedStatementError
  /** The client, released by now. */
  readonly client: PoolClient
}

type ConnectCallback = (
  error: Error | undefined,
  client: PoolClient | undefined,
  done: (release?: Error | boolean) => void,
) => void

/**
 * A pool of one connection, which the manager shares with everybody else who asks it. `connect()` stands in the
 * manager's line; queries of the pool itself are one-shots of the manager's, pipelined with their neighbours, unless
 * there are listeners for the clients that pg would have used for them.
 */
export class PoolOfOne extends EventEmitter implements AsyncDisposable {
  readonly #manager: Manager
  readonly #options: ResolvedPoolOptions
  readonly #session: SessionWatch
  #ending: Promise<void> | null = null
  #ended = false

  // What a pool of another copy of pg finds where it takes this one for its configuration: a client of its own for
  // each borrowing, which is given back at its end, and nothing kept. The manager's line is the only one.
  readonly Client = borrowingClientOf(() => this.#connect())
  readonly max = Infinity
  readonly maxUses = 1

  /** In pg's words; the manager's own are what counts. */
  declare readonly options: PoolOptions

  constructor(manager: Manager, options: ResolvedPoolOptions) {
    super()
    this.#manager = manager
    this.#options = options
    this.#session = new SessionWatch(manager, this)
    // Not enumerable, so as not to be copied as libpq's parameter of that name.
    const value = describeOptions(manager)
    Object.defineProperty(this, 'options', { value, writable: true, configurable: true })
  }

  /** Takes the connection out, in its turn. */
  connect(callback?: ConnectCallback): Promise<PooledClient> | undefined {
    const connected = this.#connect()
    if (callback === undefined) return connected
    connected.then(
      (client) => clock.nextTick(callback, undefined, client, client.release),
      (error: unknown) => clock.nextTick(callback, error, undefined, () => {}),
    )
    return undefined
  }

  async #connect(): Promise<PooledClient> {
    this.#refuseAfterEnd()
    this.#session.enter()
    try {
      const connection = await this.#manager.acquire({ autocommit: true })
      const { refuseListen } = this.#options
      const client: PooledClient = new PooledClient(connection, refuseListen, (error) =>
        this.#onRelease(client, connection, error),
      )
      this.#session.handOut(client, connection)
      return client
    } catch (error) {
      this.#session.leave()
      throw asInPg(error)
    }
  }

  /** As in pg: promises, callbacks, config objects, submittables. */
  query(config: unknown, values?: unknown, callback?: unknown): unknown {
    if (isSubmittable(config)) {
      void submit(this.#connect(), config, values, callback)
      return config
    }
    const call = readCall(config, values, callback)
    const listener = typeof config === 'function' ? (config as Callback) : call.callback
    return answerBy(listener, this.#query(call.config, call.values), undefined)
  }

  async #query(config: unknown, values: unknown): Promise<unknown> {
    this.#refuseAfterEnd()
    if (typeof config === 'function') {
      throw new Error('Passing a function as the first parameter to pool.query is not supported')
    }
    if (this.#options.refuseListen && isListen(textOf(config))) throw listenRefusal()
    // A new connection is to be set up before anything else is done on it.
    if (this.listenerCount('connect') > 0) return queryOnce(await this.#connect(), config, values)
    const isWatched = this.listenerCount('acquire') + this.listenerCount('release') > 0
    return isWatched ? this.#queryWatched(config, values) : this.#ask(config, values)
  }

  readonly #ask: Ask = async (config, values) => {
    this.#session.enter()
    this.#session.queries++
    this.#session.used = true
    try {
      const result = await this.#manager.query(config as string, values as [])
      // It may have waited for another connection than there was.
      this.#session.used = true
      return result
    } catch (error) {
      throw asInPg(error)
    } finally {
      this.#session.queries--
      this.#session.leave()
    }
  }

  /** Travels with its neighbours, with a client for the listeners only, who may count clients. */
  async #queryWatched(config: unknown, values: unknown): Promise<unknown> {
    const client = new PassingClient(this.#ask)
    this.#session.pass(client)
    let failure: unknown
    try {
      return await this.#ask(config, values)
    } catch (error) {
      failure = error
      throw error
    } finally {
      client.pass()
      tell(this, 'release', failure, client)
    }
  }

  /** Never rejects. */
  async #onRelease(client: PooledClient, connection: Connection, error: unknown): Promise<void> {
    this.#session.out.delete(client)
    tell(this, 'release', error, client)
    try {
      const dropped = error ? this.#drop(connection) : null
      if (dropped !== null) await dropped
      await connection.release()
    } catch (failure) {
      if (!error) this.#onFailedRelease(client, failure)
    } finally {
      this.#session.leave()
    }
  }

  /** Drops the connection of a holder whose statement runs, at once; any other after its release, which follows. */
  #drop(connection: Connection): Promise<void> | null {
    const dropped = (connection as Partial<Droppable>).drop?.() ?? null
    if (dropped === null && connection.status !== 'unknown') this.#manager.close().catch(() => {})
    return dropped
  }

  /** Of a lost connection, and of a hold that was taken back, the client's own queries have told. */
  #onFailedRelease(client: PooledClient, error: unknown): void {
    if (error instanceof UncommittedTransactionError) this.#onLeak(client, error, error.statement)
    else if (error instanceof UnfinishedStatementError) {
      // pg lets queries run on after the release, and they did; only an open transaction is news.
      const rollback = this.#session.takeRollback()
      if (rollback !== null) this.#onLeak(client, error, rollback.statement)
    }
  }

  #onLeak(client: PooledClient, error: LeakEvent['error'], statement: string | null): void {
    const { lastStatement } = client
    const leak = { statement, lastStatement, error, client: client as unknown as PoolClient }
    tell(this, 'leak', leak)
    if (this.#options.strict) tell(this, 'error', Object.assign(error, { client }), client)
    else warnOfLeak(leak)
  }

  /**
   * Takes no more work and waits for what is out. The manager stays as it is, unless `endManager` is set.
   *
   * @throws pg's own error when it is called a second time
   */
  end(callback?: (error?: Error) => void): Promise<void> | undefined {
    const twice = new Error('Called end on pool more than once')
    const ended = this.ending ? Promise.reject<void>(twice) : (this.#ending = this.#end())
    return answerBy(callback, ended, undefined)
  }

  async #end(): Promise<void> {
    const { endManager, endTimeoutMillis } = this.#options
    await this.#session.emptied(endTimeoutMillis)
    // Those that are still out are taken back; their connection is dropped.
    for (const client of [...this.#session.out]) void client.end()
    if (endManager) await this.#manager.end({ timeoutMillis: endTimeoutMillis })
    this.#session.stop()
    this.#ended = true
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await (this.#ending ??= this.#end())
  }

  get ending(): boolean {
    return this.#ending !== null
  }

  get ended(): boolean {
    return this.#ended
  }

  /** 1, or 0 while the manager is not connected. */
  get totalCount(): number {
    return this.#manager.closed ? 0 : 1
  }

  /** 1 while nobody has the connection and nothing is in flight on it. */
  get idleCount(): number {
    const { held, inFlight } = this.#manager.stats
    return this.#manager.closed || held || inFlight > 0 ? 0 : 1
  }

  /** The manager's whole line: who asked the pool waits for the others, too. */
  get waitingCount(): number {
    return this.#manager.stats.waiting
  }

  /** None: the manager replaces an old connection before it hands it out. */
  get expiredCount(): number {
    return 0
  }

  #refuseAfterEnd(): void {
    if (this.ending) throw new Error('Cannot use a pool after calling end on the pool')
  }
}

/** Warns of a leak by a warning of the process, which names the statement that opened the transaction. */
function warnOfLeak({ statement, lastStatement }: LeakEvent): void {
  const opened = statement === null ? 'not known' : quoteStatement(statement)
  const last = lastStatement === null || lastStatement === opened ? '' : `; last statement: ${lastStatement}`
  process.emitWarning(
    `a client was released to the pool inside a transaction (opened by: ${opened}${last}); it was rolled back. ` +
      'End the transaction with COMMIT or ROLLBACK before release()',
    { type: 'UncommittedTransactionWarning', code: 'PG_MANAGED_CONNECTION_LEAK' },
  )
}

inheritFromPg(PoolOfOne)
// By this name libraries tell a pool from a client.
Object.defineProperty(PoolOfOne, 'name', { value: 'BoundPool' })
