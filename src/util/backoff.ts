/** How long to wait before the next try, in milliseconds. */
export interface Backoff {
  readonly firstMillis: number
  readonly maxMillis: number
}

/**
 * The wait before try number `attempt` (0 = before the first repetition): doubling from `firstMillis` up to
 * `maxMillis`, of which a random half is taken off, so that many who failed together do not come back together.
 */
export function backoffMillis({ firstMillis, maxMillis }: Backoff, attempt: number, random: number): number {
  const ceiling = Math.min(maxMillis, firstMillis * 2 ** Math.min(attempt, 30))
  return ceiling / 2 + (ceiling / 2) * random
}
