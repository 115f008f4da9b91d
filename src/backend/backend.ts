/**
 * One server connection from its opening to its loss: what is sent, in which order, and what has been answered.
 *
 * States: `live` (the constructor; requests are sent and answered) → `closing` (`close()`; Terminate has been
 * sent) → `lost` (the socket is gone, or the protocol was broken). A lost backend never comes back; whoever was
 * still unanswered is handed to the host, which decides what is sent again on the next one.
 *
 * Invariants: `#inFlight` holds exactly the requests that pg has been given and ReadyForQuery has not answered, in
 * their order; `#unsent` is only ever filled by the one holder of the turn, in the order of its calls; while
 * `#gates` is above zero, or something is to be cancelled, nothing is sent.
 */
import { NamedStatements } from '../pipeline/named-statements.js'
import { PreparedStatements } from '../pipeline/prepared-statements.js'
import { BatchRequest } from '../pipeline/batch-request.js'
import { QueryRequest } from '../pipeline/query-request.js'
import { LONGEST_ROW } from '../connect/index.js'
import { MessageWriter, writeAll } from '../pipeline/wire.js'
import { clock, now } from '../util/clock.js'
import { deadline } from '../util/deadlines.js'
import { memberOf } from '../util/thrown.js'
import { LinkedList } from '../util/linked-list.js'
import { timerFor } from '../util/timer.js'
import { Cancels } from '../pipeline/cancels.js'
import { SILENT_OWNER } from './silent-owner.js'
import type { OpenedClient } from '../connect/index.js'
import type { DriverClient } from '../pg/driver.js'
import type { PreparedLimits } from '../pipeline/prepared-statements.js'
import type { ReadyStatus, Sender, Request, RequestOwner } from '../pipeline/request.js'
import type { Deadlines } from '../util/deadlines.js'

/** What was unanswered when a backend was lost. */
export interface Unanswered {
  readonly sent: readonly Request[]
  readonly unsent: readonly Request[]
}

/** Whoever owns a backend. */
export interface BackendHost {
  readonly deadlines: Deadlines
  /** Something was run that may have undone a LISTEN. */
  onListensDoubted(): void
  /** The backend's encoding was changed to another than UTF-8. */
  onGarbled(backend: Backend): void
  /** A write was refused because the server, or the transaction, is read-only. */
  onWriteRefused(backend: Backend): void
  /** Something was answered: there may be room for more. */
  onReady(): void
  /** The backend is over; its requests have been told nothing yet. */
  onLost(backend: Backend, cause: Error, unanswered: Unanswered): void
}

export interface BackendOptions {
  readonly prepared: PreparedLimits
  /** False where a proxy cannot take pipelined statements: then each waits for the one before. */
  readonly pipeline: boolean
  /** How long a cancelled statement may go on before the connection is given up. */
  readonly cancelPatienceMillis: number
}

/** After so long a backend counts as a success, in milliseconds. */
const LIVED_MILLIS = 5_000

/** How many requests may be in flight: enough to fill any round trip, few enough for pg's arrays. */
const MAX_IN_FLIGHT = 256

/** A ParameterStatus message. */
interface ParameterReport {
  readonly parameterName: string
  readonly parameterValue: string
}

const UTF8 = 'UTF8'

/** read_only_sql_transaction */
const READ_ONLY = '25006'

/** Reported settings that have no say in what a text means. */
const WITHOUT_MEANING = new Set(['application_name', 'in_hot_standby', 'default_transaction_read_only'])

/** Large values wait in the callers' hands rather than in buffers; while that many bytes do, something is in flight. */
const MAX_UNWRITTEN_BYTES = 4 * 1024 * 1024

const READY_STATUS: Readonly<Record<string, ReadyStatus>> = { I: 'idle', T: 'intrans', E: 'inerror' }

export class Backend implements Sender {
  readonly client: DriverClient
  readonly writer = new MessageWriter()
  readonly prepared: PreparedStatements
  readonly named: NamedStatements
  /** When it was opened, on the clock of `now()`. */
  readonly openedAt = now()
  readonly #opened: OpenedClient
  readonly #options: BackendOptions
  readonly #host: BackendHost
  readonly #unsent = new LinkedList<Request>()
  readonly #inFlight = new LinkedList<Request>()
  #status: ReadyStatus = 'idle'
  /** Requests in flight behind which nothing may be sent. */
  #gates = 0
  /** COMMITs, ROLLBACKs and resets in flight. */
  #seals = 0
  /** Requests in flight behind which texts may mean something else. */
  #harmful = 0
  readonly #cancels: Cancels
  /** Whose statement the server runs, and since when. */
  #speaker: RequestOwner | null = null
  #speakerSince = 0
  /** Watches the request that the server is answering, where that one has a limit. */
  readonly #headLimit = deadline(() => this.#onHeadLimit())
  /** What is written stays in `writer` until the next tick, to be sent together. */
  #gathering = false
  /** How many requests, the last in flight, are still there. */
  #gathered = 0
  /** How many statements of others than the library have been answered. */
  #answers = 0
  #encoding = UTF8
  #lost: Error | null = null
  #gone: Promise<void>
  #kept = true

  constructor(opened: OpenedClient, options: BackendOptions, host: BackendHost) {
    this.#opened = opened
    this.client = opened.client as unknown as DriverClient
    this.prepared = new PreparedStatements(options.prepared)
    this.#options = options
    this.#host = host
    const { connection } = this.client
    this.named = new NamedStatements(connection)
    this.#cancels = new Cancels(opened, {
      patienceMillis: options.cancelPatienceMillis,
      onOver: () => this.#onCancelled(),
      onIgnored: (reason) => this.lose(reason),
    })
    this.client.on('error', (error: Error) => this.lose(error))
    connection.on('readyForQuery', (message: { status: string }) => this.#onReadyForQuery(message.status))
    connection.on('parameterStatus', (report: ParameterReport) => this.#onReport(report))
    connection.on('rowTooLong', (bytes: number) => this.#onRowTooLong(bytes))
    this.#gone = new Promise((resolve) => connection.once('end', resolve))
    connection.once('end', () => this.lose(new Error('Connection terminated unexpectedly')))
  }

  /** The status in the last ReadyForQuery. Meaningful for a holder when nothing of it is in flight. */
  get status(): ReadyStatus {
    return this.#status
  }

  /** Why it is over; null while it lives. */
  get lost(): Error | null {
    return this.#lost
  }

  /** Sent and not answered, or not even sent. */
  get pending(): number {
    return this.#inFlight.size + this.#unsent.size
  }

  /** It has served somebody, or has lived for a while: whatever opened it was no failure. */
  get wasOfUse(): boolean {
    return this.#answers > 0 || now() - this.openedAt > LIVED_MILLIS
  }

  get inFlight(): number {
    return this.#inFlight.size
  }

  /** Nothing but COMMITs, ROLLBACKs and resets is unanswered. */
  get onlySeals(): boolean {
    return this.#unsent.size === 0 && this.#inFlight.size === this.#seals
  }

  get processID(): number | null {
    return this.client.processID
  }

  /** Whether a one-shot that travels so could be sent now, with nothing waiting before it. */
  hasRoomFor(pipelining: Request['pipelining']): boolean {
    return this.#unsent.size === 0 && this.#maySend(pipelining, true)
  }

  /** Sends `request` as soon as it may go. The backend must be live. */
  submit(request: Request): void {
    if (this.#lost !== null) throw new Error('BUG: a request was given to a backend that is lost')
    request.sent = false
    this.#unsent.push(request)
    if (this.#unsent.size === 1) this.#pump()
  }

  /** Takes back a request that has not been sent; false when it is too late. */
  withdraw(request: Request): boolean {
    if (request.sent || this.#lost !== null) return false
    this.#unsent.remove(request)
    return true
  }

  /** Takes back all that has not been sent. */
  withdrawAll(): Request[] {
    return takeAll(this.#unsent)
  }

  /** What `owner` has asked for and is unanswered, in order. */
  unitsOf(owner: RequestOwner): Request[] {
    return [...this.#inFlight, ...this.#unsent].filter((request) => request.owner === owner)
  }

  /** Has the server cancel `request`, if that is in flight, as soon as it can hit nobody else. */
  cancel(request: Request): void {
    // Whoever asks may have come too late: another backend may be here by now.
    if ([...this.#inFlight].includes(request)) this.#cancels.ask(request, this.#inFlight.head)
  }

  /** The same for all that `owner` has in flight. */
  cancelAllOf(owner: RequestOwner): void {
    for (const request of this.#inFlight) if (request.owner === owner) this.cancel(request)
  }

  #onCancelled(): void {
    this.#cancels.headIs(this.#inFlight.head)
    this.#pump()
    if (this.#lost === null) this.#host.onReady()
  }

  /** Since when the server runs what `owner` has sent, on the clock of `now()`; now, where it does not do so yet. */
  speaksSince(owner: RequestOwner): number {
    return this.#speaker === owner ? this.#speakerSince : now()
  }

  /** Asks for that where `request` is all that is in flight: whatever comes next waits until it is certain what was hit. */
  cancelAlone(request: Request): void {
    if (this.#inFlight.size === 1 && this.#inFlight.head === request) this.cancel(request)
  }

  /** The server is answering a request of `owner`'s. */
  answers(owner: RequestOwner): boolean {
    return this.#inFlight.head?.owner === owner
  }

  /**
   * Gives the connection up with all that is in flight. The server is asked to cancel what it runs, so that it does not
   * go on with it, locks and all; unless that is a COMMIT, whose owner may still want it. Resolves when it was asked.
   */
  async abandon(cause: Error): Promise<void> {
    const { head } = this.#inFlight
    this.lose(cause)
    if (head !== null && !head.endsTransaction)
      await this.#opened.cancel({ timeoutMillis: CLOSE_MILLIS }).catch(() => {})
  }

  /** Says goodbye and waits until the socket is closed. Nothing may be pending. */
  async close(): Promise<void> {
    if (this.#lost !== null) return this.#gone
    this.#lost = new Error('the connection was closed')
    this.ref()
    const impatience = timerFor(CLOSE_MILLIS, () => this.client.connection.stream.destroy())
    try {
      void this.client.end().catch(() => {})
      await this.#gone
    } finally {
      impatience?.stop()
    }
  }

  /** Gives the connection up at once. Idempotent. */
  lose(cause: Error): void {
    if (this.#lost !== null) return
    this.#lost = cause
    const sent = takeAll(this.#inFlight)
    const gathered = sent.splice(Math.max(0, sent.length - this.#gathered))
    for (const request of gathered) request.sent = false
    const unanswered = { sent, unsent: [...gathered, ...takeAll(this.#unsent)] }
    this.#cancels.abandon()
    this.#host.deadlines.remove(this.#headLimit)
    this.client.connection.stream.destroy()
    this.#host.onLost(this, cause, unanswered)
  }

  /** Keeps the process alive. */
  ref(): void {
    if (this.#kept) return
    this.#kept = true
    refStream(this.client, 'ref')
  }

  /** Lets the process end. */
  unref(): void {
    if (!this.#kept) return
    this.#kept = false
    refStream(this.client, 'unref')
  }

  onBegun(request: Request): void {
    if (request.pipelining !== 'tail' || request.guard !== null || !this.#options.pipeline) return
    request.pipelining = 'shared'
    this.#gates--
    this.#pump()
  }

  onFatal(error: Error): void {
    this.lose(error)
  }

  #maySend(pipelining: Request['pipelining'], unrepeatable: boolean): boolean {
    if (this.#lost !== null || this.#cancels.pending) return false
    if (this.#inFlight.size === 0) return true
    if (this.#gates > 0 || pipelining === 'exclusive') return false
    if (unrepeatable && this.#seals > 0) return false
    return (
      this.#options.pipeline && this.#inFlight.size < MAX_IN_FLIGHT && this.#unwritten < MAX_UNWRITTEN_BYTES
    )
  }

  /** How many bytes wait for the network. */
  get #unwritten(): number {
    return this.writer.bytes + this.client.connection.stream.writableLength
  }

  #pump(): void {
    for (let request = this.#unsent.head; request !== null; request = this.#unsent.head) {
      if (!this.#maySend(request.pipelining, request.unrepeatable)) return
      const conflict = this.#nameConflict(request)
      const verdict = conflict ?? request.owner.admit(request)
      if (verdict !== null && typeof verdict === 'object' && !(verdict instanceof Error)) {
        this.#send(verdict)
        continue
      }
      this.#unsent.remove(request)
      if (verdict === null) this.#send(request)
      else request.owner.onWithdrawn(request, verdict === 'skip' ? null : verdict)
    }
  }

  #nameConflict(request: Request): Error | null {
    if (request instanceof QueryRequest) return this.named.conflict([request.statement])
    return request instanceof BatchRequest ? this.named.conflict(request.statements) : null
  }

  #send(request: Request): void {
    if (request.guard !== null && request.pipelining === 'shared') request.pipelining = 'tail'
    this.#gather()
    this.#inFlight.push(request)
    if (this.#inFlight.size === 1) this.#watchHead()
    if (request.pipelining !== 'shared') this.#gates++
    if (request.endsTransaction) this.#seals++
    if (request.harmful) this.#harmful++
    try {
      request.send(this)
    } catch (error) {
      // Where pg did not take it, it counts among what has not left.
      if (!request.sent) this.#gathered++
      // Nothing of what a user gives can fail here: it was converted and checked when it was asked for.
      this.lose(new Error('a request could not be written', { cause: error }))
    }
  }

  /** Another request is the one that the server answers: its time begins. */
  #watchHead(): void {
    const { deadlines } = this.#host
    deadlines.remove(this.#headLimit)
    const { head } = this.#inFlight
    const owner = head?.owner ?? null
    if (owner !== this.#speaker) {
      this.#speaker = owner
      this.#speakerSince = now()
    }
    const { limitMillis = 0 } = head ?? {}
    if (limitMillis > 0) deadlines.add(this.#headLimit, limitMillis)
  }

  #onHeadLimit(): void {
    const { text, limitMillis } = this.#inFlight.head!
    this.lose(new Error(`the server did not answer ${text} within ${limitMillis}ms`))
  }

  /** Gathers what is sent while something is in flight into one write; the first of a pause goes at once. */
  #gather(): void {
    if (this.#inFlight.size === 0 || this.#gathering) return
    this.#gathering = true
    clock.nextTick(this.#flushGathered)
  }

  onWritten(): void {
    this.#gathered++
    if (!this.#gathering) this.#flush()
  }

  readonly #flushGathered = (): void => {
    this.#gathering = false
    this.#flush()
  }

  #flush(): void {
    const messages = this.writer.take()
    this.#gathered = 0
    if (this.#lost === null) writeAll(this.client.connection.stream, messages)
  }

  /** A setting has another value, by whatever way it got it. */
  #onReport({ parameterName, parameterValue }: ParameterReport): void {
    if (!WITHOUT_MEANING.has(parameterName)) this.prepared.suspend()
    if (parameterName !== 'client_encoding') return
    this.#encoding = parameterValue
    if (parameterValue !== UTF8) this.#host.onGarbled(this)
  }

  /** What the server takes texts for, and sends them as. pg writes and reads UTF-8 and nothing else. */
  get garbled(): boolean {
    return this.#encoding !== UTF8
  }

  #onRowTooLong(bytes: number): void {
    const error = new Error(
      `a row of ${bytes} bytes is longer than the longest string of this JavaScript engine (${LONGEST_ROW}); fetch it in parts, with substr() for example`,
    )
    if (this.#inFlight.head?.refuseRow(error) !== true) this.lose(error)
  }

  #onReadyForQuery(letter: string): void {
    if (this.#lost !== null) return
    const request = this.#inFlight.head
    const status = READY_STATUS[letter]
    if (request === null || status === undefined || (request.error === null && !request.complete)) {
      this.lose(new Error('protocol violation: the server sent an unexpected ReadyForQuery'))
      return
    }
    this.#inFlight.remove(request)
    this.#watchHead()
    this.#status = status
    if (request.pipelining !== 'shared') this.#gates--
    if (request.endsTransaction) this.#seals--
    if (request.harmful) this.#harmful--
    // What it had changed for its transaction is over, unless another that is under way has changed something, too.
    if (status === 'idle' && this.#harmful === 0) this.prepared.resume()
    request.settle()
    if (request.owner !== SILENT_OWNER) this.#answers++
    if (this.#cancels.pending) {
      this.#cancels.answered(request)
      this.#cancels.headIs(this.#inFlight.head)
    }
    if (request.mayUnlisten) this.#host.onListensDoubted()
    if (request.error !== null && memberOf(request.error, 'code') === READ_ONLY)
      this.#host.onWriteRefused(this)
    request.owner.onAnswered(request, status)
    this.#pump()
    this.#host.onReady()
  }
}

function takeAll(list: LinkedList<Request>): Request[] {
  const requests = [...list]
  for (const request of requests) list.remove(request)
  return requests
}

/** How long a goodbye may take before the socket is destroyed. */
const CLOSE_MILLIS = 1_000

/** A stream of the user's own may know neither. */
function refStream(client: DriverClient, verb: 'ref' | 'unref'): void {
  const stream = client.connection.stream as { ref?: () => unknown; unref?: () => unknown }
  stream[verb]?.()
}
