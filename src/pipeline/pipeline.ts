/**
 * What is sent over one server connection, in which order, and what has been answered.
 *
 * Invariants: `#inFlight` holds exactly the requests that pg was given and ReadyForQuery has not answered, in order.
 * `#unsent` is only ever filled by the one who may speak, in the order of its calls. While a barrier is in flight, or
 * something is to be cancelled, nothing is sent.
 */
import { memberOf } from '../util/thrown.js'
import { clock, now } from '../util/clock.js'
import { deadline, type Deadlines } from '../util/deadlines.js'
import { LinkedList } from '../util/linked-list.js'
import { Cancels } from './cancels.js'
import { followersOf, InFlight } from './in-flight.js'
import { NamedStatements } from './named-statements.js'
import { PreparedStatements, type PreparedLimits } from './prepared-statements.js'
import { StatementsRequest } from './query-request.js'
import { PipelineTrial } from './pipeline-trial.js'
import { SEND, type RequestOwner, type Sent } from './request-owner.js'
import { MessageWriter, writeAll } from './wire.js'
import type { ReadyStatus } from '../api/statement.js'
import type { OpenedClient } from '../connect/index.js'
import type { DriverClient } from '../pg/driver.js'
import type { Pipelining, Request } from './request.js'

/** What a pipeline tells the backend that it belongs to. */
export interface PipelineOwner {
  readonly deadlines: Deadlines
  /** ReadyForQuery has come for `request`, whose owner has not been told yet. */
  onAnswered(request: Request): void
  /** There may be room for more. */
  onReady(): void
  /** The connection is of no use any more. */
  onBroken(cause: Error): void
}

export interface PipelineOptions {
  readonly prepared: PreparedLimits
  /** False where a proxy cannot take pipelined statements: then each waits for the one before. */
  readonly pipeline: boolean
  /** How long a cancelled statement may go on before the connection is given up, in milliseconds. */
  readonly cancelPatienceMillis: number
}

/** What was unanswered when a connection was lost. */
export interface Unanswered {
  readonly sent: readonly Request[]
  readonly unsent: readonly Request[]
}

/** How many requests may be in flight: enough to fill any round trip, few enough for pg's arrays. */
const MAX_IN_FLIGHT = 256

/** Large values wait in the callers' hands and not in buffers; while that many bytes do, something is in flight. */
const MAX_UNWRITTEN_BYTES = 4 * 1024 * 1024

/** query_canceled */
const CANCELLED = '57014'

const READY_STATUS: Readonly<Record<string, ReadyStatus>> = { I: 'idle', T: 'intrans', E: 'inerror' }

export class Pipeline {
  readonly client: DriverClient
  readonly writer = new MessageWriter()
  readonly prepared: PreparedStatements
  readonly named: NamedStatements
  /** The status in the last ReadyForQuery. Meaningful for a holder when nothing of it is in flight. */
  status: ReadyStatus = 'idle'
  readonly #owner: PipelineOwner
  readonly #trial: PipelineTrial
  readonly #unsent = new LinkedList<Request>()
  readonly #inFlight = new InFlight()
  readonly #cancels: Cancels
  /** Watches the request that the server is answering, where that one has a limit. */
  readonly #headLimit = deadline(() => this.#onHeadLimit())
  #closed = false
  /** What is written stays in `writer` until the next tick, to be sent together. */
  #gathering = false
  /** How many requests, the last in flight, are still there. */
  #gathered = 0

  constructor(client: DriverClient, opened: OpenedClient, options: PipelineOptions, owner: PipelineOwner) {
    this.client = client
    this.prepared = new PreparedStatements(options.prepared)
    this.named = new NamedStatements(client.connection)
    this.#trial = new PipelineTrial(options.pipeline, owner.deadlines, (probe) => this.#send(probe, SEND))
    this.#owner = owner
    this.#cancels = new Cancels(opened, {
      patienceMillis: options.cancelPatienceMillis,
      onOver: () => this.#onCancelled(),
      onIgnored: (reason) => owner.onBroken(reason),
    })
    client.connection.on('readyForQuery', ({ status }: { status: string }) => this.#onReadyForQuery(status))
  }

  /** How many requests are sent and not answered, or not even sent. */
  get pending(): number {
    return this.#inFlight.size + this.#unsent.size
  }

  get inFlight(): number {
    return this.#inFlight.size
  }

  /** The request that the server is answering. */
  get head(): Request | null {
    return this.#inFlight.head
  }

  /** Nothing but COMMITs, ROLLBACKs and resets is unanswered. */
  get onlyEndings(): boolean {
    return this.#unsent.size === 0 && this.#inFlight.size === this.#inFlight.endings
  }

  /** Whether a one-shot could be sent now, with nothing waiting before it. */
  hasRoomFor(pipelining: Pipelining): boolean {
    return this.#unsent.size === 0 && this.#maySend(pipelining, false)
  }

  /** Sends `request` as soon as it may go. */
  submit(request: Request): void {
    if (this.#closed) throw new Error('BUG: a request was given to a connection that is lost')
    request.sent = false
    this.#unsent.push(request)
    if (this.#unsent.size === 1) this.#pump()
  }

  /** Takes back a request that has not been sent; false when it is too late. */
  withdraw(request: Request): boolean {
    if (request.sent || this.#closed) return false
    this.#unsent.remove(request)
    return true
  }

  /** Takes back all that has not been sent. */
  withdrawAll(): Request[] {
    return this.#unsent.takeAll()
  }

  /** What `owner` has asked for and is unanswered, in order. */
  requestsOf(owner: RequestOwner): Request[] {
    return [...this.#inFlight, ...this.#unsent].filter((request) => request.owner === owner)
  }

  /** Since when the server runs what `owner` has sent, on the clock of `now()`; now, where it does not do so yet. */
  speaksSince(owner: RequestOwner): number {
    return this.#inFlight.speaker === owner ? this.#inFlight.speaksSince : now()
  }

  /** Has the server cancel `request`, if that is in flight, as soon as it can hit nobody else. */
  cancel(request: Request): void {
    // It may be too late: another connection may be here by now.
    if ([...this.#inFlight].includes(request)) this.#cancels.ask(request, this.#inFlight.head)
  }

  /** The same for all that `owner` has in flight. */
  cancelAllOf(owner: RequestOwner): void {
    for (const request of this.#inFlight) if (request.owner === owner) this.cancel(request)
  }

  /** The same where `request` is all that is in flight: what comes next waits until it is certain what was hit. */
  cancelIfAlone(request: Request): void {
    if (this.#inFlight.size === 1 && this.#inFlight.head === request) this.cancel(request)
  }

  /** Nothing is sent any more. Gives what was unanswered, whose owners have been told nothing yet. */
  close(): Unanswered {
    this.#closed = true
    const sent = this.#inFlight.takeAll()
    const gathered = sent.splice(Math.max(0, sent.length - this.#gathered))
    for (const request of gathered) request.sent = false
    this.#cancels.abandon()
    this.#trial.stop()
    this.#owner.deadlines.remove(this.#headLimit)
    return { sent, unsent: [...gathered, ...this.#unsent.takeAll()] }
  }

  // ---- sending

  #maySend(pipelining: Pipelining, repeatable: boolean): boolean {
    if (this.#closed || this.#cancels.pending) return false
    if (this.#inFlight.size === 0) return true
    if (this.#inFlight.barriers > 0 || pipelining === 'exclusive') return false
    const mayBeSentAgain = this.#inFlight.fences > 0 || this.#inFlight.suspects > 0
    if (mayBeSentAgain && pipelining !== 'read') return false
    if (!repeatable && this.#inFlight.endings > 0) return false
    if (!this.#trial.allowed || this.#inFlight.size >= MAX_IN_FLIGHT) return false
    return this.writer.bytes + this.client.connection.stream.writableLength < MAX_UNWRITTEN_BYTES
  }

  #pump(): void {
    for (let request = this.#unsent.head; request !== null; request = this.#unsent.head) {
      if (!this.#maySend(request.traits.pipelining, request.traits.repeatable)) return
      const conflict = request instanceof StatementsRequest ? this.named.conflict(request.statements) : null
      const admission = conflict === null ? request.owner.admit(request) : null
      if (admission?.verdict === 'after') {
        this.#send(admission.first, SEND)
        continue
      }
      this.#unsent.remove(request)
      if (admission?.verdict === 'send') this.#send(request, admission)
      else request.owner.onWithdrawn(request, admission?.verdict === 'refuse' ? admission.error : conflict)
    }
  }

  #send(request: Request, admission: Sent): void {
    request.admission = admission
    request.followers = followersOf(request, admission)
    // What is sent while something is in flight is gathered into one write; the first after a pause goes at once.
    if (this.#inFlight.size > 0 && !this.#gathering) {
      this.#gathering = true
      clock.nextTick(this.#flush)
    }
    this.#inFlight.push(request)
    if (this.#inFlight.size === 1) this.#watchHead()
    else this.#trial.onSentBehind(request)
    try {
      request.send(this)
    } catch (error) {
      // Where pg did not take it, it counts among what has not left.
      if (!request.sent) this.#gathered++
      // Nothing of what a user gives can fail here: it was converted and checked when it was asked for.
      this.#owner.onBroken(new Error('a request could not be written', { cause: error }))
    }
  }

  /** BEGIN, at the head of the request, has been answered: what waits behind it may go. */
  onBegun(request: Request): void {
    // Only one request at a time may introduce a name that the server does not know yet.
    const { guard, traits } = request
    const isShared = traits.pipelining === 'shared' || traits.pipelining === 'read'
    if (!isShared || guard !== null || !this.#trial.allowed) return
    this.#inFlight.liftBarrier(request)
    this.#pump()
  }

  /** The server has said its last word. */
  onFatal(error: Error): void {
    this.#owner.onBroken(error)
  }

  /** A request's messages are in `writer`: they are to be sent now, or with others. */
  onWritten(): void {
    this.#gathered++
    if (!this.#gathering) this.#flush()
  }

  readonly #flush = (): void => {
    this.#gathering = false
    this.#gathered = 0
    const messages = this.writer.take()
    if (!this.#closed) writeAll(this.client.connection.stream, messages)
  }

  // ---- answers

  /** Another request is the one that the server answers: its time begins. */
  #watchHead(): void {
    const { deadlines } = this.#owner
    deadlines.remove(this.#headLimit)
    const limitMillis = this.#inFlight.watchSpeaker()?.traits.limitMillis ?? 0
    if (limitMillis > 0) deadlines.add(this.#headLimit, limitMillis)
  }

  #onHeadLimit(): void {
    const { text, traits } = this.#inFlight.head!
    this.#owner.onBroken(new Error(`the server did not answer ${text} within ${traits.limitMillis}ms`))
  }

  #onReadyForQuery(letter: string): void {
    if (this.#closed) return
    const request = this.#inFlight.head
    const status = READY_STATUS[letter]
    if (request === null || status === undefined || (request.error === null && !request.complete)) {
      return this.#owner.onBroken(this.#trial.violation())
    }
    const wasHit = this.#wasHit(request)
    this.#inFlight.remove(request)
    this.#watchHead()
    this.status = status
    // What it had changed for its transaction is over, unless another that is under way has changed something, too.
    if (status === 'idle' && this.#inFlight.harmful === 0) this.prepared.resume()
    request.settle()
    this.#trial.onAnswered(request)
    if (this.#cancels.pending) {
      this.#cancels.answered(request)
      this.#cancels.headIs(this.#inFlight.head)
    }
    this.#owner.onAnswered(request)
    if (wasHit) this.#sendAgain(request)
    else request.owner.onAnswered(request, status)
    this.#pump()
    this.#owner.onReady()
  }

  /** By a CancelRequest that was another's: the one that it was meant for had been answered when it arrived. */
  #wasHit(request: Request): boolean {
    if (!this.#cancels.pending && this.#inFlight.suspects === 0) return false
    if (request.traits.pipelining !== 'read' || request.owner.isolated !== true) return false
    return memberOf(request.error, 'code') === CANCELLED && !this.#cancels.concerns(request)
  }

  /** Before all that has been asked for since; none of that was sent. */
  #sendAgain(request: Request): void {
    request.sent = false
    const others = this.#unsent.takeAll()
    for (const one of [request, ...others]) this.#unsent.push(one)
  }

  #onCancelled(): void {
    // What it did to them may still be on its way.
    this.#inFlight.suspectAll()
    this.#cancels.headIs(this.#inFlight.head)
    this.#pump()
    if (!this.#closed) this.#owner.onReady()
  }
}
