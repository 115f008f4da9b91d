/**
 * The owner's figures in shared memory, so that a worker can read `status`, `closed` and `stats` without asking. The
 * owner writes them whenever it says something to a worker, when a server connection comes or goes, and when a
 * worker looked. A reader that is interrupted by a writer reads again.
 */
import { clock } from '../util/clock.js'
import { ROLLBACK_REASONS } from '../util/rollback-reasons.js'
import type { TransactionStatus } from '../api/connection.js'
import type { ManagerStats } from '../api/manager.js'

/** How often a reader that was interrupted reads again. */
const MOST_TRIES = 1_000

const STATUSES = [null, 'idle', 'active', 'intrans', 'inerror', 'unknown'] as const

/** Where the figures stand. */
const STATUS = 0
const PROCESS_ID = 1
const MILLIS = 5
const COUNTS = 9
const REASONS = 21
/** The lengths of the two texts, in bytes. */
const LENGTHS = REASONS + ROLLBACK_REASONS.length
const SIZE = LENGTHS + 2

/** How many bytes there are for each text; what is longer is cut. */
const TEXT_BYTES = 256
const TEXTS_AT = 8 + SIZE * 8

/** Where a number is absent. */
const NONE = -1

export class SharedStats {
  readonly buffer: SharedArrayBuffer
  readonly #figures: Float64Array
  /** Odd while it is being written. */
  readonly #version: Int32Array
  /** The holder's label, and the statement that the server runs. */
  readonly #texts: readonly Buffer[]
  #written: (string | null)[] = [null, null]

  constructor(buffer = new SharedArrayBuffer(TEXTS_AT + 2 * TEXT_BYTES)) {
    this.buffer = buffer
    this.#version = new Int32Array(buffer, 0, 1)
    this.#figures = new Float64Array(buffer, 8, SIZE)
    this.#figures.fill(NONE, LENGTHS)
    this.#texts = [0, 1].map((at) => Buffer.from(buffer, TEXTS_AT + at * TEXT_BYTES, TEXT_BYTES))
  }

  write(status: TransactionStatus | null, stats: ManagerStats): void {
    // By name one by one, because this is done for every message.
    const { processID, heldMillis, connectedMillis, waiting, inFlight, prepared } = stats
    const { connects, reconnects, disconnects, acquires, releases, rollbacks, timeouts } = stats
    const { flushes, groupCommits, verifiedCommitted, verifiedNone, verifiedUnknown } = stats
    const millis = [
      clock.wallNow(),
      heldMillis ?? NONE,
      connectedMillis ?? NONE,
      stats.longestWaitMillis ?? NONE,
    ]
    const commits = [flushes, groupCommits, verifiedCommitted, verifiedNone, verifiedUnknown]
    const counts = [connects, reconnects, disconnects, acquires, releases, rollbacks, timeouts, ...commits]
    Atomics.add(this.#version, 0, 1)
    this.#figures.set([STATUSES.indexOf(status), processID ?? NONE, waiting, inFlight, prepared])
    this.#figures.set(millis, MILLIS)
    this.#figures.set(counts, COUNTS)
    this.#figures.set(
      ROLLBACK_REASONS.map((reason) => stats.rollbacksByReason[reason]),
      REASONS,
    )
    this.#writeText(0, stats.holderLabel)
    this.#writeText(1, stats.statement)
    Atomics.add(this.#version, 0, 1)
  }

  #writeText(at: number, text: string | null): void {
    if (this.#written[at] === text) return
    this.#written[at] = text
    this.#figures[LENGTHS + at] = text === null ? NONE : this.#texts[at]!.write(text)
  }

  get status(): TransactionStatus | null {
    return STATUSES[this.#figures[STATUS]] ?? null
  }

  get processID(): number | null {
    return orNull(this.#figures[PROCESS_ID])
  }

  get stats(): ManagerStats {
    const { figures, texts } = this.#copy()
    const [, processID, waiting, inFlight, prepared, writtenAt, held, connected, waited] = figures
    const [connects, reconnects, disconnects, acquires, releases, rollbacks, timeouts, ...commits] =
      figures.slice(COUNTS, REASONS)
    const [flushes, groupCommits, verifiedCommitted, verifiedNone, verifiedUnknown] = commits
    const reasons = ROLLBACK_REASONS.map((reason, at) => [reason, figures[REASONS + at]])
    const since = Math.max(0, clock.wallNow() - writtenAt)
    return Object.freeze({
      held: held !== NONE,
      heldMillis: grown(held, since),
      holderLabel: texts[0]!,
      statement: texts[1]!,
      longestWaitMillis: grown(waited, since),
      processID: orNull(processID),
      connectedMillis: grown(connected, since),
      ...{ waiting, inFlight, prepared },
      ...{ connects, reconnects, disconnects, acquires, releases, rollbacks, timeouts },
      rollbacksByReason: Object.freeze(Object.fromEntries(reasons)) as ManagerStats['rollbacksByReason'],
      ...{ flushes, groupCommits, verifiedCommitted, verifiedNone, verifiedUnknown },
    })
  }

  #copy(): { figures: Float64Array; texts: (string | null)[] } {
    let figures: Float64Array
    let texts: (string | null)[]
    let tries = 0
    let whole = false
    do {
      const before = Atomics.load(this.#version, 0)
      figures = this.#figures.slice()
      texts = this.#texts.map((text, at) => {
        const length = figures[LENGTHS + at]
        return length === NONE ? null : text.toString('utf8', 0, length)
      })
      whole = before % 2 === 0 && Atomics.load(this.#version, 0) === before
      // A writer that was ended in the middle leaves it so for ever: figures that may not fit are better than none.
    } while (!whole && ++tries < MOST_TRIES)
    return { figures, texts }
  }
}

function orNull(figure: number): number | null {
  return figure === NONE ? null : figure
}

/** A length of time goes on after it was written down. */
function grown(millis: number, since: number): number | null {
  return millis === NONE ? null : Math.round(millis + since)
}
