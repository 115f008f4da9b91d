/** The figures of a sandbox, and the events of its turns: its own, and not those of the manager below. */
import { now } from '../util/clock.js'
import { noRollbacks } from '../util/rollback-reasons.js'
import type { ManagerStats } from '../api/manager.js'
import type { EventSink } from '../api/ports.js'
import type { RollbackEvent } from '../events.js'
import type { SandboxLease } from './lease.js'

export class SandboxFigures {
  readonly #events: EventSink
  readonly #rollbacksByReason = noRollbacks()
  #acquires = 0
  #releases = 0
  #rollbacks = 0
  timeouts = 0

  constructor(events: EventSink) {
    this.#events = events
  }

  onAcquire(label: string | null, waitedMillis: number): void {
    this.#acquires++
    this.#events.tell('acquire', { waitedMillis, label })
  }

  onRelease({ label, grantedAt }: SandboxLease): void {
    this.#releases++
    this.#events.tell('release', { heldMillis: now() - grantedAt, label })
  }

  onRollback(event: RollbackEvent): void {
    this.#rollbacks++
    this.#rollbacksByReason[event.reason]++
    this.#events.tell('rollback', event)
  }

  get counts(): Pick<ManagerStats, 'acquires' | 'releases' | 'rollbacks' | 'rollbacksByReason' | 'timeouts'> {
    return {
      ...{ acquires: this.#acquires, releases: this.#releases, rollbacks: this.#rollbacks },
      rollbacksByReason: Object.freeze({ ...this.#rollbacksByReason }),
      timeouts: this.timeouts,
    }
  }
}
