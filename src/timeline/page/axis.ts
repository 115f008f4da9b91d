/** Where the lines of time are. */
import { duration } from '../durations.js'

export interface Tick {
  readonly millis: number
  readonly words: string
}

/** Steps that people count in: 1, 2 or 5, and as many noughts as it takes. */
function niceStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(least))
  const step = [1, 2, 5].find((digit) => digit * power >= least) ?? 10
  return step * power
}

export function ticks(from: number, span: number, most: number): Tick[] {
  const step = niceStep(span / Math.max(1, most))
  const first = Math.ceil(from / step)
  const last = Math.floor((from + span) / step)
  return Array.from({ length: last - first + 1 }, (_, index) => {
    const millis = (first + index) * step
    return { millis, words: wordsFor(millis, step) }
  })
}

/** As many digits as tell one line from the next. */
function wordsFor(millis: number, step: number): string {
  if (millis === 0) return '0'
  const [divisor, unit] =
    step >= 1_000 ? [1_000, 's'] : step >= 0.1 || millis >= 1_000 ? [1, 'ms'] : [0.001, 'µs']
  const digits = Math.max(0, -Math.floor(Math.log10(step / divisor) + 1e-9))
  return digits > 6 ? duration(millis) : `${(millis / divisor).toFixed(digits)} ${unit}`
}
