/**
 * One server connection from its opening to its loss: what is sent, in which order, and what has been answered.
 *
 * States: `live` (the constructor; units are sent and answered) → `closing` (`close()`; Terminate has been
 * sent) → `lost` (the socket is gone, or the protocol was broken). A lost session never comes back; whoever was
 * still unanswered is handed to the host, which decides what is sent again on the next one.
 *
 * Invariants: `#inFlight` holds exactly the units that pg has been given and ReadyForQuery has not answered, in
 * their order; `#unsent` is only ever filled by the one holder of the turn, in the order of its calls; while
 * `#gates` is above zero, or a cancel request is under way, nothing is sent.
 */
import { namedConflict } from '../driver/statement-part.js'
import { PreparedStatements } from '../driver/prepared-statements.js'
import { QueryUnit } from '../driver/query-unit.js'
import { MessageWriter } from '../driver/wire.js'
import { deadline } from '../util/deadlines.js'
import { LinkedList } from '../util/linked-list.js'
import { CancelRequest } from './cancel-request.js'
import type { OpenedClient } from '../driver/open/index.js'
import type { DriverClient } from '../driver/pg-driver.js'
import type { DroppingTag, ReadyStatus, Sender, Unit, UnitOwner } from '../driver/unit.js'
import type { Deadlines } from '../util/deadlines.js'

/** What was unanswered when a session was lost. */
export interface Unanswered {
  readonly sent: readonly Unit[]
  readonly unsent: readonly Unit[]
}

/** Whoever owns a session. */
export interface SessionHost {
  readonly deadlines: Deadlines
  /** The user's own DISCARD ALL has undone every LISTEN. */
  onListensDropped(): void
  /** Something was answered: there may be room for more. */
  onReady(): void
  /** The session is over; its units have been told nothing yet. */
  onLost(session: Session, cause: Error, unanswered: Unanswered): void
}

export interface SessionOptions {
  readonly maxPrepared: number
  /** False where a proxy cannot take pipelined statements: then each waits for the one before. */
  readonly pipeline: boolean
  /** How long a cancelled statement may go on before the connection is given up. */
  readonly cancelPatienceMillis: number
}

/** How many units may be in flight: enough to fill any round trip, few enough for pg's arrays. */
const MAX_IN_FLIGHT = 256

const READY_STATUS: Readonly<Record<string, ReadyStatus>> = { I: 'idle', T: 'intrans', E: 'inerror' }

export class Session implements Sender {
  readonly client: DriverClient
  readonly writer = new MessageWriter()
  readonly prepared: PreparedStatements
  /** `performance.now()` when it was opened. */
  readonly openedAt = performance.now()
  readonly #opened: OpenedClient
  readonly #options: SessionOptions
  readonly #host: SessionHost
  readonly #unsent = new LinkedList<Unit>()
  readonly #inFlight = new LinkedList<Unit>()
  #status: ReadyStatus = 'idle'
  /** Units in flight behind which nothing may be sent. */
  #gates = 0
  /** COMMITs, ROLLBACKs and resets in flight. */
  #seals = 0
  #cancel: CancelRequest | null = null
  /** Watches the unit that the server is answering, where that one has a limit. */
  readonly #headLimit = deadline(() => this.#onHeadLimit())
  /** What is written stays in `writer` until the next tick, to be sent together. */
  #gathering = false
  /** How many units, the last in flight, are still there. */
  #gathered = 0
  #lost: Error | null = null
  #gone: Promise<void>
  #kept = true

  constructor(opened: OpenedClient, options: SessionOptions, host: SessionHost) {
    this.#opened = opened
    this.client = opened.client as unknown as DriverClient
    this.prepared = new PreparedStatements(options.maxPrepared)
    this.#options = options
    this.#host = host
    const { connection } = this.client
    this.client.on('error', (error: Error) => this.lose(error))
    connection.on('readyForQuery', (message: { status: string }) => this.#onReadyForQuery(message.status))
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
  hasRoomFor(travel: Unit['travel']): boolean {
    return this.#unsent.size === 0 && this.#maySend(travel, true)
  }

  /** Sends `unit` as soon as it may go. The session must be live. */
  submit(unit: Unit): void {
    if (this.#lost !== null) throw new Error('BUG: a unit was given to a session that is lost')
    unit.sent = false
    this.#unsent.push(unit)
    if (this.#unsent.size === 1) this.#pump()
  }

  /** Takes back a unit that has not been sent; false when it is too late. */
  withdraw(unit: Unit): boolean {
    if (unit.sent || this.#lost !== null) return false
    this.#unsent.remove(unit)
    return true
  }

  /** Takes back all that has not been sent. */
  withdrawAll(): Unit[] {
    return takeAll(this.#unsent)
  }

  /** What `owner` has asked for and is unanswered, in order. */
  unitsOf(owner: UnitOwner): Unit[] {
    return [...this.#inFlight, ...this.#unsent].filter((unit) => unit.owner === owner)
  }

  /** Asks the server to cancel `unit`, which is in flight, as soon as that can hit nobody else. */
  cancel(unit: Unit): void {
    if (this.#lost !== null || this.#cancel !== null) return
    this.#cancel = new CancelRequest(unit, this.#opened, {
      patienceMillis: this.#options.cancelPatienceMillis,
      onOver: () => {
        this.#cancel = null
        this.#pump()
        if (this.#lost === null) this.#host.onReady()
      },
      onIgnored: (reason) => this.lose(reason),
    })
    this.#cancel.headIs(this.#inFlight.head)
  }

  /** Asks for that where `unit` is all that is in flight: whatever comes next waits until it is certain what was hit. */
  cancelAlone(unit: Unit): void {
    if (this.#inFlight.size === 1 && this.#inFlight.head === unit) this.cancel(unit)
  }

  /** The server is answering a unit of `owner`'s. */
  answers(owner: UnitOwner): boolean {
    return this.#inFlight.head?.owner === owner
  }

  /**
   * Gives the connection up because of what `owner` has in flight: the server is asked to cancel that first, where
   * it is `owner`'s statement that runs.
   */
  async abandon(owner: UnitOwner, cause: Error): Promise<void> {
    const running = this.#inFlight.head?.owner === owner && this.#cancel === null
    if (running) await this.#opened.cancel({ timeoutMillis: CLOSE_MILLIS }).catch(() => {})
    this.lose(cause)
  }

  /** Says goodbye and waits until the socket is closed. Nothing may be pending. */
  async close(): Promise<void> {
    if (this.#lost !== null) return this.#gone
    this.#lost = new Error('the connection was closed')
    this.ref()
    const impatience = setTimeout(() => this.client.connection.stream.destroy(), CLOSE_MILLIS)
    try {
      void this.client.end().catch(() => {})
      await this.#gone
    } finally {
      clearTimeout(impatience)
    }
  }

  /** Gives the connection up at once. Idempotent. */
  lose(cause: Error): void {
    if (this.#lost !== null) return
    this.#lost = cause
    const sent = takeAll(this.#inFlight)
    const gathered = sent.splice(Math.max(0, sent.length - this.#gathered))
    for (const unit of gathered) unit.sent = false
    const unanswered = { sent, unsent: [...gathered, ...takeAll(this.#unsent)] }
    this.#cancel?.abandon()
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

  onBegun(unit: Unit): void {
    if (unit.travel !== 'last' || unit.guard !== null || !this.#options.pipeline) return
    unit.travel = 'together'
    this.#gates--
    this.#pump()
  }

  onDropped(command: DroppingTag): void {
    if (command !== 'UNLISTEN') {
      this.prepared.forgetAll()
      this.client.connection.parsedStatements = {}
    }
    if (command !== 'DEALLOCATE ALL') this.#host.onListensDropped()
  }

  onSchemaChanged(): void {
    this.prepared.retireAll()
  }

  onFatal(error: Error): void {
    this.lose(error)
  }

  #maySend(travel: Unit['travel'], unrepeatable: boolean): boolean {
    if (this.#lost !== null || this.#cancel !== null) return false
    if (this.#inFlight.size === 0) return true
    if (this.#gates > 0 || travel === 'alone') return false
    if (unrepeatable && this.#seals > 0) return false
    return this.#options.pipeline && this.#inFlight.size < MAX_IN_FLIGHT
  }

  #pump(): void {
    for (let unit = this.#unsent.head; unit !== null; unit = this.#unsent.head) {
      if (!this.#maySend(unit.travel, unit.unrepeatable)) return
      const conflict = unit instanceof QueryUnit ? namedConflict(unit.request, this) : null
      const verdict = conflict ?? unit.owner.admit(unit)
      if (verdict !== null && typeof verdict === 'object' && !(verdict instanceof Error)) {
        this.#send(verdict)
        continue
      }
      this.#unsent.remove(unit)
      if (verdict === null) this.#send(unit)
      else unit.owner.onWithdrawn(unit, verdict === 'skip' ? null : verdict)
    }
  }

  #send(unit: Unit): void {
    if (unit.guard !== null && unit.travel === 'together') unit.travel = 'last'
    this.#gather()
    this.#inFlight.push(unit)
    if (this.#inFlight.size === 1) this.#watchHead()
    if (unit.travel !== 'together') this.#gates++
    if (unit.seal) this.#seals++
    try {
      unit.send(this)
    } catch (error) {
      // Where pg did not take it, it counts among what has not left.
      if (!unit.sent) this.#gathered++
      // Nothing of what a user gives can fail here: it was converted and checked when it was asked for.
      this.lose(new Error('a unit could not be written', { cause: error }))
    }
  }

  /** Another unit is the one that the server answers: its time begins. */
  #watchHead(): void {
    const { deadlines } = this.#host
    deadlines.remove(this.#headLimit)
    const { limitMillis = 0 } = this.#inFlight.head ?? {}
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
    process.nextTick(this.#flushGathered)
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
    if (messages.length > 0 && this.#lost === null) this.client.connection.stream.write(messages)
  }

  #onReadyForQuery(letter: string): void {
    if (this.#lost !== null) return
    const unit = this.#inFlight.head
    const status = READY_STATUS[letter]
    if (unit === null || status === undefined || (unit.error === null && !unit.complete)) {
      this.lose(new Error('protocol violation: the server sent an unexpected ReadyForQuery'))
      return
    }
    this.#inFlight.remove(unit)
    this.#watchHead()
    this.#status = status
    if (unit.travel !== 'together') this.#gates--
    if (unit.seal) this.#seals--
    unit.settle()
    if (this.#cancel?.unit === unit) this.#cancel.answered()
    else this.#cancel?.headIs(this.#inFlight.head)
    unit.owner.onAnswered(unit, status)
    this.#pump()
    this.#host.onReady()
  }
}

function takeAll(list: LinkedList<Unit>): Unit[] {
  const units = [...list]
  for (const unit of units) list.remove(unit)
  return units
}

/** How long a goodbye may take before the socket is destroyed. */
const CLOSE_MILLIS = 1_000

/** A stream of the user's own may know neither. */
function refStream(client: DriverClient, verb: 'ref' | 'unref'): void {
  const stream = client.connection.stream as { ref?: () => unknown; unref?: () => unknown }
  stream[verb]?.()
}
