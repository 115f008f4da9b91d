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

const STATUSES = [null, 'idle', 'active', 'intrans', 'inerror', 'unknown'] as const

/** Where the figures stand. */
const STATUS = 0
const PROCESS_ID = 1
const MILLIS = 5
const COUNTS = 8
const SIZE = 19

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
    // By name one by one, because this is done for every message.
    const { processID, heldMillis, connectedMillis, waiting, inFlight, prepared } = stats
    const { connects, disconnects, acquires, releases, rollbacks, timeouts } = stats
    const { flushes, groupCommits, verifiedCommitted, verifiedNone, verifiedUnknown } = stats
    const millis = [clock.wallNow(), heldMillis ?? NONE, connectedMillis ?? NONE]
    const commits = [flushes, groupCommits, verifiedCommitted, verifiedNone, verifiedUnknown]
    const counts = [connects, disconnects, acquires, releases, rollbacks, timeouts, ...commits]
    Atomics.add(this.#version, 0, 1)
    this.#figures.set([STATUSES.indexOf(status), processID ?? NONE, waiting, inFlight, prepared])
    this.#figures.set(millis, MILLIS)
    this.#figures.set(counts, COUNTS)
    Atomics.add(this.#version, 0, 1)
  }

  get status(): TransactionStatus | null {
    return STATUSES[this.#figures[STATUS]] ?? null
  }

  get processID(): number | null {
    return orNull(this.#figures[PROCESS_ID])
  }

  get stats(): ManagerStats {
    const figures = this.#copy()
    const [, processID, waiting, inFlight, prepared, writtenAt, held, connected] = figures
    const [connects, disconnects, acquires, releases, rollbacks, timeouts, ...commits] = figures.slice(COUNTS)
    const [flushes, groupCommits, verifiedCommitted, verifiedNone, verifiedUnknown] = commits
    const since = Math.max(0, clock.wallNow() - writtenAt)
    return Object.freeze({
      held: held !== NONE,
      heldMillis: grown(held, since),
      processID: orNull(processID),
      connectedMillis: grown(connected, since),
      ...{ waiting, inFlight, prepared },
      ...{ connects, disconnects, acquires, releases, rollbacks, timeouts },
      ...{ flushes, groupCommits, verifiedCommitted, verifiedNone, verifiedUnknown },
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
