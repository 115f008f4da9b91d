/**
 * All subscriptions of a manager. The subscribers of a channel share one LISTEN; the last to leave has it undone.
 * LISTEN and UNLISTEN wait in the queue like any one-shot. A new session listens again before it is handed out.
 *
 * A channel is `active` while the present session listens to it: from the answer to LISTEN until UNLISTEN is sent.
 * A subscriber to a channel that is not active sends a LISTEN of its own, in the order of asking, with its own limits.
 */
import { ManagerEndedError } from '../errors.js'
import { ask } from '../pg/ask.js'
import { escapeIdentifier } from '../pg/driver.js'
import { throwIfAborted } from '../util/abort-signals.js'
import { backoffMillis } from '../util/backoff.js'
import { pause } from '../util/pause.js'
import { AbandonedOpeningError } from '../backend/backend-keeper.js'
import { BufferedSubscription } from './subscription.js'
import type { Client, QueryResult } from 'pg'
import type { Wait } from '../api/ports.js'

/** What the subscriptions need of the broker. */
export interface SubscriptionOwner {
  /** New work is refused. */
  readonly ending: boolean
  /** Sends a command in its turn; `signal` takes it out of the queue until `onSent` is called. */
  sendInLine(text: string, wait: Wait, onSent?: () => void): Promise<unknown>
  /** Sends a query of the library's own in its turn; `onSent` is called as it goes out. */
  askInLine(text: string, onSent: () => void): Promise<QueryResult>
  /** Opens the connection, unless it is open. */
  open(): Promise<unknown>
  /** The session listens to something. */
  onSubscribed(): void
  /** The last subscription has gone. */
  onUnsubscribed(): void
  /** A failure that no call can be told of. */
  onBackgroundError(error: Error): void
}

interface Channel {
  readonly name: string
  readonly subscribers: Set<BufferedSubscription>
  /** Those of them whose `listen()` has resolved. */
  readonly settled: Set<BufferedSubscription>
  active: boolean
  /** How many LISTENs wait in line, or for their answer. */
  asked: number
  /** Takes the UNLISTEN that waits in line out of it. */
  unlistening: AbortController | null
}

/** The channels that the session listens to. */
const LISTENING = 'SELECT pg_catalog.pg_listening_channels() AS channel'

const UNBOUNDED: Wait = { timeoutMillis: Infinity, unbounded: true }
const REOPEN_BACKOFF = { firstMillis: 100, maxMillis: 5_000 }

export class Subscriptions {
  readonly #host: SubscriptionOwner
  readonly #channels = new Map<string, Channel>()
  readonly #ended = new AbortController()
  #reopening = false
  /** Which LISTENs there are is to be asked. */
  #doubted = false
  /** What the session that is being set up listens to already. */
  #missed: Channel[] = []

  constructor(host: SubscriptionOwner) {
    this.#host = host
  }

  /** How many live. */
  get size(): number {
    let size = 0
    for (const channel of this.#channels.values()) size += channel.subscribers.size
    return size
  }

  /** Subscribes; resolves once the server listens. */
  async add(name: string, maxBuffered: number, wait: Wait): Promise<BufferedSubscription> {
    if (this.#host.ending) throw new ManagerEndedError()
    throwIfAborted(wait.signal)
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
    channel.settled.add(subscription)
    return subscription
  }

  #channel(name: string): Channel {
    let channel = this.#channels.get(name)
    if (channel === undefined) {
      channel = {
        name,
        subscribers: new Set(),
        settled: new Set(),
        active: false,
        asked: 0,
        unlistening: null,
      }
      this.#channels.set(name, channel)
    }
    return channel
  }

  async #listen(channel: Channel, wait: Wait): Promise<void> {
    channel.unlistening?.abort()
    if (channel.active) return
    channel.asked++
    try {
      await this.#host.sendInLine(`LISTEN ${escapeIdentifier(channel.name)}`, wait)
      this.#onListening(channel)
    } finally {
      channel.asked--
      this.#dropUnwanted(channel)
    }
  }

  #onListening(channel: Channel): void {
    channel.active = true
    this.#host.onSubscribed()
    // Its subscribers may have left meanwhile.
    if (channel.subscribers.size === 0 && !this.#ended.signal.aborted) void this.#unlisten(channel)
  }

  #left(channel: Channel, subscription: BufferedSubscription): void {
    channel.subscribers.delete(subscription)
    channel.settled.delete(subscription)
    if (channel.subscribers.size > 0) return
    if (channel.active && !this.#ended.signal.aborted) void this.#unlisten(channel)
    else this.#dropUnwanted(channel)
    if (this.size === 0) this.#host.onUnsubscribed()
  }

  async #unlisten(channel: Channel): Promise<void> {
    const abort = new AbortController()
    channel.unlistening = abort
    const onSent = (): void => {
      channel.active = false
      channel.unlistening = null
    }
    try {
      const text = `UNLISTEN ${escapeIdentifier(channel.name)}`
      await this.#host.sendInLine(text, { ...UNBOUNDED, signal: abort.signal }, onSent)
    } catch {
      // Taken out of the line, because there is a subscriber again or no session any more; or the session is lost.
    }
    if (channel.unlistening === abort) channel.unlistening = null
    this.#dropUnwanted(channel)
  }

  #dropUnwanted(channel: Channel): void {
    const unwanted = channel.subscribers.size === 0 && !channel.active && channel.asked === 0
    if (unwanted && this.#channels.get(channel.name) === channel) this.#channels.delete(channel.name)
  }

  /** A notification has come. */
  deliver(message: { channel: string; payload?: string | undefined; processId: number }): void {
    const channel = this.#channels.get(message.channel)
    if (channel === undefined) return
    const { payload = '', processId: processID } = message
    for (const subscriber of channel.subscribers)
      subscriber.push({ channel: channel.name, payload, processID })
  }

  /** Listens again on a new session, before anyone gets it. */
  async listenAgain(client: Client): Promise<void> {
    this.#missed = [...this.#channels.values()].filter((channel) => channel.settled.size > 0)
    if (this.#missed.length === 0) return
    await ask(client, this.#missed.map((channel) => `LISTEN ${escapeIdentifier(channel.name)}`).join('; '))
  }

  /** The new session is there: the subscribers are told that they may have missed some. */
  onSessionOpened(): void {
    const missed = this.#missed
    this.#missed = []
    for (const channel of missed) {
      // All may have left while it was set up, and others may have come.
      const present = this.#channels.get(channel.name) ?? channel
      this.#channels.set(channel.name, present)
      this.#onListening(present)
      tellGap(present)
    }
  }

  /** The session is gone: subscribers want a new one, without limit. */
  onSessionGone(): void {
    for (const channel of this.#channels.values()) {
      channel.active = false
      channel.unlistening?.abort()
    }
    if (this.size > 0) void this.#reopen()
  }

  /** Something was run that may have undone a LISTEN: the server is asked which ones there are. */
  onDoubted(): void {
    if (this.#doubted || ![...this.#channels.values()].some(({ active }) => active)) return
    this.#doubted = true
    const asked = this.#host.askInLine(LISTENING, () => {
      this.#doubted = false
    })
    asked.then(
      ({ rows }) => this.#compare(new Set((rows as { channel: string }[]).map(({ channel }) => channel))),
      // The session is lost, and a new one listens again; or there will be none.
      () => {
        this.#doubted = false
      },
    )
  }

  /** Listens again where the session does not any more; what came meanwhile is missed. */
  #compare(listening: ReadonlySet<string>): void {
    for (const channel of this.#channels.values()) {
      if (!channel.active || listening.has(channel.name)) continue
      channel.active = false
      if (channel.subscribers.size === 0) continue
      this.#listen(channel, UNBOUNDED).then(
        () => tellGap(channel),
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
        if (this.size === 0 || this.#host.ending) break
        // Given up, because for a moment nobody listened any more.
        if (error instanceof AbandonedOpeningError) continue
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
      channel.unlistening?.abort()
      for (const subscriber of [...channel.subscribers]) subscriber.end()
    }
    this.#channels.clear()
  }
}

function tellGap(channel: Channel): void {
  for (const subscriber of channel.settled) subscriber.push({ type: 'gap', channel: channel.name })
}
