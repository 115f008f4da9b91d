/** Answers in pg's manner: by a callback where one was given, else by a promise. */
import type { QueryCallback } from '../api/query.js'
import { clock } from '../util/clock.js'

/** Where a callback stands among pg's arguments; undefined where a promise is wanted. */
export function callbackOf(config: unknown, values: unknown, callback: unknown): QueryCallback | undefined {
  const given =
    typeof values === 'function' ? values : (callback ?? (config as { callback?: unknown } | null)?.callback)
  if (given === undefined) return undefined
  if (typeof given !== 'function') throw new TypeError('callback is not a function')
  return given as QueryCallback
}

/** Gives the promise back, or calls `callback` with what it settles with. */
export function answerBy(
  callback: QueryCallback | undefined,
  answered: Promise<unknown>,
): Promise<unknown> | undefined {
  if (callback === undefined) return answered
  const listener = callback as (error: unknown, result: unknown) => void
  // On a tick of its own, where what it throws is an uncaught exception and not a rejection.
  answered.then(
    (result) => clock.nextTick(listener, null, result),
    (error: unknown) => clock.nextTick(listener, error, undefined),
  )
  return undefined
}
