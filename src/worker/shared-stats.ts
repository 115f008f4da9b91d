/**
 * The owner's figures in shared memory, so that a worker can read `status`, `closed` and `stats` without asking. The
 * owner writes them whenever it says something to a worker, when a server connection comes or goes, and when a
 * worker looked. A reader that is interrupted by a writer reads again.
 */
import { clock } from '../util/clock.js'
import type { TransactionStatus } from '../api/connection.js'
import type { ManagerStats } from '../api/manager.js'

/** How often a reader that was interrupted reads again. */
const MOST_TRIES = 1_000

const STATUSES: readonly (TransactionStatus | null)[] = [
  null,
  'idle',
  'active',
  'intrans',
  'inerror',
  'unknown',
]

/** Where each figure stands. */
const NUMBERS = [
  'waiting',
  'inFlight',
  'prepared',
  'connects',
  'disconnects',
  'acquires',
  'releases',
  'rollbacks',
  'timeouts',
] as const

/** In that order; by name one by one, because this is done for every message. */
function numbersOf(stats: ManagerStats): readonly number[] {
  const { waiting, inFlight, prepared, connects, disconnects, acquires, releases, rollbacks, timeouts } =
    stats
  return [waiting, inFlight, prepared, connects, disconnects, acquires, releases, rollbacks, timeouts]
}

const STATUS = NUMBERS.length
const WRITTEN_AT = STATUS + 1
const HELD_MILLIS = STATUS + 2
const PROCESS_ID = STATUS + 3
const CONNECTED_MILLIS = STATUS + 4
const SIZE = STATUS + 5

/** Where a number is absent. */
const NONE = -1

export class SharedStats {
  readonly buffer: SharedArrayBuffer
  readonly #figures: Float64Array
  /** Odd while it is being written. */
  readonly #version: Int32Array

  constructor(buffer = new SharedArrayBuffer(8 + SIZE * 8)) {
    this.buffer = buffer
    this.#version = new Int32Array(buffer, 0, 1)
    this.#figures = new Float64Array(buffer, 8, SIZE)
  }

  write(status: TransactionStatus | null, stats: ManagerStats): void {
    const figures = this.#figures
    Atomics.add(this.#version, 0, 1)
    figures.set(numbersOf(stats))
    figures[STATUS] = STATUSES.indexOf(status)
    figures[WRITTEN_AT] = clock.wallNow()
    figures[HELD_MILLIS] = stats.heldMillis ?? NONE
    figures[PROCESS_ID] = stats.processID ?? NONE
    figures[CONNECTED_MILLIS] = stats.connectedMillis ?? NONE
    Atomics.add(this.#version, 0, 1)
  }

  get status(): TransactionStatus | null {
    return STATUSES[this.#figures[STATUS]!] ?? null
  }

  get processID(): number | null {
    return orNull(this.#figures[PROCESS_ID]!)
  }

  get stats(): ManagerStats {
    const figures = this.#copy()
    const since = Math.max(0, clock.wallNow() - figures[WRITTEN_AT]!)
    const counts = Object.fromEntries(NUMBERS.map((name, index) => [name, figures[index]]))
    const heldMillis = grown(figures[HELD_MILLIS]!, since)
    return Object.freeze({
      held: heldMillis !== null,
      heldMillis,
      processID: orNull(figures[PROCESS_ID]!),
      connectedMillis: grown(figures[CONNECTED_MILLIS]!, since),
      ...(counts as Record<(typeof NUMBERS)[number], number>),
    })
  }

  #copy(): Float64Array {
    let copy: Float64Array
    let tries = 0
    let whole = false
    do {
      const before = Atomics.load(this.#version, 0)
      copy = this.#figures.slice()
      whole = before % 2 === 0 && Atomics.load(this.#version, 0) === before
      // A writer that was ended in the middle leaves it so for ever: figures that may not fit are better than none.
    } while (!whole && ++tries < MOST_TRIES)
    return copy
  }
}

function orNull(figure: number): number | null {
  return figure === NONE ? null : figure
}

/** A length of time goes on after it was written down. */
function grown(millis: number, since: number): number | null {
  return millis === NONE ? null : Math.round(millis + since)
}
