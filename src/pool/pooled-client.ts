/** What `pool.connect()` gives: a holder's handle in the shape of `pg.PoolClient`. */
import { EventEmitter } from 'node:events'
import { quoteStatement } from '../errors.js'
import { callBack, callbackOf, isListen, isSubmittable, textOf } from './calls.js'
import { escapeIdentifier, escapeLiteral } from './escape.js'
import { NotificationTap } from './notification-tap.js'
import type { Notification, PoolClient } from 'pg'
import type { Connection, NoticeEvent } from '../index.js'

/** What a client needs of its pool. */
export interface ClientHost {
  readonly refuseListen: boolean
  /** The client is given back; `error` is what `release` was given. Called once. */
  onReleased(client: PooledClient, error: unknown): void
}

/** pg's letters. While something is in flight nobody knows. */
const LETTERS = { idle: 'I', intrans: 'T', inerror: 'E', active: null, unknown: null } as const

type Shape = Pick<
  PoolClient,
  | 'release'
  | 'escapeIdentifier'
  | 'escapeLiteral'
  | 'getTransactionStatus'
  | 'setTypeParser'
  | 'getTypeParser'
>

/**
 * One borrowing of the connection. Each `connect()` gives a new one, so that what is kept after its release
 * reaches nobody: its queries reject with `ConnectionReleasedError`.
 */
export class PooledClient extends EventEmitter implements Shape {
  readonly #connection: Connection
  readonly #host: ClientHost
  #released = false
  /** `end()` has given it back; pg wants a `release()` all the same. */
  #ended = false
  #tap: NotificationTap | null = null
  #lastText: string | null = null

  constructor(connection: Connection, host: ClientHost) {
    super()
    this.#connection = connection
    this.#host = host
  }

  /** As in pg: promises, callbacks, config objects, submittables. */
  query(config: unknown, values?: unknown, callback?: unknown): unknown {
    this.#lastText = textOf(config) ?? this.#lastText
    if (isListen(textOf(config))) return this.#listen(config, values, callback)
    return this.#send(config, values, callback)
  }

  #send(config: unknown, values: unknown, callback: unknown): unknown {
    const send = this.#connection.query.bind(this.#connection) as PooledClient['query']
    return send(config, values, callback)
  }

  #listen(config: unknown, values: unknown, callback: unknown): unknown {
    if (this.#host.refuseListen && !isSubmittable(config)) {
      const listener = callbackOf(config, values, callback)
      const refused = Promise.reject(listenRefusal())
      return listener === undefined ? refused : callBack(refused, listener)
    }
    if (this.#tap === null && !this.#released) {
      this.#tap = new NotificationTap((notification: Notification) => this.emit('notification', notification))
      this.#connection.query(this.#tap)
    }
    return this.#send(config, values, callback)
  }

  /**
   * Gives the connection back; with anything truthy it is dropped. Bound, so that it can be handed on alone.
   *
   * @throws pg's own error when it is called a second time
   */
  readonly release = (error?: Error | boolean): void => {
    if (this.#released) {
      if (!this.#ended) {
        throw new Error('Release called on client which has already been released to the pool.')
      }
      this.#ended = false
      return
    }
    this.#leave(error)
  }

  #leave(error: unknown): void {
    this.#released = true
    this.#tap?.close()
    this.#host.onReleased(this, error)
  }

  /** Drops the connection: pg's way to be rid of a client at once. */
  end(callback?: (error?: Error) => void): Promise<void> | undefined {
    if (!this.#released) {
      this.#ended = true
      this.#leave(true)
    }
    if (callback === undefined) return Promise.resolve()
    process.nextTick(callback)
    return undefined
  }

  /** It is connected: pg's own refusal. */
  connect(callback?: (error: Error) => void): Promise<never> | undefined {
    const error = new Error('Client has already been connected. You cannot reuse a client.')
    if (callback === undefined) return Promise.reject(error)
    process.nextTick(callback, error)
    return undefined
  }

  /** pg's `I`, `T` and `E`; null while a query is in flight, after the release and when the connection is lost. */
  getTransactionStatus(): 'I' | 'T' | 'E' | null {
    return LETTERS[this.#connection.status]
  }

  /** The server process; null once released or lost. */
  get processID(): number | null {
    return this.#connection.processID
  }

  escapeIdentifier(name: string): string {
    return escapeIdentifier(name)
  }

  escapeLiteral(text: string): string {
    return escapeLiteral(text)
  }

  /** @throws always: parsers of one client would be those of everyone on the shared connection. */
  setTypeParser(): never {
    throw typeParserRefusal('setTypeParser')
  }

  /** @throws always, see `setTypeParser`. */
  getTypeParser(): never {
    throw typeParserRefusal('getTypeParser')
  }

  /** The last thing that it was asked for. */
  get lastStatement(): string | null {
    return this.#lastText === null ? null : quoteStatement(this.#lastText)
  }

  /** The server connection is gone: true where that was this client's. */
  isLost(): boolean {
    return !this.#released && this.#connection.status === 'unknown'
  }

  /** Tells the listeners of a lost connection; without one for `error` nobody is harmed. */
  tellLost(error: Error | undefined): void {
    this.#tap?.close()
    if (error !== undefined && this.listenerCount('error') > 0) this.emit('error', error)
    this.emit('end')
  }

  tellNotice(notice: NoticeEvent): void {
    this.emit('notice', notice)
  }
}

function listenRefusal(): Error {
  return new Error(
    'LISTEN was refused (refuseListen): a client that listens would keep the only connection; use listen() of the manager',
  )
}

function typeParserRefusal(member: string): Error {
  return new Error(
    `${member}() of a client is not available on a shared connection; ` +
      "give `types` with the query or in the manager's connection parameters, or use the parsers of pg.types",
  )
}
