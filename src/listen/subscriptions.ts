/**
 * All subscriptions of a manager. The subscribers of a channel share one LISTEN; the last to leave has it undone.
 * LISTEN and UNLISTEN wait in the queue like any one-shot. A new session listens again before it is handed out.
 *
 * A channel is `active` while the present session listens to it: from the answer to LISTEN until UNLISTEN is sent.
 * A subscriber to a channel that is not active sends a LISTEN of its own, in the order of asking, with its own limits.
 */
import { AbandonedOpeningError } from '../backend/backend-keeper.js'
import { ManagerEndedError } from '../errors.js'
import { ask } from '../pg/ask.js'
import { escapeIdentifier } from '../pg/driver.js'
import { ControlRequest } from '../pipeline/control-request.js'
import { QueryRequest } from '../pipeline/query-request.js'
import { TRAITS, type Request, type RequestTraits } from '../pipeline/request.js'
import { ownStatement } from '../pipeline/statement-part.js'
import { throwIfAborted } from '../util/abort-signals.js'
import { backoffMillis } from '../util/backoff.js'
import { pause } from '../util/pause.js'
import { DirectSession } from './direct-session.js'
import { askIfQuiet, Heartbeat } from './heartbeat.js'
import { BufferedSubscription } from './subscription.js'
import type { Client, QueryResult } from 'pg'
import type { Wait } from '../api/ports.js'
import type { ResolvedOptions } from '../options.js'
import type { RequestOwner } from '../pipeline/request-owner.js'
import type { SessionOwner } from './session-owner.js'

class Channel {
  readonly name: string
  readonly subscribers = new Set<BufferedSubscription>()
  /** Those of them whose `listen()` has resolved. */
  readonly settled = new Set<BufferedSubscription>()
  active = false
  /** How many LISTENs wait in line, or for their answer. */
  asked = 0
  /** Takes the UNLISTEN that waits in line out of it. */
  unlistening: AbortController | null = null

  constructor(name: string) {
    this.name = name
  }

  say(command: 'LISTEN' | 'UNLISTEN'): string {
    return `${command} ${escapeIdentifier(this.name)}`
  }

  tellGap(): void {
    for (const subscriber of this.settled) subscriber.push({ type: 'gap', channel: this.name })
  }
}

const LISTENING = 'SELECT pg_catalog.pg_listening_channels() AS channel'

const EXCLUSIVE: RequestTraits = { ...TRAITS, pipelining: 'exclusive', repeatable: false }
const UNBOUNDED: Wait = { timeoutMillis: Infinity, unbounded: true }
const REOPEN_BACKOFF = { firstMillis: 100, maxMillis: 5_000 }

export class Subscriptions {
  readonly #host: SessionOwner
  readonly #options: ResolvedOptions
  readonly #channels = new Map<string, Channel>()
  readonly #ended = new AbortController()
  readonly #heartbeat: Heartbeat
  #reopening = false
  /** Which LISTENs there are is to be asked. */
  #doubted = false
  readonly #session: DirectSession
  /** What the session that is being set up listens to already. */
  #missed: Channel[] = []

  constructor(host: SessionOwner, options: ResolvedOptions) {
    this.#host = host
    this.#options = options
    this.#session = new DirectSession(host, options, 'listen()')
    this.#heartbeat = new Heartbeat(options.heartbeatMillis, () => askIfQuiet(host.backend))
  }

  get size(): number {
    let size = 0
    for (const channel of this.#channels.values()) size += channel.subscribers.size
    return size
  }

  /** Subscribes; resolves once the server listens. */
  async add(name: string, maxBuffered: number, wait: Wait): Promise<BufferedSubscription> {
    if (this.#host.ending) throw new ManagerEndedError()
    throwIfAborted(wait.signal)
    const channel = this.#channels.get(name) ?? new Channel(name)
    this.#channels.set(name, channel)
    const subscription = new BufferedSubscription(name, maxBuffered, () => this.#left(channel, subscription))
    channel.subscribers.add(subscription)
    try {
      this.#session.refuse()
      // LISTEN first: it stands in line at the moment of asking.
      await Promise.all([this.#listen(channel, wait), this.#session.check(wait)])
      if (this.#ended.signal.aborted) throw new ManagerEndedError()
    } catch (error) {
      subscription.end()
      throw error
    }
    channel.settled.add(subscription)
    return subscription
  }

  async #listen(channel: Channel, wait: Wait): Promise<void> {
    channel.unlistening?.abort()
    if (channel.active) return
    channel.asked++
    try {
      await this.#send(channel.say('LISTEN'), wait)
      this.#onListening(channel)
    } finally {
      channel.asked--
      this.#dropUnwanted(channel)
    }
  }

  #send(text: string, wait: Wait, onSent?: () => void): Promise<unknown> {
    const traits = { ...EXCLUSIVE, limitMillis: this.#options.statementTimeoutMillis }
    return this.#host.sendInLine((owner) => {
      onSent?.()
      return new ControlRequest(owner, text, traits, true)
    }, wait)
  }

  #onListening(channel: Channel): void {
    channel.active = true
    if (this.#ended.signal.aborted) return
    this.#heartbeat.start()
    // Its subscribers may have left meanwhile.
    if (channel.subscribers.size === 0) void this.#unlisten(channel)
  }

  #left(channel: Channel, subscription: BufferedSubscription): void {
    channel.subscribers.delete(subscription)
    channel.settled.delete(subscription)
    if (channel.subscribers.size > 0) return
    if (channel.active && !this.#ended.signal.aborted) void this.#unlisten(channel)
    else this.#dropUnwanted(channel)
    if (this.size > 0) return
    this.#heartbeat.stop()
    this.#host.onUnused()
  }

  async #unlisten(channel: Channel): Promise<void> {
    const abort = new AbortController()
    channel.unlistening = abort
    const onSent = (): void => {
      channel.active = false
      channel.unlistening = null
    }
    try {
      await this.#send(channel.say('UNLISTEN'), { ...UNBOUNDED, signal: abort.signal }, onSent)
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

  deliver(message: { channel: string; payload?: string | undefined; processId: number }): void {
    const { channel, payload = '', processId: processID } = message
    const subscribers = this.#channels.get(channel)?.subscribers ?? []
    for (const subscriber of subscribers) subscriber.push({ channel, payload, processID })
  }

  /** Listens again on a new session, before anyone gets it. */
  async listenAgain(client: Client): Promise<void> {
    this.#missed = [...this.#channels.values()].filter((channel) => channel.settled.size > 0)
    if (this.#missed.length === 0) return
    await ask(client, this.#missed.map((channel) => channel.say('LISTEN')).join('; '))
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
      present.tellGap()
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
    const noLonger = (): void => {
      this.#doubted = false
    }
    const create = (owner: RequestOwner): Request => {
      noLonger()
      return new QueryRequest(owner, ownStatement(LISTENING), EXCLUSIVE)
    }
    this.#host.sendInLine<QueryResult<{ channel: string }>>(create, UNBOUNDED).then(
      ({ rows }) => this.#compare(new Set(rows.map(({ channel }) => channel))),
      // The session is lost, and a new one listens again; or there will be none.
      noLonger,
    )
  }

  /** Listens again where the session does not any more; what came meanwhile is missed. */
  #compare(listening: ReadonlySet<string>): void {
    for (const channel of this.#channels.values()) {
      if (!channel.active || listening.has(channel.name)) continue
      channel.active = false
      if (channel.subscribers.size === 0) continue
      this.#listen(channel, UNBOUNDED).then(
        () => channel.tellGap(),
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
    this.#heartbeat.stop()
    for (const channel of this.#channels.values()) {
      channel.unlistening?.abort()
      for (const subscriber of [...channel.subscribers]) subscriber.end()
    }
    this.#channels.clear()
  }
}
