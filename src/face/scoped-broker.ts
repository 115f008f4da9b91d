/** A broker whose calls have something in common; what a call says itself comes first. */
import { checkedTerms } from './terms.js'
import { mergeSettings, readSettings, type TurnSettings } from '../sql/turn-settings.js'
import type { QueryResult } from 'pg'
import type { SharedOptions } from '../api/call-options.js'
import type { TransactionStatus } from '../api/connection.js'
import type { ConnectionFacts, ManagerStats } from '../api/manager.js'
import type { BatchTerms, Broker, FaceOptions, Leadership } from '../api/ports.js'
import type { Lease, LeaseTerms, Wait } from '../api/ports.js'
import type { StatementCall } from '../api/statement.js'
import type { Subscription } from '../api/subscription.js'

/** What the calls have in common, beside their options. */
export interface Common {
  readonly settings: TurnSettings | null
  readonly label: string | null
}

const NOTHING: Common = { settings: null, label: null }

/** Gives calls these options in common, beside those that they have. */
export function scoped(broker: Broker, given: SharedOptions): ScopedBroker {
  const { options } = broker
  const { autocommit = options.autocommit, groupCommit = options.groupCommit } = given
  const { verifyCommit = options.verifyCommit } = given
  const { base, common } = scopeOf(broker)
  const settings = mergeSettings(common.settings, readSettings(given))
  const label = given.label ?? common.label
  return new ScopedBroker(base, { ...options, autocommit, groupCommit, verifyCommit }, { settings, label })
}

/** The broker that carries things out, and what calls have that go through `broker`. */
export function scopeOf(broker: Broker): Pick<ScopedBroker, 'base' | 'options' | 'common'> {
  const { options } = broker
  return broker instanceof ScopedBroker ? broker : { base: broker, options, common: NOTHING }
}

export class ScopedBroker implements Broker {
  /** The one that carries things out. */
  readonly base: Broker
  readonly options: FaceOptions
  readonly common: Common

  constructor(base: Broker, options: FaceOptions, common: Common) {
    this.base = base
    this.options = options
    this.common = common
  }

  get ending(): boolean {
    return this.base.ending
  }

  get status(): TransactionStatus | null {
    return this.base.status
  }

  get stats(): ManagerStats {
    return this.base.stats
  }

  get facts(): ConnectionFacts {
    return this.base.facts
  }

  acquire<T>(terms: LeaseTerms, wait: Wait, receive: (lease: Lease) => T): Promise<T> {
    return this.base.acquire(checkedTerms(this.#scoped(terms)), this.#labelled(wait), receive)
  }

  tryAcquire<T>(terms: LeaseTerms, wait: Wait, receive: (lease: Lease) => T): Promise<T | null> {
    return this.base.tryAcquire(checkedTerms(this.#scoped(terms)), this.#labelled(wait), receive)
  }

  query(call: StatementCall, wait: Wait): Promise<QueryResult> {
    return this.base.query(this.#scoped(call), this.#labelled(wait))
  }

  batch(calls: readonly StatementCall[], terms: BatchTerms, wait: Wait): Promise<QueryResult[]> {
    return this.base.batch(calls, checkedTerms(this.#scoped(terms)), this.#labelled(wait))
  }

  #scoped<T extends { readonly settings: TurnSettings | null }>(wish: T): T {
    const settings = mergeSettings(this.common.settings, wish.settings)
    return settings === wish.settings ? wish : { ...wish, settings }
  }

  #labelled(wait: Wait): Wait {
    const { label } = this.common
    return label === null || wait.label != null ? wait : { ...wait, label }
  }

  listen(channel: string, maxBuffered: number, wait: Wait): Promise<Subscription> {
    return this.base.listen(channel, maxBuffered, this.#labelled(wait))
  }

  lead(name: string, retryMillis: number, signal: AbortSignal | undefined): Promise<Leadership> {
    return this.base.lead(name, retryMillis, signal)
  }

  connect(wait: Wait): Promise<void> {
    return this.base.connect(wait)
  }

  close(): Promise<void> {
    return this.base.close()
  }

  end(timeoutMillis: number): Promise<void> {
    return this.base.end(timeoutMillis)
  }
}
