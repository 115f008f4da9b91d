/** What is left of many measurements. */

export interface Summary {
  readonly median: number
  readonly low: number
  readonly high: number
}

/** The median and the extremes. Throws when there is nothing to summarise. */
export function summarise(values: readonly number[]): Summary {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length / 2
  const median = (sorted[Math.ceil(middle) - 1]! + sorted[Math.floor(middle)]!) / 2
  if (!Number.isFinite(median)) throw new Error(`there is no median of [${values.join(', ')}]`)
  return { median, low: sorted[0]!, high: sorted.at(-1)! }
}

/** Round by round, how many times as fast the one was as the other. */
export function ratios(ones: readonly number[], others: readonly number[]): number[] {
  return ones.map((one, round) => one / others[round]!)
}
