/**
 * Keeps at most one backend: opens it when it is asked for, again when it was lost, and lets it go.
 *
 * States: `closed` → `opening` (`open()`; one attempt for all who ask) → `open` (a backend, live) → `closing`
 * (`close()`; until the socket is gone) → `closed`. A loss leads from `open` to `closed` at once.
 */
import { AsyncResource } from 'node:async_hooks'
import { ConnectError } from '../errors.js'
import { Failure, isTransientOpenError, openClient } from '../connect/index.js'
import { SyncRequest } from '../pipeline/control-request.js'
import { QueryRequest } from '../pipeline/query-request.js'
import { ownStatement } from '../pipeline/statement-part.js'
import { ask } from '../pg/enqueue.js'
import { backoffMillis } from '../util/backoff.js'
import { now } from '../util/clock.js'
import { isFromServer } from '../util/thrown.js'
import { pause } from '../util/pause.js'
import { timerFor } from '../util/timer.js'
import { SILENT_OWNER } from './silent-owner.js'
import { Backend } from './backend.js'
import { CustomSettingNames, readResetText } from './reset.js'
import type { Client, QueryResult } from 'pg'
import type { ConnectPlan } from '../conninfo/plan.js'
import type { OpenedClient } from '../connect/index.js'
import type { ResolvedOptions } from '../options.js'
import type { BackendHost } from './backend.js'
import type { DriverClient } from '../pg/driver.js'

/** Whoever the keeper works for. */
export interface KeeperHost extends BackendHost {
  /** A backend is open, set up, and nobody has it yet. */
  onOpened(backend: Backend, openedMillis: number): void
  onNotice(notice: unknown): void
  onNotification(message: { channel: string; payload?: string | undefined; processId: number }): void
  /** Sets up what outlives a backend, behind `onConnect`. */
  prepare(client: Client): Promise<void>
  /** Runs the user's `onConnect` where asking for the connection is an error. */
  runOnConnect(work: () => Promise<void>): Promise<void>
}

/** Between two attempts to open the connection again. */
const REOPEN_BACKOFF = { firstMillis: 50, maxMillis: 2_000 }

/** How long a check of an unused connection may take, in milliseconds. */
const VALIDATION_MILLIS = 5_000

/** What asks a server whether it is what each `target_session_attrs` wants. */
const WRITABLE_QUERIES: Readonly<Record<string, string>> = {
  'read-write': "SELECT pg_catalog.current_setting('transaction_read_only') = 'off' AS writable",
  primary: 'SELECT NOT pg_catalog.pg_is_in_recovery() AS writable',
}

export class BackendKeeper {
  readonly #plan: () => ConnectPlan
  readonly #options: ResolvedOptions
  readonly #host: KeeperHost
  /** Sockets and what they call live here, outside of any holder's context. */
  readonly #context = new AsyncResource('pg-managed-connection', { requireManualDestroy: false })
  #backend: Backend | null = null
  #opening: { promise: Promise<Backend>; abort: AbortController } | null = null
  /** Attempts that were given up and are not over yet: no two connections at a time. */
  #abandoned: Promise<unknown> = Promise.resolve()
  #closing: Promise<void> | null = null
  #wasOpen = false
  #resetText = ''
  #openings = 0
  /** How many backends in a row died before they were of any use. */
  #earlyDeaths = 0
  /** When the last attempt to open one began, on the clock of `now()`. */
  #attemptedAt = 0

  constructor(plan: () => ConnectPlan, options: ResolvedOptions, host: KeeperHost) {
    this.#plan = plan
    this.#options = options
    this.#host = host
  }

  /** The live backend; null when there is none. */
  get backend(): Backend | null {
    return this.#backend
  }

  get opening(): boolean {
    return this.#opening !== null
  }

  get closing(): boolean {
    return this.#closing !== null
  }

  /** How many times a backend was opened. */
  get openings(): number {
    return this.#openings
  }

  /** The commands that bring the backend back to what `onConnect` left; empty without `reset: 'session'`. */
  get resetText(): string {
    return this.#resetText
  }

  /** Opens a backend, or joins the attempt under way. */
  open(): Promise<Backend> {
    if (this.#backend !== null) return Promise.resolve(this.#backend)
    if (this.#opening === null) {
      const abort = new AbortController()
      const promise = this.#context.runInAsyncScope(() => this.#open(abort.signal))
      this.#opening = { promise, abort }
      // Whoever asked has the rejection; when all have left, nobody does.
      promise.catch(() => {})
    }
    return this.#opening.promise
  }

  /** Gives up an attempt that nobody waits for any more. Who asks from now on has a new one made. */
  abortOpening(): void {
    if (this.#opening === null) return
    const { promise, abort } = this.#opening
    this.#opening = null
    this.#abandoned = promise.catch(() => {})
    abort.abort(new AbandonedOpeningError())
  }

  /** Closes the backend, politely; it must have nothing pending. */
  close(): Promise<void> {
    const backend = this.#backend
    if (backend === null) return this.#closing ?? Promise.resolve()
    this.#backend = null
    this.#closing = backend.close().finally(() => {
      this.#closing = null
    })
    return this.#closing
  }

  /** The backend died: there is none until the next `open()`. */
  forget(backend: Backend): void {
    if (this.#backend !== backend) return
    this.#backend = null
    this.#earlyDeaths = backend.wasOfUse ? 0 : this.#earlyDeaths + 1
  }

  /** Whether the backend answers a Sync in time; it is lost when it does not. */
  readonly validate = async (backend: Backend): Promise<void> => {
    const request = new SyncRequest(SILENT_OWNER)
    request.limitMillis = VALIDATION_MILLIS
    const answered = request.promise<void>()
    backend.submit(request)
    await answered
  }

  /** The connection is to be one that takes writes. */
  get wantsWritable(): boolean {
    return WRITABLE_QUERIES[this.#plan().targetSessionAttrs] !== undefined
  }

  /** Whether the backend still is what `target_session_attrs` asks for, as far as writing goes. */
  async isAsWanted(backend: Backend): Promise<boolean> {
    const text = WRITABLE_QUERIES[this.#plan().targetSessionAttrs]
    if (text === undefined) return true
    const request = new QueryRequest(SILENT_OWNER, ownStatement(text))
    request.limitMillis = VALIDATION_MILLIS
    const answered = request.promise<QueryResult<{ writable: boolean }>>()
    backend.submit(request)
    const { rows } = await answered
    return rows[0]?.writable === true
  }

  async #open(signal: AbortSignal): Promise<Backend> {
    // As they are now: an abort in the same tick would make this opening wait for itself.
    const closing = this.#closing
    const abandoned = this.#abandoned
    try {
      await closing
      await abandoned
      signal.throwIfAborted()
      const opened = await this.#openWithPatience(signal)
      if (signal.aborted) {
        await opened.close()
        throw signal.reason as Error
      }
      this.#backend = opened
      this.#wasOpen = true
      this.#openings++
      this.#opening = null
      this.#host.onOpened(opened, now() - this.#attemptedAt)
      return opened
    } finally {
      // Where it was given up, this may be the next one's.
      if (!signal.aborted) this.#opening = null
    }
  }

  async #openWithPatience(signal: AbortSignal): Promise<Backend> {
    // With no patience there is one attempt, which takes what it takes.
    const patience = this.#wasOpen ? this.#options.reconnectTimeoutMillis : 0
    const deadline = patience > 0 ? now() + patience : Infinity
    await this.#pauseAfterEarlyDeaths(signal)
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#openOnce(signal, deadline)
      } catch (error) {
        signal.throwIfAborted()
        if (error instanceof OwnFailure) throw toConnectError(error.cause)
        const wait = backoffMillis(REOPEN_BACKOFF, attempt, Math.random())
        const late = now() + wait >= deadline
        if (patience === 0 || late || !isTransientOpenError(error)) throw toConnectError(error)
        await pause(wait, signal)
      }
    }
  }

  /** Whoever ends each backend soon after it was opened would be asked for the next one at once, for ever. */
  async #pauseAfterEarlyDeaths(signal: AbortSignal): Promise<void> {
    // One may happen to anybody.
    if (this.#earlyDeaths < 2) return
    await pause(backoffMillis(REOPEN_BACKOFF, this.#earlyDeaths - 2, Math.random()), signal)
  }

  async #openOnce(signal: AbortSignal, deadline: number): Promise<Backend> {
    this.#attemptedAt = now()
    const opened = await openClient(this.#plan(), { signal, ...(deadline === Infinity ? {} : { deadline }) })
    const abandon = (): void => void (opened.client as unknown as DriverClient).connection.stream.destroy()
    signal.addEventListener('abort', abandon, { once: true })
    const timer = timerFor(deadline - now(), abandon)
    try {
      return await this.#setUp(opened)
    } catch (error) {
      abandon()
      throw error
    } finally {
      timer?.stop()
      signal.removeEventListener('abort', abandon)
    }
  }

  /** Runs `onConnect` and learns what it left, before anyone gets the backend. */
  async #setUp(opened: OpenedClient): Promise<Backend> {
    const { client } = opened
    const { onConnect, reset } = this.#options
    client.on('notice', (notice) => this.#host.onNotice(notice))
    client.on('notification', (message) => this.#host.onNotification(message))
    const driver = client as unknown as DriverClient
    if (client.getTransactionStatus() !== 'I') {
      throw new Failure('protocol', 'the server began the backend inside a transaction')
    }
    // Here the client is one caller's alone, with everything that pg offers.
    driver.pipeline = false
    await untilLost(opened, async () => {
      const custom = new CustomSettingNames()
      if (onConnect !== undefined) {
        const work = (): Promise<void> => this.#host.runOnConnect(async () => void (await onConnect(client)))
        const encoding = watchEncoding(driver)
        await (reset === 'session' ? custom.during(client, work) : work())
        await checkSettled(client)
        encoding.check()
      }
      await this.#host.prepare(client)
      if (reset === 'session') this.#resetText = await readResetText(client, custom.names)
    })
    driver.pipeline = true
    // The server may have said its last word right behind its first ReadyForQuery.
    if (driver.connection.stream.destroyed || !driver._queryable) throw lostInSetUp()
    return new Backend(opened, this.#sessionOptions(), this.#host)
  }

  #sessionOptions(): ConstructorParameters<typeof Backend>[1] {
    const { prepare, maxPrepared, preparedLifetimeMillis, pipeline, releaseGraceMillis } = this.#options
    return {
      prepared: { max: prepare ? maxPrepared : 0, lifetimeMillis: preparedLifetimeMillis },
      pipeline,
      cancelPatienceMillis: releaseGraceMillis,
    }
  }
}

/** Runs `work`, but no longer than the connection lives: what waits for an answer then waits for ever. */
async function untilLost(opened: OpenedClient, work: () => Promise<void>): Promise<void> {
  const driver = opened.client as unknown as DriverClient
  const { connection } = driver
  let onEnd: (() => void) | undefined
  const lost = new Promise<never>((_resolve, reject) => {
    onEnd = () => reject(lostInSetUp())
    connection.once('end', onEnd)
  })
  try {
    await Promise.race([work(), lost])
  } catch (error) {
    // What pg says of a query on a lost connection tells nothing of why.
    if (!driver._queryable) throw isTransientOpenError(error) ? error : lostInSetUp(error)
    throw isFromServer(error) ? error : new OwnFailure(error)
  } finally {
    connection.removeListener('end', onEnd!)
  }
}

/** `onConnect` failed on a connection that is well: whatever it says of a network, that is another's. */
class OwnFailure extends Error {
  constructor(override readonly cause: unknown) {
    super('onConnect failed')
  }
}

/** The network's doing, as everywhere else: where there is patience, it is ridden out. */
function lostInSetUp(cause?: unknown): Failure {
  return new Failure('network', 'the connection was lost while it was set up', cause)
}

/** pg writes and reads UTF-8, and the backend is everybody's. */
function watchEncoding({ connection }: DriverClient): { check(): void } {
  let encoding = 'UTF8'
  const onReport = (report: { parameterName: string; parameterValue: string }): void => {
    if (report.parameterName === 'client_encoding') encoding = report.parameterValue
  }
  connection.on('parameterStatus', onReport)
  return {
    check: () => {
      connection.off('parameterStatus', onReport)
      if (encoding !== 'UTF8')
        throw new Error(`onConnect set client_encoding to ${encoding}, but pg writes and reads UTF8 only`)
    },
  }
}

/** Waits for what `onConnect` did not wait for, and checks that it left no transaction open. */
async function checkSettled(client: Client): Promise<void> {
  await ask(client, 'SELECT')
  if (client.getTransactionStatus() !== 'I') throw new Error('onConnect left a transaction open')
}

/** Nobody waited for the opening any more, so nobody is to be told. */
export class AbandonedOpeningError extends ConnectError {
  constructor() {
    super('the opening of the connection was given up: nobody waited for it any more', { errors: [] })
  }
}

function toConnectError(error: unknown): Error {
  if (error instanceof ConnectError) return error
  const reason = error instanceof Error ? error : new Error(String(error))
  return new ConnectError(`the connection could not be set up: ${reason.message}`, { errors: [reason] })
}
