/**
 * All subscriptions of a manager. The subscribers of a channel share one LISTEN; the last to leave has it undone.
 * LISTEN and UNLISTEN stand in line like anybody; a new session listens again before anyone gets it.
 *
 * A channel's LISTEN is `wanted` (not sent), `sent`, or `active` (answered, on the present session).
 */
import { ManagerEndedError } from '../errors.js'
import { escapeIdentifier } from '../driver/pg-driver.js'
import { backoffMillis } from '../util/backoff.js'
import { pause } from '../util/pause.js'
import { BufferedSubscription } from './subscription.js'
import type { Client } from 'pg'

/** What the subscriptions need of the scheduler. */
export interface SubscriptionHost {
  /** Sends a statement in its turn; `signal` takes it out of the line. */
  sendInLine(
    text: string,
    options: { timeoutMillis: number; signal?: AbortSignal | undefined },
  ): Promise<unknown>
  /** Opens the connection, unless it is open. */
  open(): Promise<unknown>
  /** A failure that no call can be told of. */
  onBackgroundError(error: Error): void
  /** The last subscription has gone: an idle connection may lie idle again. */
  onUnsubscribed(): void
}

interface Channel {
  readonly name: string
  readonly subscribers: Set<BufferedSubscription>
  /** The LISTEN under way. */
  listening: Promise<unknown> | null
  active: boolean
  unlistening: { readonly abort: AbortController; readonly over: Promise<void> } | null
}

const REOPEN_BACKOFF = { firstMillis: 100, maxMillis: 5_000 }

export class Subscriptions {
  readonly #host: SubscriptionHost
  readonly #channels = new Map<string, Channel>()
  readonly #ended = new AbortController()
  #reopening = false

  constructor(host: SubscriptionHost) {
    this.#host = host
  }

  /** How many live. */
  get size(): number {
    let size = 0
    for (const channel of this.#channels.values()) size += channel.subscribers.size
    return size
  }

  /** Subscribes; resolves once the server listens. */
  async add(
    name: string,
    maxBuffered: number,
    wait: { timeoutMillis: number; signal?: AbortSignal | undefined },
  ): Promise<BufferedSubscription> {
    const channel = this.#channel(name)
    const subscription = new BufferedSubscription(name, maxBuffered, () => this.#left(channel, subscription))
    channel.subscribers.add(subscription)
    try {
      await this.#listen(channel, wait)
      if (this.#ended.signal.aborted) throw new ManagerEndedError()
    } catch (error) {
      subscription.end()
      throw error
    }
    return subscription
  }

  #channel(name: string): Channel {
    let channel = this.#channels.get(name)
    if (channel === undefined) {
      channel = { name, subscribers: new Set(), listening: null, active: false, unlistening: null }
      this.#channels.set(name, channel)
    }
    return channel
  }

  async #listen(
    channel: Channel,
    wait: { timeoutMillis: number; signal?: AbortSignal | undefined },
  ): Promise<void> {
    // Taken out of the line; or sent already, and then there is nothing to listen with.
    channel.unlistening?.abort.abort()
    await channel.unlistening?.over
    while (!channel.active) {
      if (channel.listening === null) return this.#sendListen(channel, wait)
      // Somebody else's, who may leave the line: then it is this one's to send.
      await channel.listening.catch(() => {})
    }
  }

  async #sendListen(
    channel: Channel,
    wait: { timeoutMillis: number; signal?: AbortSignal | undefined },
  ): Promise<void> {
    channel.listening = this.#host.sendInLine(`LISTEN ${escapeIdentifier(channel.name)}`, wait)
    try {
      await channel.listening
      channel.active = true
    } finally {
      channel.listening = null
    }
  }

  #left(channel: Channel, subscription: BufferedSubscription): void {
    channel.subscribers.delete(subscription)
    if (channel.subscribers.size > 0) return
    if (channel.active && !this.#ended.signal.aborted) this.#unlisten(channel)
    else if (channel.listening === null) this.#channels.delete(channel.name)
    if (this.size === 0) this.#host.onUnsubscribed()
  }

  #unlisten(channel: Channel): void {
    const abort = new AbortController()
    const over = this.#sendUnlisten(channel, abort.signal).finally(() => {
      channel.unlistening = null
      if (channel.subscribers.size === 0 && channel.listening === null) this.#channels.delete(channel.name)
    })
    channel.unlistening = { abort, over }
  }

  async #sendUnlisten(channel: Channel, signal: AbortSignal): Promise<void> {
    try {
      const text = `UNLISTEN ${escapeIdentifier(channel.name)}`
      await this.#host.sendInLine(text, { timeoutMillis: Infinity, signal })
      channel.active = false
    } catch {
      // Taken out of the line, because there is a subscriber again or no session any more; or the session is lost.
    }
  }

  /** A notification has come. */
  deliver(message: { channel: string; payload?: string | undefined; processId: number }): void {
    const channel = this.#channels.get(message.channel)
    if (channel === undefined) return
    const { payload = '', processId: processID } = message
    for (const subscriber of channel.subscribers)
      subscriber.push({ channel: channel.name, payload, processID })
  }

  /** Listens again on a new session, before anyone gets it, and tells the subscribers that they may have missed some. */
  async listenAgain(client: Client): Promise<void> {
    const channels = [...this.#channels.values()].filter((channel) => channel.subscribers.size > 0)
    const missed = channels.filter((channel) => channel.listening === null)
    if (missed.length === 0) return
    await client.query(missed.map((channel) => `LISTEN ${escapeIdentifier(channel.name)}`).join('; '))
    for (const channel of missed) {
      channel.active = true
      for (const subscriber of channel.subscribers) subscriber.push({ type: 'gap', channel: channel.name })
    }
  }

  /** The session is gone: subscribers want a new one, without limit. */
  onSessionGone(): void {
    for (const channel of this.#channels.values()) {
      channel.active = false
      channel.unlistening?.abort.abort()
    }
    if (this.size > 0) void this.#reopen()
  }

  /** The user's own DISCARD ALL or UNLISTEN has undone every LISTEN. */
  onDiscarded(): void {
    for (const channel of this.#channels.values()) {
      if (!channel.active || channel.subscribers.size === 0) continue
      channel.active = false
      void this.#listen(channel, { timeoutMillis: Infinity }).then(
        () => {
          for (const subscriber of channel.subscribers)
            subscriber.push({ type: 'gap', channel: channel.name })
        },
        () => {},
      )
    }
  }

  async #reopen(): Promise<void> {
    if (this.#reopening) return
    this.#reopening = true
    for (let attempt = 0; this.size > 0 && !this.#ended.signal.aborted; attempt++) {
      try {
        await this.#host.open()
        break
      } catch (error) {
        this.#host.onBackgroundError(error as Error)
        await pause(backoffMillis(REOPEN_BACKOFF, attempt, Math.random()), this.#ended.signal).catch(() => {})
      }
    }
    this.#reopening = false
  }

  /** The manager has ended: every subscription with it. */
  end(): void {
    this.#ended.abort()
    for (const channel of this.#channels.values()) {
      channel.unlistening?.abort.abort()
      for (const subscriber of [...channel.subscribers]) subscriber.end()
    }
    this.#channels.clear()
  }
}
