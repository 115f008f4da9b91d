/** One subscriber's side of a channel: a bounded buffer that is read as an async iterable. */
import type { Notification, Subscription } from '../api/subscription.js'
import { SubscriptionOverflowError } from '../errors.js'

const DONE = { done: true, value: undefined } as const

export class BufferedSubscription implements Subscription {
  readonly channel: string
  readonly #maxBuffered: number
  readonly #leave: () => void
  #buffer: Notification[] = []
  readonly #readers: {
    resolve: (item: IteratorResult<Notification>) => void
    reject: (error: unknown) => void
  }[] = []
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

  /** Hands over one notification; too many unread ones end the subscription. */
  push(item: Notification): void {
    if (this.#ended) return
    const reader = this.#readers.shift()
    if (reader !== undefined) reader.resolve({ done: false, value: item })
    else if (this.#buffer.length < this.#maxBuffered) this.#buffer.push(item)
    else this.end(new SubscriptionOverflowError({ channel: this.channel, maxBuffered: this.#maxBuffered }))
  }

  /** No more will come; what is buffered can still be read, and the error, if there is one, after it. */
  end(error: Error | null = null): void {
    if (this.#ended) return
    this.#ended = true
    const readers = this.#readers.splice(0)
    // The first reader gets the error.
    if (error === null || readers.length === 0) this.#error = error
    else readers.shift()!.reject(error)
    for (const { resolve } of readers) resolve(DONE)
    this.#leave()
  }

  [Symbol.asyncIterator](): AsyncIterator<Notification> {
    return {
      next: () => this.#next(),
      return: async () => {
        await this.close()
        return DONE
      },
    }
  }

  #next(): Promise<IteratorResult<Notification>> {
    const item = this.#buffer.shift()
    if (item !== undefined) return Promise.resolve({ done: false, value: item })
    const error = this.#error
    this.#error = null
    if (error !== null) return Promise.reject(error)
    if (this.#ended) return Promise.resolve(DONE)
    return new Promise((resolve, reject) => this.#readers.push({ resolve, reject }))
  }

  close(): Promise<void> {
    this.#buffer = []
    this.end()
    return Promise.resolve()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}
