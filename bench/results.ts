/** What came out, as it is written to the JSON file. */
import type { Environment } from './environment.js'
import type { Row } from './row.js'
import { ratios, summarise, type Summary } from './statistics.js'

export interface Results {
  readonly environment: Environment
  readonly settings: Settings
  readonly rows: readonly RowResult[]
  readonly footprint: Footprint | null
  /** What was left out, and why. */
  readonly notes: readonly string[]
}

export interface Settings {
  readonly mode: 'full' | 'quick'
  readonly rounds: number
  readonly sampleMillis: number
  /** Before the first round, for each entry: until then the compiler is still at work. */
  readonly warmUpMillis: number
}

export interface RowResult extends Pick<Row, 'id' | 'title' | 'unit' | 'tasks' | 'delayMillis' | 'kind'> {
  readonly entries: readonly EntryResult[]
}

export interface EntryResult {
  readonly name: string
  readonly tasks: number
  readonly ours?: true
  /** Operations per second, round by round. */
  readonly rates: readonly number[]
  readonly median: number
  /** Null for the first entry, with which the others are compared. */
  readonly comparison: Comparison | null
}

/** The median of the rounds' ratios, not the ratio of medians: what disturbs a round disturbs both. */
export interface Comparison {
  readonly ratio: Summary
  /** Null where we only want to know. */
  readonly target: number | null
  readonly met: boolean | null
}

/** Heap that a pending `acquire()` keeps from collection. */
export interface Footprint {
  readonly bytes: Summary
  readonly pending: number
  readonly target: number
  readonly met: boolean
}

export function compare(
  kind: Row['kind'],
  first: readonly number[],
  other: readonly number[],
  target: number | null,
): Comparison {
  const ratio = summarise(kind === 'race' ? ratios(first, other) : ratios(other, first))
  return { ratio, target, met: target === null ? null : ratio.median >= target }
}

/** How many targets there are, and how many of them were met. */
export function countTargets({ rows, footprint }: Results): { met: number; all: number } {
  const compared = rows.flatMap(({ entries }) => entries.map(({ comparison }) => comparison?.met ?? null))
  const judged = [...compared, footprint?.met ?? null].filter((met) => met !== null)
  return { met: judged.filter(Boolean).length, all: judged.length }
}
