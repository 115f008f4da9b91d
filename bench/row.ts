/** What is measured, before it has been. */
import type { Contestant } from './contestants/contestant.js'
import type { GroundName } from './grounds/ground.js'
import { selectNumber, type Work } from './work.js'

export interface Row {
  /** What `--only` looks at, too. */
  readonly id: string
  readonly title: string
  /** What an operation is, in the plural. */
  readonly unit: string
  readonly work: Work
  readonly tasks: number
  /** Milliseconds that everything is on its way, in each direction; 0 is straight to the server. */
  readonly delayMillis: number
  /** The server is one of the row's own, which is slow in some way. */
  readonly ground?: GroundName
  /**
   * How the ratios are read. `race`: how many times as fast the first entry is as each other one. `growth`: how
   * much of the first entry's rate each other one keeps.
   */
  readonly kind: 'race' | 'growth'
  /** How many microseconds longer one operation alone may take with each other entry than with the first. */
  readonly addedMicros?: number
  /** The names of entries of ours that are compared with all others' as well, in a note. */
  readonly alsoFirst?: readonly string[]
  readonly entries: readonly Entry[]
}

export interface Entry {
  readonly name: string
  readonly contestant: Contestant
  /** Whether it is this library, too, though not the first of its row. */
  readonly ours?: true
  /** The ratio that we want to see, at least. */
  readonly target?: number | undefined
  /** Instead of the row's. */
  readonly tasks?: number
}

/** How this library is called in tables and charts. */
export const OURSELVES = 'pg-managed-connection'

/** What is the same in most rows. */
export const TRANSACTIONS = {
  unit: 'transactions',
  work: selectNumber(),
  tasks: 64,
  delayMillis: 0,
  kind: 'race',
} as const
