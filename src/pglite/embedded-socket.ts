import { AsyncResource } from 'node:async_hooks'
import { Duplex } from 'node:stream'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { clock } from '../util/clock.js'
import { LONGEST_TIMER_MILLIS } from '../util/timer.js'
import type { PGliteDatabase } from './index.js'
import { ClientMessages, fatalError, NO_ENCRYPTION, notification, type ClientRequest } from './messages.js'
import type { SessionLock } from './session-lock.js'

/** How long its end waits, in milliseconds, for PGlite's own callers to let it clean up. */
const LEAVE_MILLIS = 1_000

/**
 * What pg takes for a socket: whole messages go to PGlite, its answers come back. PGlite runs a statement on this
 * very thread; before each, everything else has a turn.
 *
 * States: `opening` (a start-up packet is awaited) → `open` (it has PGlite's session) → destroyed (by Terminate, an
 * error, or its user; the session is free once what was open is rolled back).
 */
export class EmbeddedSocket extends Duplex {
  /** Resolves when it has left the session. */
  readonly gone: Promise<void>
  readonly #db: PGliteDatabase
  readonly #session: SessionLock
  readonly #messages = new ClientMessages()
  /** Answers come outside of the context in which was asked. */
  readonly #context = new AsyncResource('pg-managed-connection/pglite', { requireManualDestroy: false })
  #served: Promise<void> | null = null
  #unlisten: (() => void) | null = null
  #left!: () => void
  #roomForMore: (() => void) | null = null
  /** Keeps the process alive, as a socket does. */
  #life: NodeJS.Timeout | null = null

  constructor(db: PGliteDatabase, session: SessionLock) {
    super({ allowHalfOpen: false })
    this.#db = db
    this.#session = session
    this.gone = new Promise((resolve) => {
      this.#left = resolve
    })
  }

  // What pg calls of a socket.

  connect(): this {
    this.ref()
    clock.nextTick(() => {
      if (!this.destroyed) this.emit('connect')
    })
    return this
  }

  setNoDelay(): this {
    return this
  }

  setKeepAlive(): this {
    return this
  }

  ref(): this {
    if (!this.destroyed) this.#life ??= setInterval(() => {}, LONGEST_TIMER_MILLIS)
    return this
  }

  unref(): this {
    clearInterval(this.#life ?? undefined)
    this.#life = null
    return this
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#messages.push(chunk)
    this.#served ??= this.#context.runInAsyncScope(() => this.#serve())
    done()
  }

  override _read(): void {
    this.#roomForMore?.()
    this.#roomForMore = null
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.unref()
    this.#unlisten?.()
    this.#roomForMore?.()
    const left = new AbortController()
    const patience = sleep(LEAVE_MILLIS, undefined, { signal: left.signal }).catch(() => {})
    const leaving = this.#leave().finally(() => left.abort())
    void Promise.race([leaving, patience]).then(() => done(error))
  }

  async #leave(): Promise<void> {
    await this.#served
    await this.#session.leave(this)
    this.#left()
  }

  /** Answers what has been asked, one request after the other. Never rejects. */
  async #serve(): Promise<void> {
    try {
      for (;;) {
        await nextTurn()
        const request = this.destroyed ? null : this.#messages.next()
        if (request === null) break
        await this.#answer(request)
      }
    } catch (error) {
      this.#fail(error as Error)
    } finally {
      this.#served = null
    }
  }

  async #answer(request: ClientRequest): Promise<void> {
    switch (request.kind) {
      case 'messages':
        for (const part of await this.#session.run(request.bytes, request.ends)) await this.#say(part)
        return
      case 'startup':
        return this.#start(request.bytes, request.settings)
      case 'encryption':
        return this.#say(NO_ENCRYPTION)
      case 'goodbye':
        this.destroy()
    }
  }

  async #start(bytes: Buffer, settings: ReadonlyMap<string, string>): Promise<void> {
    await this.#session.take(this, settings)
    for (const part of await this.#session.run(bytes, true)) await this.#say(part)
    // What comes while PGlite's own callers speak would be told to them only.
    this.#unlisten = this.#db.onNotification((channel, payload) => {
      if (!this.destroyed) this.push(notification(this.#session.processID, channel, payload))
    })
  }

  async #say(bytes: Buffer): Promise<void> {
    if (this.destroyed || this.push(bytes)) return
    await new Promise<void>((resolve) => {
      this.#roomForMore = resolve
    })
  }

  /** PostgreSQL's own way to end a session: one last error, the cause for all that is still to be answered. */
  #fail(error: Error & { code?: unknown }): void {
    if (this.destroyed) return
    const code = typeof error.code === 'string' ? error.code : 'XX000'
    this.push(fatalError(code, error.message))
    this.push(null)
  }
}
