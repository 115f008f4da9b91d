/** Answers in pg's manner: by a callback where one was given, else by a promise. */
import type { QueryCallback } from '../api/query.js'
import { clock } from '../util/clock.js'

/** Where a callback stands among pg's arguments; undefined where a promise is wanted. */
export function callbackOf(config: unknown, values: unknown, callback: unknown): QueryCallback | undefined {
  const given =
    typeof values === 'function' ? values : (callback ?? (config as { callback?: unknown } | null)?.callback)
  if (given === undefined) return undefined
  if (typeof given === 'function') return given as QueryCallback
  // As pg says it; whoever looks for options here has found them elsewhere in every other verb.
  const hint =
    typeof given === 'object' ? '; options stand in the first argument: { text, values, timeoutMillis }' : ''
  throw new TypeError(`callback is not a function${hint}`)
}

/**
 * Gives the promise back, or calls `callback` with what it settles with: on a tick of its own, where what it throws is
 * an uncaught exception and not a rejection.
 *
 * @param none what the callback is given where there is no error
 */
export function answerBy<T>(
  callback: ((...given: never[]) => void) | undefined,
  answered: Promise<T>,
  none: null | undefined,
): Promise<T> | undefined {
  if (callback === undefined) return answered
  const listener = callback as (error: unknown, result?: unknown) => void
  answered.then(
    (result) => clock.nextTick(listener, none, result),
    (error: unknown) => clock.nextTick(listener, error, undefined),
  )
  return undefined
}
