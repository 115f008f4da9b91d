/** Runs a transaction again where it may succeed when it is done once more. */
import { isWorthRepeating } from '../lease/failures.js'
import { backoffMillis } from '../util/backoff.js'
import { pause } from '../util/pause.js'
import type { Lease } from '../api/ports.js'

/** Before the next attempt, in milliseconds. */
const BACKOFF = { firstMillis: 5, maxMillis: 1_000 }

/**
 * Makes up to `retries` more attempts after a serialization failure or a deadlock.
 *
 * @param attempt calls `onLease` with the lease that it was granted
 * @param isEnding says that nothing new is begun any more
 */
export async function repeat<T>(
  attempt: (onLease: (lease: Lease) => void) => Promise<T>,
  retries: number,
  signal: AbortSignal | undefined,
  isEnding: () => boolean,
): Promise<T> {
  for (let count = 0; ; count++) {
    let lease: Lease | null = null
    try {
      return await attempt((granted) => (lease = granted))
    } catch (error) {
      // What a text of the user's has committed must not be done twice.
      const repeatable = isWorthRepeating(error) && (lease as Lease | null)?.retrySafe === true
      if (count >= retries || !repeatable || isEnding()) throw error
    }
    await pause(backoffMillis(BACKOFF, count, Math.random()), signal)
  }
}
