/** Timers for times of any length. */

/** Node's timers count no further (2^31 - 1 ms, nearly 25 days): asked for more, they fire at once. */
export const LONGEST_TIMER_MILLIS = 2 ** 31 - 1

/** Calls `due` after `millis`. A time that timers cannot count is as good as for ever: there is no timer then. */
export function timerFor(millis: number, due: () => void): NodeJS.Timeout | undefined {
  return millis > LONGEST_TIMER_MILLIS ? undefined : setTimeout(due, Math.max(0, millis))
}
