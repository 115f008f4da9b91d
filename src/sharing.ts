/**
 * What sharing a manager with other threads takes beside its public members; for `worker/` alone. One small class, so
 * that it is plain to see what the other side of a port relies on.
 */
import { revoke } from './lease/release.js'
import { Lease } from './lease/lease.js'
import { typesOf } from './pg/driver.js'
import type { CustomTypesConfig } from 'pg'
import type { LocalBroker } from './broker/local-broker.js'
import type { ResolvedOptions } from './options.js'

/** Something that was asked for, as it stands in the line. */
export interface Asked {
  /** The one behind it in the line. */
  readonly next: object | null
  /** Takes it out of the line; false when it has left it already. */
  reject(error: unknown): boolean
  /** The same, and what is under way is cancelled where that hits nobody else. */
  abandon(error: unknown): void
}

export class Sharing {
  readonly #broker: LocalBroker

  constructor(broker: LocalBroker) {
    this.#broker = broker
  }

  /** The options in force. */
  get options(): ResolvedOptions {
    return this.#broker.options
  }

  /** `end()` was called. */
  get ending(): boolean {
    return this.#broker.ending
  }

  /** Stands for the turn that has the floor; null while nobody has it. */
  get floor(): object | null {
    return this.#broker.holder
  }

  /** The first in line. */
  get first(): object | null {
    return this.#broker.first
  }

  /** The parsers of the session's results, as they are now. */
  get types(): CustomTypesConfig {
    return typesOf(this.#broker.backend?.client ?? null)
  }

  /**
   * Runs `ask`, which asks the manager for one thing. Gives what stands in the line for it; null where it was refused.
   *
   * @param stack where the holder asked, for messages and warnings; null where nobody wants to know
   */
  watchAsk(stack: string | null, ask: () => void): Asked | null {
    return this.#broker.watchAsk(stack, ask)
  }

  /** The error of one whose time in line has passed, after it was taken out of it. Counts it. */
  timedOut(timeoutMillis: number): Error {
    return this.#broker.timedOut(timeoutMillis)
  }

  /** Takes the connection from the holder of `floor`: what runs is cancelled and rolled back, nobody waits for it. */
  takeBack(floor: object, error: Error): void {
    const turn = this.#broker.holder
    if (turn !== null && turn === floor) void revoke(this.#broker, turn, error, 'holder gone')
  }

  /** Calls `told` when the connection is taken from the holder of `floor`. Callbacks are told by the manager itself. */
  onTakenBack(floor: object, told: (error: Error) => void): void {
    const turn = this.#broker.holder
    if (turn !== null && turn === floor) turn.onRevoked = told
  }

  /** Something of the turn that `floor` stands for was committed, or may have been. */
  mayHaveCommitted(floor: object): boolean {
    return floor instanceof Lease && !floor.retrySafe
  }

  /** Calls `ended` once the manager has ended. */
  onEnded(ended: () => void): void {
    this.#broker.onEnded(ended)
  }

  /** Tells of a failure that no call can be told of. */
  report(error: Error): void {
    this.#broker.onBackgroundError(error)
  }
}
