/**
 * One server connection from its opening to its loss.
 *
 * States: `live` (requests are sent and answered) → `closing` (`close()`: Terminate has been sent) or `lost` (the
 * socket is gone, or the protocol was broken). Neither leads back. What was unanswered when it was lost is handed to
 * the owner, who decides what is sent again on the next connection.
 */
import type { RequestOwner } from '../pipeline/request-owner.js'
import { LONGEST_ROW } from '../pg/framing.js'
import { internals } from '../pg/driver.js'
import { Pipeline } from '../pipeline/pipeline.js'
import { now } from '../util/clock.js'
import { memberOf } from '../util/thrown.js'
import { timerFor } from '../util/timer.js'
import { become, type Transitions } from '../util/transitions.js'
import { SILENT_OWNER } from './silent-owner.js'
import type { OpenedClient } from '../connect/index.js'
import type { DriverClient, ParameterStatus } from '../pg/driver.js'
import type { PipelineOptions, PipelineOwner, Unanswered } from '../pipeline/pipeline.js'
import type { Request } from '../pipeline/request.js'
import type { Deadlines } from '../util/deadlines.js'

/** What a backend tells its owner. */
export interface BackendOwner {
  readonly deadlines: Deadlines
  /** Something was run that may have undone a LISTEN. */
  onListensDoubted(): void
  /** The session's encoding was changed to another than UTF-8. */
  onGarbled(backend: Backend): void
  /** A write was refused because the server, or the transaction, is read-only. */
  onWriteRefused(backend: Backend): void
  /** Something was answered: there may be room for more. */
  onReady(): void
  /** It is over; the owners of its requests have been told nothing yet. */
  onLost(backend: Backend, cause: Error, unanswered: Unanswered): void
}

/** After so long it counts as a success, in milliseconds. */
const LIVED_MILLIS = 5_000

/** How long a goodbye may take before the socket is destroyed, in milliseconds. */
const CLOSE_MILLIS = 1_000

const UTF8 = 'UTF8'

/** read_only_sql_transaction */
const READ_ONLY = '25006'

/** Reported settings that have no say in what a text means. */
const WITHOUT_MEANING = new Set(['application_name', 'in_hot_standby', 'default_transaction_read_only'])

type State = 'live' | 'closing' | 'lost'

const NEXT: Transitions<State> = { live: ['closing', 'lost'], closing: [], lost: [] }

export class Backend implements PipelineOwner {
  readonly client: DriverClient
  readonly pipeline: Pipeline
  /** When it was opened, on the clock of `now()`. */
  readonly openedAt = now()
  readonly #opened: OpenedClient
  readonly #owner: BackendOwner
  readonly #gone: Promise<void>
  #state: State = 'live'
  #cause: Error | null = null
  /** How many statements of others than the library have been answered. */
  #answers = 0
  #encoding = UTF8
  /** Transactions may be read only without saying so, or were at some time. Servers before 14 do not report it. */
  mayBeReadOnly = false
  /** This library has ended it, because of what somebody did with it. */
  isGivenUp = false
  /** Told of each request that was answered, before its owner is; null where nobody wants to know. */
  onRequestAnswered: ((request: Request) => void) | null = null
  /** Whether it keeps the process alive. */
  #referenced: 'ref' | 'unref' = 'ref'

  constructor(opened: OpenedClient, options: PipelineOptions, owner: BackendOwner) {
    this.#opened = opened
    this.client = internals(opened.client)
    this.#owner = owner
    const { connection } = this.client
    this.pipeline = new Pipeline(this.client, opened, options, this)
    this.client.on('error', (error: Error) => this.lose(error))
    connection.on('parameterStatus', (report: ParameterStatus) => this.#onReport(report))
    connection.on('rowTooLong', (bytes: number) => this.#onRowTooLong(bytes))
    this.#gone = new Promise((resolve) => connection.once('end', resolve))
    connection.once('end', () => this.lose(new Error('Connection terminated unexpectedly')))
  }

  get deadlines(): Deadlines {
    return this.#owner.deadlines
  }

  /** Why it is over; null while it lives. */
  get lost(): Error | null {
    return this.#cause
  }

  get processID(): number | null {
    return this.client.processID
  }

  /** It has served somebody, or has lived for a while: whatever opened it was no failure. */
  get wasOfUse(): boolean {
    return this.#answers > 0 || now() - this.openedAt > LIVED_MILLIS
  }

  /** client_encoding is not UTF-8, the only one that pg writes and reads. */
  get garbled(): boolean {
    return this.#encoding !== UTF8
  }

  /** The server is answering a request of `owner`'s. */
  answers(owner: RequestOwner): boolean {
    return this.pipeline.head?.owner === owner
  }

  // ---- its end

  /**
   * Gives the connection up with all that is in flight. The server is asked to cancel what it runs, so that it does not
   * go on with it, locks and all; unless that is a COMMIT, whose owner may still want it. Resolves when it was asked.
   */
  async abandon(cause: Error): Promise<void> {
    const { head } = this.pipeline
    this.isGivenUp = true
    this.lose(cause)
    if (head !== null && !head.traits.endsTransaction)
      await this.#opened.cancel({ timeoutMillis: CLOSE_MILLIS }).catch(() => {})
  }

  /** Says goodbye and waits until the socket is closed. Nothing may be pending. */
  async close(): Promise<void> {
    if (this.#state !== 'live') return this.#gone
    this.#become('closing', new Error('the connection was closed'))
    this.pipeline.close()
    this.ref()
    const impatience = timerFor(CLOSE_MILLIS, () => this.client.connection.stream.destroy())
    try {
      void this.client.end().catch(() => {})
      await this.#gone
    } finally {
      impatience?.stop()
    }
  }

  /** Gives the connection up at once. Does nothing once it is over. */
  lose(cause: Error): void {
    if (this.#state !== 'live') return
    this.#become('lost', cause)
    const unanswered = this.pipeline.close()
    this.client.connection.stream.destroy()
    this.#owner.onLost(this, cause, unanswered)
  }

  #become(next: State, cause: Error): void {
    this.#state = become('a backend', NEXT, this.#state, next)
    this.#cause = cause
  }

  ref(): void {
    this.#reference('ref')
  }

  unref(): void {
    this.#reference('unref')
  }

  #reference(verb: 'ref' | 'unref'): void {
    if (this.#referenced === verb) return
    this.#referenced = verb
    // A stream of the user's own may know neither.
    const stream = this.client.connection.stream as { ref?: () => unknown; unref?: () => unknown }
    stream[verb]?.()
  }

  // ---- what the server says

  onAnswered(request: Request): void {
    const { owner, traits, error } = request
    this.onRequestAnswered?.(request)
    if (owner !== SILENT_OWNER) this.#answers++
    if (traits.mayUnlisten) this.#owner.onListensDoubted()
    if (error !== null && memberOf(error, 'code') === READ_ONLY) this.#owner.onWriteRefused(this)
  }

  onReady(): void {
    this.#owner.onReady()
  }

  onBroken(cause: Error): void {
    this.isGivenUp = true
    this.lose(cause)
  }

  /** A setting has another value, by whatever way it got it. */
  #onReport({ parameterName, parameterValue }: ParameterStatus): void {
    if (!WITHOUT_MEANING.has(parameterName)) this.pipeline.prepared.suspend()
    if (parameterName === 'default_transaction_read_only') this.mayBeReadOnly ||= parameterValue === 'on'
    if (parameterName !== 'client_encoding') return
    this.#encoding = parameterValue
    if (parameterValue !== UTF8) this.#owner.onGarbled(this)
  }

  #onRowTooLong(bytes: number): void {
    const limit = `the longest string of this JavaScript engine (${LONGEST_ROW})`
    const advice = 'fetch it in parts, with substr() for example'
    const error = new Error(`a row of ${bytes} bytes is longer than ${limit}; ${advice}`)
    if (this.pipeline.head?.refuseRow(error) !== true) this.lose(error)
  }
}
