/** Gathers what is said in one tick, and says it in one message. */
import type { MessagePort } from 'node:worker_threads'

export interface OutboxHooks {
  /** May say what is to go along. */
  beforeFlush?(): void
  /** A message could not be sent. */
  onFailure(error: Error): void
}

export class Outbox<Entry> {
  readonly #port: MessagePort
  readonly #hooks: OutboxHooks
  #entries: Entry[] = []
  #transfers: ArrayBuffer[] = []
  #scheduled = false
  #closed = false

  constructor(port: MessagePort, hooks: OutboxHooks) {
    this.#port = port
    this.#hooks = hooks
  }

  push(entry: Entry): void {
    if (this.#closed) return
    this.#entries.push(entry)
    if (this.#scheduled) return
    this.#scheduled = true
    // Once the promises that are settled by now have told who waits for them.
    process.nextTick(this.#flush)
  }

  /** This buffer is given away, not copied. */
  transfer(buffer: ArrayBuffer): void {
    if (!this.#closed) this.#transfers.push(buffer)
  }

  readonly #flush = (): void => {
    if (this.#closed || this.#entries.length === 0) return
    this.#hooks.beforeFlush?.()
    this.#scheduled = false
    const entries = this.#entries
    const transfers = this.#transfers
    this.#entries = []
    this.#transfers = []
    try {
      this.#port.postMessage(entries, transfers)
    } catch (error) {
      this.#hooks.onFailure(error as Error)
    }
  }

  /** Sends what is left, and takes nothing more. */
  close(): void {
    this.#flush()
    this.#closed = true
  }
}
