/**
 * A pool of one connection, which the manager shares with everybody else who asks it. Whoever connects stands in
 * the manager's line; queries of the pool itself are one-shots of the manager's, pipelined with their neighbours,
 * unless somebody listens for the clients that pg would have used for them.
 */
import { clock } from '../util/clock.js'
import { EventEmitter } from 'node:events'
import { UncommittedTransactionError, UnfinishedStatementError } from '../errors.js'
import { timerFor } from '../util/timer.js'
import { borrowingClientOf } from './borrowing-client.js'
import {
  callBack,
  callbackOf,
  isListen,
  isSubmittable,
  listenRefusal,
  textOf,
  withoutCallback,
} from './calls.js'
import { describeOptions } from './describe-options.js'
import type { Droppable } from '../face/held-connection.js'
import { inheritFromPg } from './inherit.js'
import { reportLeak } from './leak.js'
import { watchManager } from './manager-watch.js'
import { PassingClient } from './passing-client.js'
import { asInPg, withClient } from './pg-error.js'
import { PooledClient } from './pooled-client.js'
import type { PoolClient, PoolOptions } from 'pg'
import type { Connection, Manager, NoticeEvent, RollbackEvent } from '../index.js'
import type { ResolvedPoolOptions } from './pool-options.js'
import type { SubmittableLike } from './calls.js'
import type { Ask } from './passing-client.js'
import type { ClientHost } from './pooled-client.js'

type ConnectCallback = (
  error: Error | undefined,
  client: PoolClient | undefined,
  done: (release?: Error | boolean) => void,
) => void

export class PoolOfOne extends EventEmitter implements ClientHost, AsyncDisposable {
  readonly #manager: Manager
  readonly #options: ResolvedPoolOptions
  readonly #unwatch: () => void
  /** What `end()` waits for: whoever connects, is connected, or has asked for a query. */
  #busy = 0
  #idle: (() => void) | null = null
  readonly #out = new Map<PooledClient, Connection>()
  /** The last client that was handed out, or told of. */
  #latest: PooledClient | PassingClient | null = null
  /** Something was asked on the present server connection: its end is news. */
  #used = false
  /** Queries of the pool that are not answered. */
  #queries = 0
  /** The server process that `connect` was emitted for; null where none was, or it is gone. */
  #announced: number | null = null
  /** The rollback of a client that had left statements in flight, until its release is over. */
  #rolledBack: RollbackEvent | null = null
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
    // Not to be copied as libpq's parameter of that name.
    Object.defineProperty(this, 'options', {
      value: describeOptions(manager),
      writable: true,
      configurable: true,
    })
    this.#unwatch = watchManager(manager, {
      disconnect: (error) => this.#onDisconnect(error),
      notice: (notice) => this.#onNotice(notice),
      rollback: (event) => this.#onRollback(event),
    })
  }

  get refuseListen(): boolean {
    return this.#options.refuseListen
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
    this.#busy++
    try {
      const connection = await this.#manager.acquire({ autocommit: true })
      return this.#handOut(connection)
    } catch (error) {
      this.#left()
      throw asInPg(error)
    }
  }

  #handOut(connection: Connection): PooledClient {
    const client = new PooledClient(connection, this)
    this.#out.set(client, connection)
    this.#latest = client
    this.#used = true
    const { processID } = connection
    if (processID !== this.#announced) {
      this.#announced = processID
      this.#tell('connect', client)
    }
    this.#tell('acquire', client)
    return client
  }

  /** As in pg: promises, callbacks, config objects, submittables. */
  query(config: unknown, values?: unknown, callback?: unknown): unknown {
    if (isSubmittable(config)) {
      void this.#submit(config, values, callback)
      return config
    }
    const listener = typeof config === 'function' ? config : callbackOf(config, values, callback)
    const answered = this.#query(config, typeof values === 'function' ? undefined : values)
    if (listener === undefined) return answered
    callBack(answered, listener as never)
    return undefined
  }

  async #query(config: unknown, values: unknown): Promise<unknown> {
    this.#refuseAfterEnd()
    if (typeof config === 'function') {
      throw new Error('Passing a function as the first parameter to pool.query is not supported')
    }
    if (this.#options.refuseListen && isListen(textOf(config))) throw listenRefusal()
    // A new connection is to be set up before anything else is done on it.
    if (this.listenerCount('connect') > 0) return this.#queryClient(config, values)
    const isWatched = this.listenerCount('acquire') + this.listenerCount('release') > 0
    return isWatched ? this.#queryWatched(config, values) : this.#queryOnce(config, values)
  }

  readonly #queryOnce: Ask = async (config, values) => {
    this.#busy++
    this.#queries++
    this.#used = true
    try {
      const result = await this.#manager.query(withoutCallback(config) as string, values as [])
      // It may have waited for another connection than there was.
      this.#used = true
      return result
    } catch (error) {
      throw asInPg(error)
    } finally {
      this.#queries--
      this.#left()
    }
  }

  /** Travels with its neighbours; who counts clients is told of one. */
  async #queryWatched(config: unknown, values: unknown): Promise<unknown> {
    const client = new PassingClient(this.#queryOnce)
    this.#latest = client
    this.#tell('acquire', client)
    let failure: unknown
    try {
      return await this.#queryOnce(config, values)
    } catch (error) {
      failure = error
      throw error
    } finally {
      client.pass()
      this.#tell('release', failure, client)
    }
  }

  /** A query on a client of its own has the same outcome as a one-shot. */
  async #queryClient(config: unknown, values: unknown): Promise<unknown> {
    const client = await this.#connect()
    try {
      const result = await client.query(withoutCallback(config), values)
      if (client.getTransactionStatus() !== 'T') return result
      throw new UncommittedTransactionError({ statement: textOf(config), retrySafe: false })
    } finally {
      await this.#rollBack(client)
      client.release()
    }
  }

  async #rollBack(client: PooledClient): Promise<void> {
    const status = client.getTransactionStatus()
    if (status !== 'T' && status !== 'E') return
    try {
      await client.query('ROLLBACK')
    } catch {
      // The connection is lost then, and the transaction with it.
    }
  }

  /** The submittable speaks until it is over; what is asked behind it is answered then. */
  async #submit(submittable: SubmittableLike, values: unknown, callback: unknown): Promise<void> {
    let client: PooledClient
    try {
      client = await this.#connect()
    } catch (error) {
      submittable.handleError(error as Error, null)
      return
    }
    try {
      // A stream that was destroyed while it waited would be read by nobody.
      if (submittable.destroyed !== true) {
        client.query(submittable, values, callback)
        await client.settled()
      }
    } catch {
      // The submittable has been told.
    } finally {
      client.release()
    }
  }

  onReleased(client: PooledClient, error: unknown): Promise<void> {
    const connection = this.#out.get(client)!
    this.#out.delete(client)
    this.#tell('release', error, client)
    return this.#giveBack(client, connection, Boolean(error)).finally(() => this.#left())
  }

  /** An open transaction is rolled back on the way. Never rejects. */
  async #giveBack(client: PooledClient, connection: Connection, drop: boolean): Promise<void> {
    const dropped = drop ? dropOf(connection) : null
    if (dropped !== null) await dropped
    // "After the present holder", who leaves in the same breath.
    else if (drop && connection.status !== 'unknown') this.#manager.close().catch(() => {})
    try {
      await connection.release()
    } catch (error) {
      if (!drop) this.#onFailedRelease(client, error)
    }
  }

  #onFailedRelease(client: PooledClient, error: unknown): void {
    if (error instanceof UncommittedTransactionError) this.#reportLeak(client, error, error.statement)
    // pg lets queries run on after the release, and they did; only an open transaction is news.
    else if (error instanceof UnfinishedStatementError && this.#rolledBack !== null) {
      const { statement } = this.#rolledBack
      this.#rolledBack = null
      this.#reportLeak(client, error, statement)
    }
    // Of a lost connection, and of a hold that was taken back, the client's own queries have told.
  }

  #reportLeak(
    client: PooledClient,
    error: UncommittedTransactionError | UnfinishedStatementError,
    statement: string | null,
  ): void {
    const leak = { statement, lastStatement: client.lastStatement, error, client: asPoolClient(client) }
    this.#tell('leak', leak)
    if (this.#options.strict) this.#tell('error', Object.assign(error, { client }), client)
    else reportLeak(leak)
  }

  /**
   * Takes no more work and waits for what is out. The manager stays as it is, unless `endManager` is set.
   *
   * @throws pg's own error when it is called a second time
   */
  end(callback?: (error?: Error) => void): Promise<void> | undefined {
    const ended =
      this.#ending === null ? this.#end() : Promise.reject(new Error('Called end on pool more than once'))
    if (callback === undefined) return ended
    callBack(ended, callback as never)
    return undefined
  }

  #end(): Promise<void> {
    this.#ending = this.#finish()
    return this.#ending
  }

  async #finish(): Promise<void> {
    const { endManager, endTimeoutMillis } = this.#options
    await this.#quiet(endTimeoutMillis)
    if (endManager) await this.#manager.end({ timeoutMillis: endTimeoutMillis })
    this.#unwatch()
    this.#ended = true
  }

  /** Waits until nothing is out; after `timeoutMillis` it takes back what is, and waits no longer. */
  async #quiet(timeoutMillis: number): Promise<void> {
    if (this.#busy === 0) return
    const quiet = new Promise<void>((resolve) => {
      this.#idle = resolve
    })
    const timer = timerFor(timeoutMillis, () => this.#takeBack())
    await quiet
    timer?.stop()
  }

  #takeBack(): void {
    for (const client of [...this.#out.keys()]) void client.end()
    this.#idle?.()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await (this.#ending ?? this.#end())
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

  #left(): void {
    this.#busy--
    if (this.#busy === 0) this.#idle?.()
  }

  #onDisconnect(error: Error | undefined): void {
    const wasUsed = this.#used
    this.#used = false
    this.#announced = null
    const lost = [...this.#out.keys()].find((client) => client.isLost())
    lost?.tellLost(error)
    if (!wasUsed) return
    const client = this.#latest ?? new PassingClient(null)
    // Whoever is waiting for an answer is told by that.
    const isIdle = lost === undefined && this.#queries === 0
    if (error !== undefined && isIdle && this.listenerCount('error') > 0) {
      this.#tell('error', withClient(error, client), client)
    }
    this.#tell('remove', client)
  }

  #onNotice(notice: NoticeEvent): void {
    for (const client of this.#out.keys()) client.tellNotice(notice)
  }

  #onRollback(event: RollbackEvent): void {
    if (event.reason === 'unfinished') this.#rolledBack = event
  }

  /** A listener that throws disturbs nobody: its error is an uncaught exception. */
  #tell(event: string, ...args: unknown[]): void {
    try {
      this.emit(event, ...args)
    } catch (error) {
      clock.nextTick(() => {
        throw error
      })
    }
  }
}

/** Drops the connection of a holder whose statement runs; null where none does, or where that cannot be done. */
function dropOf(connection: Connection): Promise<void> | null {
  return (connection as Partial<Droppable>).drop?.() ?? null
}

/** As pg's types have it. */
function asPoolClient(client: PooledClient): PoolClient {
  return client as unknown as PoolClient
}

inheritFromPg(PoolOfOne)
// By this name libraries tell a pool from a client.
Object.defineProperty(PoolOfOne, 'name', { value: 'BoundPool' })
