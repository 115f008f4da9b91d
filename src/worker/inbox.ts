/** Hears what has arrived: all messages at once, so that what they cause is answered in one. */
import { receiveMessageOnPort } from 'node:worker_threads'
import { clock } from '../util/clock.js'
import type { MessagePort } from 'node:worker_threads'

export interface InboxHooks<Entry> {
  hear(entry: Entry): void
  /** The other side is gone, and all that it had said has been heard. Called once. */
  closed(): void
  /** What came could not be read. */
  failed(error: Error): void
}

/** So many entries are heard at a time: others want to run, too, however much one side has to say. */
const MOST_AT_ONCE = 1_000

/** Listens, without keeping the thread alive. */
export function listenTo<Entry>(port: MessagePort, hooks: InboxHooks<Entry>): void {
  const inbox = new Inbox(port, hooks)
  port.on('message', (message: unknown) => inbox.arrived(message))
  port.on('messageerror', (error) => hooks.failed(error))
  port.once('close', () => inbox.closed())
  port.unref()
}

class Inbox<Entry> {
  readonly #port: MessagePort
  readonly #hooks: InboxHooks<Entry>
  /** Messages that have not been heard to their end. */
  readonly #messages: (readonly Entry[])[] = []
  /** The next entry of the first of them. */
  #next = 0
  #waits = false
  #closed = false

  constructor(port: MessagePort, hooks: InboxHooks<Entry>) {
    this.#port = port
    this.#hooks = hooks
  }

  arrived(message: unknown): void {
    this.#take(message)
    if (!this.#waits) this.#hearSome()
  }

  closed(): void {
    this.#closed = true
    if (!this.#waits) this.#hooks.closed()
  }

  #take(message: unknown): void {
    if (Array.isArray(message)) this.#messages.push(message as Entry[])
    else this.#hooks.failed(new TypeError('a message on the port is no list'))
  }

  /** The next message, with whatever else has arrived by now. */
  #more(): boolean {
    if (this.#messages.length > 0) return true
    const another = receiveMessageOnPort(this.#port) as { message: unknown } | undefined
    if (another !== undefined) this.#take(another.message)
    return this.#messages.length > 0
  }

  readonly #hearSome = (): void => {
    this.#waits = false
    for (let count = 0; count < MOST_AT_ONCE && this.#more(); count++) {
      const [message] = this.#messages
      if (this.#next < message!.length) this.#hooks.hear(message![this.#next++]!)
      else {
        this.#messages.shift()
        this.#next = 0
      }
    }
    if (this.#messages.length > 0) {
      this.#waits = true
      clock.setImmediate(this.#hearSome)
    } else if (this.#closed) this.#hooks.closed()
  }
}
