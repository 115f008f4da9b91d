/**
 * A pool of one connection, which the manager shares with everybody else who asks it. Whoever connects stands in
 * the manager's line; queries of the pool itself are one-shots of the manager's, pipelined with their neighbours,
 * unless somebody listens for the clients that pg would have used for them.
 */
import { EventEmitter } from 'node:events'
import { UncommittedTransactionError, UnfinishedStatementError } from '../errors.js'
import { timerFor } from '../util/timer.js'
import { callBack, callbackOf, isSubmittable, textOf, withoutCallback } from './calls.js'
import { reportLeak } from './leak.js'
import { watchManager } from './manager-watch.js'
import { PooledClient } from './pooled-client.js'
import type { PoolClient, PoolOptions } from 'pg'
import type { Connection, Manager, NoticeEvent, RollbackEvent } from '../index.js'
import type { ResolvedPoolOptions } from './pool-options.js'
import type { SubmittableLike } from './calls.js'
import type { ClientHost } from './pooled-client.js'

type ConnectCallback = (
  error: Error | undefined,
  client: PoolClient | undefined,
  done: (release?: Error | boolean) => void,
) => void

/** The events that come with a client of its own, in place of a one-shot. */
const CLIENT_EVENTS = ['connect', 'acquire', 'release']

export class PoolOfOne extends EventEmitter implements ClientHost, AsyncDisposable {
  readonly #manager: Manager
  readonly #options: ResolvedPoolOptions
  readonly #unwatch: () => void
  /** What `end()` waits for: whoever connects, is connected, or has asked for a query. */
  #busy = 0
  #idle: (() => void) | null = null
  readonly #out = new Map<PooledClient, Connection>()
  /** The last client that was handed out. */
  #latest: PooledClient | null = null
  /** The server process that `connect` was emitted for; null where none was, or it is gone. */
  #announced: number | null = null
  /** The rollback of a client that had left statements in flight, until its release is over. */
  #rolledBack: RollbackEvent | null = null
  #ending: Promise<void> | null = null
  #ended = false

  /** In pg's words; the manager's own are what counts. */
  readonly options: PoolOptions = {
    max: 1,
    min: 0,
    maxUses: Infinity,
    allowExitOnIdle: true,
    maxLifetimeSeconds: 0,
    idleTimeoutMillis: 0,
  }

  constructor(manager: Manager, options: ResolvedPoolOptions) {
    super()
    this.#manager = manager
    this.#options = options
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
      (client) => process.nextTick(callback, undefined, client, client.release),
      (error: unknown) => process.nextTick(callback, error, undefined, () => {}),
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
      throw error
    }
  }

  #handOut(connection: Connection): PooledClient {
    const client = new PooledClient(connection, this)
    this.#out.set(client, connection)
    this.#latest = client
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
    if (CLIENT_EVENTS.some((event) => this.listenerCount(event) > 0)) return this.#queryClient(config, values)
    this.#busy++
    try {
      return await this.#manager.query(withoutCallback(config) as string, values as [])
    } catch (error) {
      throw asInPg(error)
    } finally {
      this.#left()
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
        await client.query('')
      }
    } catch {
      // The submittable has been told.
    } finally {
      client.release()
    }
  }

  onReleased(client: PooledClient, error: unknown): void {
    const connection = this.#out.get(client)!
    this.#out.delete(client)
    this.#tell('release', error, client)
    void this.#giveBack(client, connection, Boolean(error)).finally(() => this.#left())
  }

  /** An open transaction is rolled back on the way. Never rejects. */
  async #giveBack(client: PooledClient, connection: Connection, drop: boolean): Promise<void> {
    // "After the present holder", who leaves in the same breath.
    if (drop && connection.status !== 'unknown') this.#manager.close().catch(() => {})
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
    if (this.#options.strict) this.#tell('error', error, client)
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
    const wasAnnounced = this.#announced !== null
    this.#announced = null
    const lost = [...this.#out.keys()].find((client) => client.isLost())
    lost?.tellLost(error)
    if (!wasAnnounced) return
    this.#tell('remove', this.#latest)
    if (error !== undefined && lost === undefined && this.listenerCount('error') > 0) {
      this.#tell('error', error, this.#latest)
    }
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
      process.nextTick(() => {
        throw error
      })
    }
  }
}

/** A failing "BEGIN; …; COMMIT" in one text: pg gives its caller the statement's own error, and so do we. */
function asInPg(error: unknown): unknown {
  return error instanceof UncommittedTransactionError ? (error.cause ?? error) : error
}

/** As pg's types have it. */
function asPoolClient(client: PooledClient): PoolClient {
  return client as unknown as PoolClient
}
