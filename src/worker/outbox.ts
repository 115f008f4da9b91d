/** Gathers what is said in one tick, and says it in one message. */
import { clock, inNobodysContext } from '../util/clock.js'
import type { MessagePort } from 'node:worker_threads'

/** What is kept for the next message waits no longer for it, in milliseconds. */
const LONGEST_MILLIS = 1

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
  #scheduled = false
  #timer: NodeJS.Timeout | null = null
  #closed = false

  constructor(port: MessagePort, hooks: OutboxHooks) {
    this.#port = port
    this.#hooks = hooks
  }

  push(entry: Entry): void {
    if (this.#closed) return
    this.#entries.push(entry)
    this.#schedule()
  }

  /** Goes along with what is said next, which is expected soon: a message of its own would wake the other thread. */
  keep(entry: Entry): void {
    if (this.#closed) return
    this.#entries.push(entry)
    this.#timer ??= inNobodysContext(() => clock.setTimeout(this.#onKeptTooLong, LONGEST_MILLIS))
  }

  readonly #onKeptTooLong = (): void => {
    this.#timer = null
    this.#schedule()
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    // Once the promises that are settled by now have told who waits for them.
    clock.nextTick(this.#flush)
  }

  readonly #flush = (): void => {
    const wanted = !this.#closed && this.#entries.length > 0
    // What the hook says goes along.
    if (wanted) this.#hooks.beforeFlush?.()
    this.#scheduled = false
    if (!wanted) return
    const entries = this.#entries
    this.#entries = []
    try {
      this.#port.postMessage(entries)
    } catch (error) {
      this.#hooks.onFailure(error as Error)
    }
  }

  /** Sends what is left, and takes nothing more. */
  close(): void {
    this.#flush()
    this.#closed = true
    if (this.#timer !== null) clock.clearTimeout(this.#timer)
    this.#timer = null
  }
}
