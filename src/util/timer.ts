/**
 * Timers for times of any length. They look at the sockets before they judge: when the event loop was held up, by a
 * pause or a frozen machine, Node runs timers first, and what was answered in time has not been read yet.
 */
import { clock, inNobodysContext } from './clock.js'

/** Node's timers count no further (2^31 - 1 ms, nearly 25 days): asked for more, they fire at once. */
export const LONGEST_TIMER_MILLIS = 2 ** 31 - 1

/** One time to wait for. */
export interface Timer {
  /** It does not come any more. Harmless when it has. */
  stop(): void
  /** Keeps the process alive, as it does from the beginning. */
  ref(): void
  unref(): void
}

/** Calls `due` after `millis`. A time that timers cannot count is as good as for ever: there is no timer then. */
export function timerFor(millis: number, due: () => void): Timer | undefined {
  if (millis > LONGEST_TIMER_MILLIS) return undefined
  let immediate: NodeJS.Immediate | undefined
  const fire = (): void => {
    immediate = clock.setImmediate(due)
  }
  const timeout = inNobodysContext(() => clock.setTimeout(fire, Math.max(0, millis)))
  return {
    stop: () => {
      clock.clearTimeout(timeout)
      if (immediate !== undefined) clock.clearImmediate(immediate)
    },
    ref: () => void timeout.ref(),
    unref: () => void timeout.unref(),
  }
}
