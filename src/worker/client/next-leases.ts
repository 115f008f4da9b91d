/**
 * The leases that are known to be next in line, in order. When the present one has left, the next is started here, in
 * the worker: the owner hears of both in one message, and nobody else could have come between.
 */
import type { RemoteLease } from './remote-lease.js'

export class NextLeases {
  readonly #begin: (lease: RemoteLease) => void
  #leases: RemoteLease[] = []

  constructor(begin: (lease: RemoteLease) => void) {
    this.#begin = begin
  }

  add(leases: readonly (RemoteLease | undefined)[]): void {
    for (const lease of leases) if (lease !== undefined) this.#leases.push(lease)
  }

  /** Starts the next one, where that is certain: one that may have left the line leaves open who is next. */
  start(): void {
    while (this.#leases.length > 0 && this.#leases[0]!.state !== 'waiting') this.#leases.shift()
    if (this.#leases.length === 0 || this.#leases[0]!.expiring) return
    this.#begin(this.#leases.shift()!)
  }
}
