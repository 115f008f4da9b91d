/**
 * Watches how long one holder keeps the connection: warns, and takes it back. Where neither is asked for there
 * is no watch at all.
 */
import { HoldTimeoutError } from '../errors.js'
import { now } from '../util/clock.js'
import { deadline } from '../util/deadlines.js'
import type { Deadlines, Timed } from '../util/deadlines.js'
import type { Lease } from './lease.js'

export interface HoldLimits {
  readonly holdWarningMillis: number
  readonly maxHoldMillis: number
}

export interface HoldHooks {
  readonly deadlines: Deadlines
  onWarning(event: { heldMillis: number; stack: string | null; returned: boolean }): void
  onTimeout(turn: Lease, error: HoldTimeoutError): void
}

export class HoldWatch {
  readonly #turn: Lease
  readonly #stack: string | null
  readonly #hooks: HoldHooks
  readonly #timers: Timed[] = []
  #warned = false

  constructor(turn: Lease, stack: string | null, limits: HoldLimits, hooks: HoldHooks) {
    this.#turn = turn
    this.#stack = stack
    this.#hooks = hooks
    if (limits.holdWarningMillis > 0) this.#at(limits.holdWarningMillis, () => this.#warn(false))
    if (limits.maxHoldMillis > 0) this.#at(limits.maxHoldMillis, () => this.#takeBack(limits.maxHoldMillis))
  }

  /** The holder has left. */
  stop(): void {
    for (const timer of this.#timers) this.#hooks.deadlines.remove(timer)
    if (this.#warned) this.#warn(true)
  }

  #at(millis: number, due: () => void): void {
    const timer = deadline(due)
    this.#timers.push(timer)
    this.#hooks.deadlines.add(timer, millis)
  }

  #warn(returned: boolean): void {
    this.#warned = true
    const heldMillis = Math.round(now() - this.#turn.grantedAt)
    this.#hooks.onWarning({ heldMillis, stack: this.#stack, returned })
  }

  #takeBack(maxHoldMillis: number): void {
    const { retrySafe } = this.#turn
    this.#hooks.onTimeout(
      this.#turn,
      new HoldTimeoutError({ maxHoldMillis, holderStack: this.#stack, retrySafe }),
    )
  }
}
