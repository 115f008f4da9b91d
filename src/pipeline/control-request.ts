/** The library's own small requests: transaction control, and a bare Sync. */
import { Request } from './request.js'
import type { Sender, RequestOwner } from './request.js'

/**
 * Transaction control: unnamed, because a prepared COMMIT is lost with DEALLOCATE ALL, and in a Sync of its own.
 */
export class ControlRequest extends Request {
  readonly text: string
  /** The command tag: ROLLBACK in answer to COMMIT says that nothing was saved. */
  tag: string | null = null
  /** The statement error that had made the transaction fail before, where one did. */
  failedBefore: Error | null = null
  /** Sent by the library for its own purposes: nobody forgot to wait for it. */
  readonly internal: boolean

  constructor(owner: RequestOwner, text: string, internal = false) {
    super(owner)
    this.text = text
    this.internal = internal
  }

  get complete(): boolean {
    return this.tag !== null
  }

  override get outcome(): this {
    return this
  }

  protected override encode({ writer, prepared }: Sender): void {
    this.tag = null
    // Whatever the transaction had changed for itself is taken back, or holds, for all that is sent from here on.
    if (this.endsTransaction) prepared.resume()
    writer.query(this.text)
  }

  protected override completed(tag: string): void {
    this.tag = tag
  }

  // The library knows what it does itself.
  protected override note(): void {}
}

/** A Sync and nothing else: asks whether the connection is alive, and in which state. */
export class SyncRequest extends Request {
  readonly text = 'a check of the connection'
  readonly complete = true

  protected override encode({ writer }: Sender): void {
    writer.sync()
  }

  protected override completed(): void {}
}
