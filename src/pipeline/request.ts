/**
 * A request: what goes to the server in one piece, up to and including its Sync, and is answered by exactly one
 * ReadyForQuery. Requests are handed to `client.query()` of a pipelining pg client, which calls their `handle…`
 * methods as messages arrive; the backend settles each on its ReadyForQuery, not on ErrorResponse, because
 * only then the transaction status is known.
 */
import type { DatabaseError, FieldDef } from 'pg'
import { withCallersFrames } from '../util/callers-frames.js'
import { enqueue } from '../pg/enqueue.js'
import { isFatal } from '../pg/severity.js'
import { pgQueryPrototype } from '../pg/driver.js'
import type { DriverClient, DriverConnection, QueuedQuery } from '../pg/driver.js'
import type { NamedStatements } from './named-statements.js'
import type { PreparedStatements } from './prepared-statements.js'
import { NO_VALUES } from './wire.js'
import type { MessageWriter } from './wire.js'
import type { Failure } from '../util/failure.js'
import type { Linked } from '../util/linked-list.js'

/** The transaction status that ReadyForQuery carries, in libpq's words. */
export type ReadyStatus = 'idle' | 'intrans' | 'inerror'

/** Whoever issued a request. */
export interface RequestOwner {
  /**
   * Asked when the request is next to be sent: what has to be sent before it (its BEGIN, where that needs an answer
   * first); `'skip'` when there is nothing to do any more; an error that refuses it; null to send it.
   */
  admit(request: Request): Request | 'skip' | Error | null
  /** ReadyForQuery has come: `request.error` is null or what the server said. */
  onAnswered(request: Request, status: ReadyStatus): void
  /** It was not sent: `error` is what `admit` refused it with, or null for `'skip'`. */
  onWithdrawn(request: Request, error: Error | null): void
  /** The connection died before the request was answered; `request.sent` tells whether it had been sent. */
  onLost(request: Request, cause: Error): void
}

/** What a request needs of the backend that sends it. */
export interface Sender {
  readonly client: DriverClient
  readonly writer: MessageWriter
  readonly prepared: PreparedStatements
  readonly named: NamedStatements
  /** The request's messages are in `writer`: they are to be sent now, or with others. */
  onWritten(): void
  /** BEGIN, at the head of the request, has been answered: what waits behind it may go. */
  onBegun(request: Request): void
  /** The server has said its last word. */
  onFatal(error: Error): void
}

/** What watches a request's deadline and its signal. */
export interface RequestGuard {
  /** A limit was reached: its caller has been told, or will be in a moment. */
  readonly reached: boolean
  /** The request was answered. Gives what its caller gets in place of `error`; null where all went well. */
  settle(error: Error | null): Failure | null
  /** The request will not be answered. Gives the failure for the limit that was reached before; else null. */
  abandon(): Failure | null
}

/** Wants to know how a statement went. */
export interface OutcomeWatch {
  /** The same outcome. */
  follow<T>(answered: Promise<T>): Promise<T>
}

/** How a request may pipelining with others. */
export type Pipelining =
  /** May be sent behind others that are not answered yet, and others behind it. */
  | 'shared'
  /** May be sent behind others; nothing goes behind it until it is answered. */
  | 'tail'
  /** Nothing else is in flight while it is. */
  | 'exclusive'

export abstract class Request implements Linked<Request> {
  previous: Request | null = null
  next: Request | null = null
  pipelining: Pipelining = 'shared'
  /** Never sent behind an unanswered COMMIT: it could not be sent again if the connection died there. */
  unrepeatable = false
  /** COMMIT, ROLLBACK or a reset: what is unrepeatable waits for its answer. */
  endsTransaction = false
  /** Sent, it may be committed before its answer arrives. Its owner sets it when it admits the request. */
  mayCommit = false
  /**
   * How long the server may take to answer it once everything before it is answered, in milliseconds; then the
   * connection is given up. For what nobody cancels: the library's own commands. 0 = for ever.
   */
  limitMillis = 0
  /** Watches its deadline and its signal; null where it has neither. */
  guard: RequestGuard | null = null
  /** What the server said against it, first. */
  error: DatabaseError | Error | null = null
  /** Given to the server, at least in part. */
  sent = false
  /** Texts may mean something else behind it; it says so when it is sent. */
  readonly harmful: boolean = false
  /** It may have undone a LISTEN of the backend. */
  readonly mayUnlisten: boolean = false
  /** A command in it ended a transaction, as the server's tags say. */
  ended: 'nothing' | 'rolled back' | 'committed' = 'nothing'
  readonly owner: RequestOwner
  #resolve: ((value: never) => void) | null = null
  #reject: ((error: unknown) => void) | null = null
  #promise: Promise<unknown> | null = null

  constructor(owner: RequestOwner) {
    this.owner = owner
  }

  /** The text that messages quote. */
  abstract readonly text: string

  /** Writes the request's messages. Called each time that it is sent. */
  protected abstract encode(sender: Sender): void

  /** A command has completed with this tag. */
  protected abstract completed(tag: string): void

  /** The promise of whoever waits for it. To be asked for once, before the request is handed to a backend. */
  promise<T>(): Promise<T> {
    const promise = new Promise<T>((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.#promise = promise
    return promise
  }

  /** The same for a caller of the library's, to whom its failure says where that was. */
  callersPromise<T>(watched: OutcomeWatch | null = null): Promise<T> {
    const answered = this.promise<T>().catch(withCallersFrames)
    const promise = watched === null ? answered : watched.follow(answered)
    this.#promise = promise
    return promise
  }

  /** Somebody waits for it already: these settle what that one has. In place of `promise()`. */
  settleWith(resolve: (value: never) => void, reject: (error: unknown) => void): void {
    this.#resolve = resolve
    this.#reject = reject
  }

  resolve(value: unknown): void {
    this.#resolve?.(value as never)
  }

  reject(error: unknown): void {
    this.#reject?.(error)
  }

  /** Its failure is reported in another way: a caller who did not wait for it must not crash the process. */
  markHandled(): void {
    this.#promise?.catch(() => {})
  }

  /** What its caller gets when it went well. */
  get outcome(): unknown {
    return undefined
  }

  /** Every command in it has completed. Without an error ReadyForQuery must not come before. */
  abstract readonly complete: boolean

  /** How many commands it holds is not known beforehand. */
  readonly openEnded: boolean = false

  /** What a type parser of the user's threw while the rows came in. */
  get parseFailure(): Failure | null {
    return null
  }

  /** Answered: what its caller gets in place of a result; null where all went well. */
  failure(): Failure | null {
    const failure = this.guard === null ? boxed(this.error) : this.guard.settle(this.error)
    return failure ?? this.parseFailure
  }

  /** It will not be answered: its caller gets `error`, unless a limit of its own was reached before. */
  giveUp(error: unknown): void {
    const failure = this.guard?.abandon() ?? null
    this.reject(failure === null ? error : failure.reason)
  }

  /** The backend calls it once, on ReadyForQuery, before the owner is told. */
  settle(): void {}

  #sender: Sender | null = null

  protected get sender(): Sender | null {
    return this.#sender
  }

  /** Sends the request; the backend calls it when it may go. */
  send(sender: Sender): void {
    this.adopt(sender)
    this.hand(this)
  }

  /** Gives `query`, which stands for this request, to pg. Throws where pg has not taken that very object. */
  protected hand(query: QueuedQuery): void {
    const { client } = this.#sender!
    if (enqueue(client, query) && this.sent) return
    // Something else may have gone in its place.
    this.sent ||= !client._queryQueue.includes(query)
    throw new Error(
      'pg did not take a query as it was given: has something replaced more of pg.Client than query()?',
    )
  }

  /** Begins anew with `sender`. */
  protected adopt(sender: Sender): void {
    this.error = null
    this.ended = 'nothing'
    this.sent = false
    this.#sender = sender
  }

  // From here on: what pg calls.

  submit(): null {
    const sender = this.#sender!
    this.sent = true
    this.encode(sender)
    sender.onWritten()
    return null
  }

  handleError(error: Error): void {
    // pg also comes here, on a later tick, for what was in flight when the connection died; the backend has
    // settled that by then.
    this.error ??= error
    if (isFatal(error)) this.#sender?.onFatal(error)
  }

  /** A row of its was left out, because it is too long for this engine. False where that cannot be told. */
  refuseRow(_error: Error): boolean {
    return false
  }

  handleCommandComplete(message: { text: string }): void {
    if (this.complete && !this.openEnded)
      throw new Error('protocol violation: the server sent one answer too many')
    this.completed(message.text)
    this.note(message.text)
  }

  /** What a tag says beyond its own statement. */
  protected note(tag: string): void {
    if (tag === 'COMMIT' || tag === 'PREPARE TRANSACTION') this.ended = 'committed'
    else if (tag === 'ROLLBACK' && this.ended === 'nothing') this.ended = 'rolled back'
    else if (tag === 'DISCARD ALL' || tag.startsWith('DEALLOCATE')) this.#sender!.named.doubtAll()
  }

  handleRowDescription(_message: { fields: FieldDef[] }): void {}
  handleDataRow(_message: { fields: (string | null)[] }): void {}
  handleEmptyQuery(): void {}
  handlePortalSuspended(): void {}
  handleReadyForQuery(): void {}
  handleCopyData(): void {}

  handleCopyInResponse(connection: DriverConnection): void {
    connection.sendCopyFail('COPY FROM STDIN needs a stream: hand pg-copy-streams to query()')
  }
}

function boxed(error: Error | null): Failure | null {
  return error === null ? null : { reason: error }
}

/** BEGIN with a Flush, so that it is answered at once and not with the slow statement behind it. */
export function writeBegin(writer: MessageWriter, text: string): void {
  writeControl(writer, text)
  writer.flush()
}

/** One command without values, by the unnamed statement. */
export function writeControl(writer: MessageWriter, text: string): void {
  writer.parse('', text).bind('', NO_VALUES, false).execute()
}

/** The Closes that are due. */
export function writeCloses({ writer, prepared }: Sender): void {
  for (const name of prepared.takeClosing()) writer.close(name)
}

// pg refuses what is not its own Query in a pipeline; calling its constructor would cost an EventEmitter and a
// dozen fields for each statement.
Object.setPrototypeOf(Request.prototype, pgQueryPrototype)
