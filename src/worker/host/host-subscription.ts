/** Hands a subscription's notifications on to a worker, as far as the worker keeps up. */
import type { Notification, Subscription } from '../../api/subscription.js'

/** So many may be on their way to a worker that is busy; the owner's buffer takes the rest. */
const MOST_UNDERWAY = 1_000

export class HostSubscription {
  readonly #subscription: Subscription
  readonly #onHeard: (notifications: readonly Notification[]) => void
  readonly #onEnded: (error: Error | null) => void
  #underway = 0
  #resume: (() => void) | null = null

  /** @param onEnded is told the error, if it is not at its plain end */
  constructor(
    subscription: Subscription,
    onHeard: (notifications: readonly Notification[]) => void,
    onEnded: (error: Error | null) => void,
  ) {
    this.#subscription = subscription
    this.#onHeard = onHeard
    this.#onEnded = onEnded
    void this.#pump()
  }

  /** So many have arrived. */
  heard(count: number): void {
    // Not more than there were, whatever the worker says.
    this.#underway = Math.max(0, this.#underway - count)
    this.#resume?.()
    this.#resume = null
  }

  /** No more is wanted. */
  leave(): void {
    void this.#subscription.close()
    this.heard(this.#underway)
  }

  async #pump(): Promise<void> {
    let failure: Error | null = null
    try {
      for await (const notification of this.#subscription) {
        this.#onHeard([notification])
        this.#underway++
        if (this.#underway >= MOST_UNDERWAY) await new Promise<void>((resolve) => (this.#resume = resolve))
      }
    } catch (error) {
      failure = error as Error
    }
    this.#onEnded(failure)
  }
}
