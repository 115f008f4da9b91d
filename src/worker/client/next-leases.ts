/**
 * The turns that are known to be next in line, in order. When the present one has left, the next is started here, in
 * the worker: the owner hears of both in one message, and nobody else could have come between.
 */
import type { RemoteLease } from './remote-lease.js'

export class NextLeases {
  readonly #begin: (turn: RemoteLease) => void
  #turns: RemoteLease[] = []

  constructor(begin: (turn: RemoteLease) => void) {
    this.#begin = begin
  }

  add(turns: readonly (RemoteLease | undefined)[]): void {
    for (const turn of turns) if (turn !== undefined) this.#turns.push(turn)
  }

  /** Starts the next one, where that is certain: one that may have left the line leaves open who is next. */
  start(): void {
    while (this.#turns.length > 0 && this.#turns[0]!.state !== 'waiting') this.#turns.shift()
    if (this.#turns.length === 0 || this.#turns[0]!.expiring) return
    this.#begin(this.#turns.shift()!)
  }
}
