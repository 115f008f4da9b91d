import type { Connection as Wire, Notification, PoolClient, Submittable } from 'pg'
import type { DriverSubmittable } from '../api/ports.js'
import { answerBy } from '../face/answer-by.js'
import { isSubmittable } from '../face/read-call.js'
import type { Connection } from '../index.js'
import { quoteStatement } from '../util/quote-statement.js'
import { isListen, listenRefusal, readCall, tell, textOf } from './calls.js'
import { asInPg, ClientShape } from './pg.js'

/** pg's letters. While something is in flight the status is not known. */
const LETTERS = { idle: 'I', intrans: 'T', inerror: 'E', active: null, unknown: null } as const

type Shape = Pick<PoolClient, 'release' | 'getTransactionStatus' | 'setTypeParser' | 'getTypeParser'>

/**
 * Hears the session's notifications for a client that listens: a submittable that asks the server for nothing, and
 * learns which of pg's connections it is on.
 */
class NotificationTap {
  readonly runsNothing = true
  readonly #onNotification: (notification: Notification) => void
  #wire: Wire | null = null

  constructor(onNotification: (notification: Notification) => void) {
    this.#onNotification = onNotification
  }

  /** Hears nothing more. */
  close(): void {
    this.#wire?.off('notification', this.#onNotification)
    this.#wire = null
  }

  submit(wire: Wire): void {
    this.#wire = wire
    wire.on('notification', this.#onNotification)
    wire.sync()
  }

  handleReadyForQuery(): void {}

  handleError(): void {
    this.close()
  }
}

/**
 * One borrowing of the connection, in the shape of `pg.PoolClient`. Each `connect()` gives a new one, so that what is
 * kept after its release does no harm: its queries reject with `ConnectionReleasedError`.
 */
export class PooledClient extends ClientShape implements Shape {
  readonly #connection: Connection
  readonly #refuseListen: boolean
  readonly #onRelease: (error: unknown) => Promise<void>
  #released = false
  /** `end()` has given it back; pg wants a `release()` all the same. */
  #ended = false
  #tap: NotificationTap | null = null
  #lastText: string | null = null
  /** What was asked for and is not answered. */
  readonly #pending = new Set<Promise<unknown>>()

  /** @param onRelease called once, with what `release` was given; resolves when the connection is given back */
  constructor(connection: Connection, refuseListen: boolean, onRelease: (error: unknown) => Promise<void>) {
    super()
    this.#connection = connection
    this.#refuseListen = refuseListen
    this.#onRelease = onRelease
    this.on('newListener', (event: string | symbol) => this.#onNewListener(event))
  }

  /** As in pg: promises, callbacks, config objects, submittables. */
  query(config: unknown, values?: unknown, callback?: unknown): unknown {
    const text = textOf(config)
    this.#lastText = text ?? this.#lastText
    if (isSubmittable(config)) return this.#submit(config, values, callback)
    const call = readCall(config, values, callback)
    if (isListen(text)) {
      if (this.#refuseListen) return answerBy(call.callback, Promise.reject(listenRefusal()), null)
      this.#hear()
    }
    if (call.callback === undefined) return this.#watch(this.#ask(config, values, callback))
    return answerBy(call.callback, this.#watch(this.#ask(call.config, call.values)), null)
  }

  #ask(...given: unknown[]): Promise<unknown> {
    const ask = this.#connection.query.bind(this.#connection) as (...given: unknown[]) => Promise<unknown>
    return ask(...given)
  }

  #submit(submittable: DriverSubmittable, values: unknown, callback: unknown): unknown {
    if (isListen(textOf(submittable))) this.#hear()
    void this.#ask(submittable, values, callback)
    if (this.listenerCount('drain') > 0) void this.#watch(this.settled())
    return submittable
  }

  /** Resolves once everything that was asked for so far is over, however it went. */
  settled(): Promise<void> {
    return new Promise((resolve) => {
      const submit = (wire: Wire): void => wire.sync()
      const asked = { runsNothing: true, submit, handleReadyForQuery: resolve, handleError: resolve }
      this.#connection.query(asked as Submittable)
    })
  }

  /** The caller's promise: with pg's codes, and `drain` once nothing is left. */
  #watch(answered: Promise<unknown>): Promise<unknown> {
    const watched = answered.then(
      (result) => {
        this.#over(watched)
        return result
      },
      (error: unknown) => {
        this.#over(watched)
        throw asInPg(error)
      },
    )
    this.#pending.add(watched)
    return watched
  }

  #over(watched: Promise<unknown>): void {
    this.#pending.delete(watched)
    if (this.#pending.size === 0 && !this.#released) tell(this, 'drain')
  }

  /** Taps the session for notifications: which LISTENs there are, the texts do not tell. */
  #hear(): void {
    if (this.#tap !== null || this.#released) return
    const tap = new NotificationTap((notification: Notification) => this.emit('notification', notification))
    this.#connection.query(tap)
    this.#tap = tap
  }

  #onNewListener(event: string | symbol): void {
    if (event !== 'notification') return
    try {
      this.#hear()
    } catch {
      // In a worker nothing can be heard, which a LISTEN there says.
    }
  }

  /**
   * Gives the connection back; with anything truthy it is dropped. Bound, so that it can be handed on alone.
   *
   * @throws pg's own error when it is called a second time
   */
  readonly release = (error?: Error | boolean): void => {
    if (!this.#released) void this.#leave(error)
    else if (this.#ended) this.#ended = false
    else throw new Error('Release called on client which has already been released to the pool.')
  }

  #leave(error: unknown): Promise<void> {
    this.#released = true
    this.#tap?.close()
    // What was left is settled with the release; its rejections need not be handled.
    for (const watched of this.#pending) watched.catch(() => {})
    return this.#onRelease(error)
  }

  /** Drops the connection: pg's way to be rid of a client at once. Resolves once it is gone. */
  end(callback?: (error?: Error) => void): Promise<void> | undefined {
    this.#ended ||= !this.#released
    const ended = this.#released ? Promise.resolve() : this.#leave(true)
    return answerBy(callback, ended, undefined)
  }

  /** It is connected: pg's own refusal. */
  connect(callback?: (error: Error) => void): Promise<never> | undefined {
    const error = new Error('Client has already been connected. You cannot reuse a client.')
    return answerBy(callback, Promise.reject<never>(error), undefined)
  }

  /** pg's `I`, `T` and `E`; null while a query is in flight, after the release and when the connection is lost. */
  getTransactionStatus(): 'I' | 'T' | 'E' | null {
    return LETTERS[this.#connection.status]
  }

  /** The server process; null once released or lost. */
  get processID(): number | null {
    return this.#connection.processID
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

  /** Whether the server connection was this client's, and is gone. */
  isLost(): boolean {
    return !this.#released && this.#connection.status === 'unknown'
  }

  /** Tells the listeners of a lost connection; an `error` without one would be an uncaught exception. */
  tellLost(error: Error | undefined): void {
    this.#tap?.close()
    if (error !== undefined && this.listenerCount('error') > 0) this.emit('error', error)
    this.emit('end')
  }
}

function typeParserRefusal(member: string): Error {
  return new Error(
    `${member}() of a client is not available on a shared connection; ` +
      "give `types` with the query or in the manager's connection parameters, or use the parsers of pg.types",
  )
}

// By this name libraries tell a client of a pool from other things.
Object.defineProperty(PooledClient, 'name', { value: 'Client' })
