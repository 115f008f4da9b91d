/**
 * Watches how long one holder keeps the connection: warns, and takes it back. Where neither is asked for there
 * is no watch at all.
 */
import { HoldTimeoutError } from '../errors.js'
import { now } from '../util/clock.js'
import { deadline, type Timed } from '../util/deadlines.js'
import { revoke } from './release.js'
import type { HoldWarningEvent } from '../events.js'
import type { Lease } from './lease.js'

/** In milliseconds; 0 = off. */
export interface HoldLimits {
  readonly holdWarningMillis: number
  readonly maxHoldMillis: number
}

export class HoldWatch {
  readonly #lease: Lease
  readonly #stack: string | null
  readonly #warn: (event: HoldWarningEvent) => void
  readonly #timers: Timed[] = []
  #warned = false

  /** @param stack where the holder asked for it */
  constructor(
    lease: Lease,
    stack: string | null,
    limits: HoldLimits,
    warn: (event: HoldWarningEvent) => void,
  ) {
    this.#lease = lease
    this.#stack = stack
    this.#warn = warn
    const { holdWarningMillis, maxHoldMillis } = limits
    if (holdWarningMillis > 0) this.#at(holdWarningMillis, () => this.#tell(false))
    if (maxHoldMillis > 0) this.#at(maxHoldMillis, () => this.#revoke(maxHoldMillis))
  }

  /** The holder has left. */
  stop(): void {
    for (const timer of this.#timers) this.#lease.owner.deadlines.remove(timer)
    if (this.#warned) this.#tell(true)
  }

  #at(millis: number, due: () => void): void {
    const timer = deadline(due)
    this.#timers.push(timer)
    this.#lease.owner.deadlines.add(timer, millis)
  }

  #tell(returned: boolean): void {
    this.#warned = true
    const heldMillis = Math.round(now() - this.#lease.grantedAt)
    this.#warn({ heldMillis, stack: this.#stack, returned })
  }

  #revoke(maxHoldMillis: number): void {
    const { retrySafe } = this.#lease
    const error = new HoldTimeoutError({ maxHoldMillis, holderStack: this.#stack, retrySafe })
    void revoke(this.#lease, error, 'hold timeout')
  }
}
