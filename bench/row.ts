/** What is measured, before it has been. */
import type { Contestant } from './contestants/contestant.js'
import type { Work } from './work.js'

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
  /**
   * How the ratios are read. `race`: how many times as fast the first entry is as each other one. `growth`: how
   * much of the first entry's rate each other one keeps.
   */
  readonly kind: 'race' | 'growth'
  /** How many microseconds longer one operation alone may take with each other entry than with the first. */
  readonly addedMicros?: number
  readonly entries: readonly Entry[]
}

export interface Entry {
  readonly name: string
  readonly contestant: Contestant
  /** The ratio that we want to see, at least. */
  readonly target?: number
  /** Instead of the row's. */
  readonly tasks?: number
}
