/** The library's own small requests: transaction control, and a bare Sync. */
import { BEGIN_FACTS } from '../sql/classify.js'
import { Request } from './request.js'
import type { RequestOwner } from './request-owner.js'
import type { RequestTraits, Sender } from './request.js'

/**
 * Transaction control, by the simple protocol: a prepared COMMIT would be lost with DEALLOCATE ALL. In a Sync of its
 * own.
 */
export class ControlRequest extends Request {
  readonly text: string
  /** Sent by the library for its own purposes: no caller has to wait for it. */
  readonly internal: boolean
  readonly #commands: number
  #completed = 0
  /** Of the last command. */
  #tag: string | null = null

  /** @param commands how many there are in the text */
  constructor(owner: RequestOwner, text: string, traits: RequestTraits, internal: boolean, commands = 1) {
    super(owner, traits)
    this.text = text
    this.internal = internal
    this.#commands = commands
  }

  get complete(): boolean {
    return this.#completed === this.#commands
  }

  override get beginPending(): boolean {
    return this.traits.facts === BEGIN_FACTS
  }

  /** The command tag: ROLLBACK in answer to COMMIT says that nothing was saved. */
  override get outcome(): string | null {
    return this.#tag
  }

  protected override encode({ writer, prepared }: Sender): void {
    this.#tag = null
    this.#completed = 0
    // Whatever the transaction had changed for itself is taken back, or holds, for all that is sent from here on.
    if (this.traits.endsTransaction) prepared.resume()
    writer.query(this.text)
  }

  protected override completed(tag: string | null): void {
    this.#tag = tag
    this.#completed++
    if (this.traits.endsTransaction && tag === 'COMMIT') this.ended = 'committed'
  }

  // What it does is the library's own doing, which knows of it.
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
