/** One subscriber's side of a channel: a bounded buffer that is read as an async iterable. */
import { SubscriptionOverflowError } from '../errors.js'

/**
 * What a subscription yields: a notification, or the word that some may have been missed, because the connection
 * was lost and opened again (`type: 'gap'`).
 */
export type Notification =
  | {
      readonly type?: undefined
      readonly channel: string
      /** Empty where NOTIFY gave none. */
      readonly payload: string
      /** The server process that sent it. */
      readonly processID: number
    }
  | { readonly type: 'gap'; readonly channel: string }

/**
 * A channel's notifications from the moment that `listen` resolved, in order. Survives reconnects. Ends when it is
 * disposed of, or when the manager ends; disposal never waits for a turn.
 *
 * ```ts
 * await using subscription = await manager.listen('jobs')
 * for await (const notification of subscription) {
 *   if (notification.type === 'gap') continue // look at the table: something may have been missed
 *   console.log(notification.payload)
 * }
 * ```
 */
export interface Subscription extends AsyncIterable<Notification>, AsyncDisposable {
  readonly channel: string
  /** How many notifications wait to be read. */
  readonly buffered: number
}

export class BufferedSubscription implements Subscription {
  readonly channel: string
  readonly #maxBuffered: number
  readonly #leave: (subscription: BufferedSubscription) => void
  #buffer: Notification[] = []
  #readers: { resolve: (item: IteratorResult<Notification>) => void; reject: (error: unknown) => void }[] = []
  #ended = false
  #error: Error | null = null

  constructor(channel: string, maxBuffered: number, leave: (subscription: BufferedSubscription) => void) {
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
    else this.#overflow()
  }

  #overflow(): void {
    this.#error = new SubscriptionOverflowError({ channel: this.channel, maxBuffered: this.#maxBuffered })
    this.end()
  }

  /** No more will come; what is buffered can still be read. */
  end(): void {
    if (this.#ended) return
    this.#ended = true
    for (const reader of this.#readers) reader.resolve({ done: true, value: undefined })
    this.#readers = []
    this.#leave(this)
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

  #next(): Promise<IteratorResult<Notification>> {
    const item = this.#buffer.shift()
    if (item !== undefined) return Promise.resolve({ done: false, value: item })
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
    this.end()
    return Promise.resolve()
  }
}
