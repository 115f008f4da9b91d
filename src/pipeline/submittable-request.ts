/**
 * A submittable of pg's (pg-cursor, pg-query-stream, pg-copy-streams, pg.Query), which speaks the protocol for
 * itself. It travels alone, and pg's pipelining is switched off while it does, because pg refuses it there.
 */
import type { Submittable } from 'pg'
import { Request } from './request.js'
import { writeAll } from './wire.js'
import type { Classified, ClassifiedTexts } from '../sql/classify.js'
import type { DriverConnection } from '../pg/driver.js'
import type { Sender, RequestOwner } from './request.js'

/** What pg calls of a submittable, beyond the published type. */
export interface DriverSubmittable extends Omit<Submittable, 'submit'> {
  readonly text?: unknown
  readonly values?: unknown
  readonly cursor?: { readonly text?: unknown; readonly values?: unknown }
  submit(connection: DriverConnection): unknown
  handleError(error: Error, connection: DriverConnection | null): unknown
  handleCommandComplete?(message: { text: string }, connection: DriverConnection): unknown
}

export interface SubmittedStatement {
  readonly text: string
  readonly values: readonly unknown[]
}

function statementOf(submittable: DriverSubmittable): SubmittedStatement | null {
  const { cursor = submittable } = submittable
  const text = submittable.text ?? cursor.text
  if (typeof text !== 'string') return null
  return { text, values: Array.isArray(cursor.values) ? cursor.values : [] }
}

export class SubmittableRequest extends Request {
  readonly submittable: DriverSubmittable
  readonly text: string
  /** What it sends, where that can be seen. Read once: it is the user's object. */
  readonly statement: SubmittedStatement | null
  readonly facts: Classified
  // It judges for itself what it is told.
  readonly complete = true

  /** Resolves once it is over, however it ended: after ReadyForQuery, or with the loss of the connection. */
  readonly over: Promise<void>
  #end!: () => void

  override readonly harmful: boolean
  override readonly mayUnlisten: boolean

  constructor(owner: RequestOwner, submittable: DriverSubmittable, texts: ClassifiedTexts) {
    super(owner)
    this.submittable = submittable
    this.statement = statementOf(submittable)
    this.text = this.statement?.text ?? '(a submittable)'
    this.facts = texts.get(this.text)
    this.harmful = !this.facts.harmless
    this.mayUnlisten = this.facts.mayUnlisten
    this.pipelining = 'exclusive'
    this.over = new Promise((resolve) => {
      this.#end = resolve
    })
  }

  protected override encode(): void {}
  protected override completed(): void {}

  override send(sender: Sender): void {
    this.adopt(sender)
    this.#overhear(sender)
    if (this.harmful) sender.prepared.suspend()
    sender.client.pipeline = false
    this.hand(this.submittable)
  }

  /** Learns what the submittable is told, since pg tells nobody else. */
  #overhear(sender: Sender): void {
    const { submittable } = this
    const { submit, handleError, handleCommandComplete } = submittable
    submittable.submit = (connection) => {
      this.sent = true
      const refusal: unknown = submit.call(submittable, connection)
      // Nothing was sent then, and no ReadyForQuery would come.
      if (refusal instanceof Error) writeAll(connection.stream, sender.writer.sync().take())
      return refusal
    }
    submittable.handleError = (error, connection) => {
      this.handleError(error)
      return handleError.call(submittable, this.#instead ?? error, connection)
    }
    if (handleCommandComplete !== undefined) {
      submittable.handleCommandComplete = (message, connection) => {
        this.note(message.text)
        return handleCommandComplete.call(submittable, message, connection)
      }
    }
    this.#tell = (error) => void handleError.call(submittable, error, null)
    this.#restore = () => {
      submittable.submit = submit
      if (handleCommandComplete !== undefined) submittable.handleCommandComplete = handleCommandComplete
      // Whoever was told that it is over hears no more.
      if (this.#tell !== null) submittable.handleError = handleError
      sender.client.pipeline = true
    }
  }

  /** What it was told in place of an answer. */
  rejection: Error | null = null
  #restore: (() => void) | null = null
  #tell: ((error: Error) => void) | null = (error) => void this.submittable.handleError(error, null)
  /** Told in place of what pg says: the server's last word is the cause of a loss. */
  #instead: Error | null = null

  override settle(): void {
    this.#restore?.()
    this.#restore = null
    this.#end()
  }

  override reject(error: Error): void {
    this.#end()
    if (this.error !== null) {
      this.#instead = error
      return
    }
    // Until ReadyForQuery it is still pg's, which is pipelining again only then.
    this.#tell?.(error)
    this.#tell = null
    this.rejection = error
    // pg tells it of a lost connection once more, on a later tick.
    this.submittable.handleError = () => {}
  }
}
