/**
 * A request: what goes to the server in one piece, up to and including its Sync, and is answered by exactly one
 * ReadyForQuery. Requests lie in the queue of a pipelining pg client, which calls their `handle…` methods as messages
 * arrive. The pipeline settles each on its ReadyForQuery and not on ErrorResponse, because only then is the transaction
 * status known.
 */
import { enqueue } from '../pg/patches.js'
import { PgQuery } from '../pg/pg-query.js'
import { isFatal } from '../pg/severity.js'
import { PLAIN_FACTS } from '../sql/classify.js'
import { reasonBehind } from '../util/abort-signals.js'
import { withCallersFrames } from '../util/callers-frames.js'
import { SEND, type RequestOwner, type Sent } from './request-owner.js'
import type { DatabaseError, FieldDef } from 'pg'
import type { OutcomeWatch } from '../api/ports.js'
import type { QueuedQuery } from '../pg/driver.js'
import type { TextFacts } from '../sql/classify.js'
import type { Failure } from '../util/failure.js'
import type { Linked } from '../util/linked-list.js'
import type { Pipeline as Sender } from './pipeline.js'
import type { RowCollector } from './row-collector.js'
import type { StatementGuard as RequestGuard } from './statement-guard.js'

export type { RequestGuard, Sender }

/** How a request goes with others. */
export type Pipelining =
  /** May be sent behind others that are not answered yet, and others behind it. */
  | 'shared'
  /** The same, and behind what may have to be cancelled as well: hit in its place, it is sent again. */
  | 'read'
  /** May be sent behind others; nothing goes behind it until it is answered. */
  | 'tail'
  /** Nothing else is in flight while it is. */
  | 'exclusive'

/** Reads alone follow what may have to be cancelled: they may be sent again, where they are hit in its place. */
export type Followers = 'all' | 'reads' | 'none'

/** What is known of a request when it is made. */
export interface RequestTraits {
  readonly pipelining: Pipelining
  /**
   * It can be sent again if the connection dies behind an unanswered COMMIT; what cannot waits for that one's answer.
   */
  readonly repeatable: boolean
  /** It is a COMMIT, a ROLLBACK or a reset. */
  readonly endsTransaction: boolean
  /** A COMMIT follows it at once, and others may follow it as they follow that. */
  readonly precedesCommit: boolean
  /**
   * How long the server may take to answer it once everything before it is answered, in milliseconds; then the
   * connection is given up. For the library's own commands, which nobody cancels. 0 = for ever.
   */
  readonly limitMillis: number
  readonly facts: TextFacts
  /** Texts may mean something else behind it. */
  readonly harmful: boolean
  /** It may have undone a LISTEN of the session. */
  readonly mayUnlisten: boolean
}

/** Those of a plain statement. Others are copies of these with changes: objects of one shape are fast to read. */
export const TRAITS: RequestTraits = statementTraits('shared', true, PLAIN_FACTS, {
  harmless: true,
  mayUnlisten: false,
})

/** Those of statements. Written out, because a copy of `TRAITS` costs more and there is one for each request. */
export function statementTraits(
  pipelining: Pipelining,
  repeatable: boolean,
  facts: TextFacts,
  { harmless, mayUnlisten }: { readonly harmless: boolean; readonly mayUnlisten: boolean },
): RequestTraits {
  return {
    pipelining,
    repeatable,
    endsTransaction: false,
    precedesCommit: false,
    limitMillis: 0,
    facts,
    harmful: !harmless,
    mayUnlisten,
  }
}

/** Waits for a request. */
export interface Caller {
  /** What it waits with; null where the request is not to know. */
  promise: Promise<unknown> | null
  succeed(value: unknown): void
  fail(error: unknown): void
}

export abstract class Request extends PgQuery implements Linked<Request> {
  previous: Request | null = null
  next: Request | null = null
  readonly owner: RequestOwner
  readonly traits: RequestTraits
  /** Watches its limits; null where it has none. Set once, before it is handed to a pipeline. */
  guard: RequestGuard | null = null

  // The pipeline's own.
  /** Given to the server, at least in part. */
  sent = false
  /** What may go behind it until it is answered. */
  followers: Followers = 'all'
  /** What its owner decided when it was sent. */
  admission: Sent = SEND

  // What the server has said.
  /** Its first error. */
  error: DatabaseError | Error | null = null
  /** A command in it ended a transaction, as the server's tags say. */
  ended: 'nothing' | 'rolled back' | 'committed' = 'nothing'

  protected sender: Sender | null = null
  #caller: Caller | null = null

  constructor(owner: RequestOwner, traits: RequestTraits) {
    super()
    this.owner = owner
    this.traits = traits
  }

  /** The text that messages quote. */
  abstract readonly text: string

  /** Every command in it has completed. Without an error ReadyForQuery must not come before. */
  abstract readonly complete: boolean

  /** Writes the request's messages. Called each time that it is sent. */
  protected abstract encode(sender: Sender): void

  /** A command has completed with this tag; null where it was empty. */
  protected abstract completed(tag: string | null): void

  /** Collects the rows of the command that the server runs. */
  protected get rows(): RowCollector | null | undefined {
    return null
  }

  /** What its caller gets when it went well. */
  get outcome(): unknown {
    return undefined
  }

  /** The server knows nothing of it but its BEGIN, which is unanswered. */
  get beginPending(): boolean {
    return false
  }

  /** The BEGIN before it, or that it is, failed. */
  get failedToBegin(): boolean {
    return this.error !== null && this.beginPending
  }

  /** It was sent under a prepared name of ours that the server had lost or could not use any more. */
  get staleName(): boolean {
    return false
  }

  /** What a type parser of the user's threw while the rows came in. */
  get parseFailure(): Failure | null {
    return null
  }

  // ---- its caller

  /** The promise of its caller. To be asked for once, before the request is handed to a pipeline. */
  promise<T>(): Promise<T> {
    const promise = new Promise<T>((succeed, fail) => {
      this.#caller = { promise: null, succeed: succeed as (value: unknown) => void, fail }
    })
    this.#caller!.promise = promise
    return promise
  }

  /** The same for a caller of the library's, to whom its failure says where that was. */
  callersPromise<T>(watch: OutcomeWatch | null): Promise<T> {
    const answered = this.promise<T>().catch(withCallersFrames)
    return (this.#caller!.promise = watch === null ? answered : watch.follow(answered))
  }

  /** In place of `promise()`, where somebody waits already. */
  settleWith(caller: Caller): void {
    this.#caller = caller
  }

  resolve(value: unknown): void {
    this.#caller?.succeed(value)
  }

  reject(error: unknown): void {
    this.#caller?.fail(error)
  }

  /** Nobody wants it any more, for the reason that `error` stands for. */
  revoke(error: Error): void {
    this.reject(reasonBehind(error))
  }

  /** Its failure is reported in another way: a caller who did not wait for it must not crash the process. */
  markHandled(): void {
    this.#caller?.promise?.catch(() => {})
  }

  /** Answered: what its caller gets in place of a result; null where all went well. */
  failure(): Failure | null {
    const { guard, error } = this
    const unguarded = error === null ? null : { reason: error }
    return (guard === null ? unguarded : guard.settle(error)) ?? this.parseFailure
  }

  /** It will not be answered: its caller gets `error`, unless a limit of its own was reached before. */
  giveUp(error: unknown): void {
    const failure = this.guard?.abandon() ?? null
    this.reject(failure === null ? error : failure.reason)
  }

  // ---- the pipeline

  /** Sends it. Throws where pg has not taken that very object. */
  send(sender: Sender): void {
    this.error = null
    this.ended = 'nothing'
    this.sent = false
    this.sender = sender
    const query = this.queued(sender)
    if (enqueue(sender.client, query) && this.sent) return
    // Something else may have gone in its place.
    this.sent ||= !sender.client._queryQueue.includes(query)
    throw new Error(
      'pg did not take a query as it was given: has something replaced more of pg.Client than query()?',
    )
  }

  /** What stands for it in pg's queue. */
  protected queued(_sender: Sender): QueuedQuery {
    return this
  }

  /** Has the server cancel it, if it was sent. */
  cancel(): void {
    this.sender?.cancel(this)
  }

  /** The pipeline calls it once, on ReadyForQuery, before the owner is told. */
  settle(): void {}

  /** A row of it was left out, because it is too long for this engine. False where that cannot be told. */
  refuseRow(error: Error): boolean {
    return this.rows?.refuseRow(error) ?? false
  }

  // ---- what pg calls

  override submit(): null {
    const sender = this.sender!
    this.sent = true
    this.encode(sender)
    sender.onWritten()
    return null
  }

  override handleError(error: Error): void {
    // pg also comes here, on a later tick, for what was in flight when the connection died; the pipeline has settled
    // that by then.
    this.error ??= error
    if (isFatal(error)) this.sender?.onFatal(error)
  }

  override handleRowDescription({ fields }: { fields: FieldDef[] }): void {
    this.rows?.describe(fields)
  }

  override handleDataRow({ fields }: { fields: (string | null)[] }): void {
    this.rows?.add(fields)
  }

  override handleCommandComplete({ text }: { text: string }): void {
    if (this.complete) throw new Error('protocol violation: the server sent one answer too many')
    this.completed(text)
    this.note(text)
  }

  override handleEmptyQuery(): void {
    this.completed(null)
  }

  /** What a tag says beyond its own statement. */
  protected note(tag: string): void {
    if (tag === 'COMMIT' || tag === 'PREPARE TRANSACTION') this.ended = 'committed'
    else if (tag === 'ROLLBACK' && this.ended === 'nothing') this.ended = 'rolled back'
    else if (tag === 'DISCARD ALL' || tag.startsWith('DEALLOCATE')) this.sender!.named.doubtAll()
  }
}
