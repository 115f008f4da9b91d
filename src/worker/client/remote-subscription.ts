/** A subscription in a worker: a bounded buffer that is read as an async iterable. */
import { SubscriptionOverflowError } from '../../errors.js'
import type { Notification, Subscription } from '../../index.js'

type Item = IteratorResult<Notification>

export class RemoteSubscription implements Subscription {
  readonly channel: string
  readonly #maxBuffered: number
  readonly #leave: () => void
  #buffer: Notification[] = []
  #readers: { resolve: (item: Item) => void; reject: (error: Error) => void }[] = []
  #ended = false
  #error: Error | null = null

  /** `leave` is called once, when no more is wanted. */
  constructor(channel: string, maxBuffered: number, leave: () => void) {
    this.channel = channel
    this.#maxBuffered = maxBuffered
    this.#leave = leave
  }

  get buffered(): number {
    return this.#buffer.length
  }

  push(notification: Notification): void {
    if (this.#ended) return
    const reader = this.#readers.shift()
    if (reader !== undefined) reader.resolve({ done: false, value: notification })
    else if (this.#buffer.length < this.#maxBuffered) this.#buffer.push(notification)
    else this.end(new SubscriptionOverflowError({ channel: this.channel, maxBuffered: this.#maxBuffered }))
  }

  /** No more will come; what is buffered can still be read, and the error after it. */
  end(error: Error | null): void {
    if (this.#ended) return
    this.#ended = true
    const readers = this.#readers
    this.#readers = []
    // Whoever waits first hears of the error.
    const first = error === null ? undefined : readers.shift()
    this.#error = first === undefined ? error : null
    first?.reject(error!)
    for (const reader of readers) reader.resolve({ done: true, value: undefined })
    this.#leave()
  }

  [Symbol.asyncIterator](): AsyncIterator<Notification> {
    return {
      next: () => this.#next(),
      return: async () => {
        await this[Symbol.asyncDispose]()
        return { done: true, value: undefined }
      },
    }
  }

  #next(): Promise<Item> {
    const notification = this.#buffer.shift()
    if (notification !== undefined) return Promise.resolve({ done: false, value: notification })
    if (this.#error !== null) {
      const error = this.#error
      this.#error = null
      return Promise.reject(error)
    }
    if (this.#ended) return Promise.resolve({ done: true, value: undefined })
    return new Promise((resolve, reject) => this.#readers.push({ resolve, reject }))
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#buffer = []
    this.end(null)
    return Promise.resolve()
  }
}
