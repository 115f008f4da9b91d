/**
 * A submittable of pg's (pg-cursor, pg-query-stream, pg-copy-streams, pg.Query), which speaks the protocol for
 * itself. It travels alone, and pg's pipelining is switched off while it does, because pg refuses it there.
 */
import { clock } from '../util/clock.js'
import { Request, statementTraits } from './request.js'
import { writeAll } from './wire.js'
import type { DriverSubmittable } from '../api/ports.js'
import type { DriverConnection, QueuedQuery } from '../pg/driver.js'
import type { ClassifiedTexts } from '../sql/classify.js'
import type { RequestOwner } from './request-owner.js'
import type { Sender } from './request.js'

/** What a submittable sends; null where that cannot be seen. */
export function statementOf(
  submittable: DriverSubmittable,
): { readonly text: string; readonly values: readonly unknown[] } | null {
  const { cursor = submittable } = submittable
  const text = submittable.text ?? cursor.text
  if (typeof text !== 'string') return null
  return { text, values: Array.isArray(cursor.values) ? cursor.values : [] }
}

export class SubmittableRequest extends Request {
  readonly submittable: DriverSubmittable
  readonly text: string
  /** It has no statement run. */
  readonly runsNothing: boolean
  // It judges for itself what it is told.
  readonly complete = true
  /** Resolves once it is over, however it ended, with the error if there was one. */
  readonly over: Promise<Error | null>
  #end!: (error: Error | null) => void
  #restore: (() => void) | null = null
  /** Null once it was told that it is over: it is told nothing more. */
  #tell: ((error: Error) => void) | null = (error) => void this.submittable.handleError(error, null as never)
  /** Told in place of what pg says: the server's last word is the cause of a loss. */
  #instead: Error | null = null

  constructor(
    owner: RequestOwner,
    submittable: DriverSubmittable,
    texts: ClassifiedTexts,
    repeatable: boolean,
  ) {
    // Read once: it is the user's object.
    const text = statementOf(submittable)?.text ?? '(a submittable)'
    const facts = texts.get(text)
    super(owner, statementTraits('exclusive', repeatable, facts, facts))
    this.submittable = submittable
    this.text = text
    this.runsNothing = submittable.runsNothing === true
    this.over = new Promise((resolve) => {
      this.#end = resolve
    })
  }

  protected override encode(): void {}
  protected override completed(): void {}

  /** The submittable itself; what that is told is overheard, since pg tells nobody else. */
  protected override queued(sender: Sender): QueuedQuery {
    const { submittable } = this
    const { submit, handleError, handleCommandComplete } = submittable
    submittable.submit = (connection: DriverConnection) => {
      this.sent = true
      const refusal: unknown = submit.call(submittable, connection as never)
      // Nothing was sent then, and no ReadyForQuery would come.
      if (refusal instanceof Error) writeAll(connection.stream, sender.writer.sync().take())
      return refusal
    }
    submittable.handleError = (error: Error, connection: never) => {
      this.handleError(error)
      return handleError.call(submittable, this.#instead ?? error, connection)
    }
    if (handleCommandComplete !== undefined) {
      submittable.handleCommandComplete = (message: { text: string }, connection: never) => {
        this.note(message.text)
        return handleCommandComplete.call(submittable, message, connection)
      }
    }
    this.#tell = (error) => void handleError.call(submittable, error, null as never)
    this.#restore = () => {
      submittable.submit = submit
      if (handleCommandComplete !== undefined) submittable.handleCommandComplete = handleCommandComplete
      if (this.#tell !== null) submittable.handleError = handleError
      sender.client.pipeline = true
    }
    if (this.traits.harmful) sender.prepared.suspend()
    sender.client.pipeline = false
    return submittable as unknown as QueuedQuery
  }

  override settle(): void {
    this.#restore?.()
    this.#restore = null
    this.#end(this.error)
  }

  /** It takes nothing but an error for one: without, it would take its rows for all that there are. */
  override revoke(error: Error): void {
    this.reject(error)
  }

  override reject(error: Error): void {
    this.#end(this.error ?? error)
    if (this.error !== null) {
      this.#instead = error
      return
    }
    // Until ReadyForQuery it is still pg's, which is pipelining again only then.
    this.#tell?.(error)
    this.#tell = null
    // pg tells it of a lost connection once more, on a later tick.
    this.submittable.handleError = () => {}
  }

  /** It is not sent. It expects to be told of that on a later tick. */
  refuse(error: Error): void {
    clock.nextTick(() => this.reject(error))
  }
}
