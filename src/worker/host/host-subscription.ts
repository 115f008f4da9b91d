/** A worker's subscription: notifications are handed on to the worker, as far as it keeps up. */
import { encodeThrown } from '../wire-error.js'
import type { Subscription } from '../../api/subscription.js'
import type { Host } from './host.js'

/** So many may be on their way to a worker that is busy; the owner's buffer takes the rest. */
const MOST_UNDERWAY = 1_000

export class HostSubscription {
  readonly #id: number
  readonly #host: Host
  #subscription: Subscription | null = null
  #left = false
  #underway = 0
  #resume: (() => void) | null = null

  constructor(id: number, host: Host) {
    this.#id = id
    this.#host = host
  }

  /** Resolves once there is what was asked for. */
  async open(asked: Promise<Subscription>): Promise<void> {
    try {
      this.#subscription = await asked
    } catch (error) {
      this.#host.subscriptions.delete(this.#id)
      throw error
    }
    if (this.#left) this.leave()
    void this.#pump(this.#subscription)
  }

  async #pump(subscription: Subscription): Promise<void> {
    let failure: unknown = null
    try {
      for await (const notification of subscription) {
        this.#host.say(['heard', this.#id, [notification]])
        this.#underway++
        if (this.#underway >= MOST_UNDERWAY) await new Promise<void>((resolve) => (this.#resume = resolve))
      }
    } catch (error) {
      failure = error
    }
    this.#host.subscriptions.delete(this.#id)
    this.#host.say(['unlistened', this.#id, encodeThrown(failure)])
  }

  /** So many have arrived; not more than there were, whatever the worker says. */
  heard(count: number): void {
    this.#underway = Math.max(0, this.#underway - count)
    this.#resume?.()
    this.#resume = null
  }

  /** No more is wanted. */
  leave(): void {
    this.#left = true
    void this.#subscription?.close()
    this.heard(this.#underway)
  }
}
