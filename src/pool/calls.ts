/** What a query method was called with, in pg's many forms, and how those who asked are answered. */
import type { EventEmitter } from 'node:events'
import type { Submittable } from 'pg'
import { firstWords } from '../sql/classify.js'
import { clock } from '../util/clock.js'

/** pg's callbacks, as one. */
export type Callback = (error: Error | null | undefined, result?: unknown) => void

/** A submittable, with what pg calls beyond its published type. */
export interface SubmittableLike extends Submittable {
  handleError(error: Error, connection: null): void
  readonly destroyed?: boolean
}

export function isSubmittable(config: unknown): config is SubmittableLike {
  return typeof (config as { submit?: unknown } | null | undefined)?.submit === 'function'
}

/** A query's config and values without the callback, and the callback; undefined where a promise is wanted. */
export function readCall(
  config: unknown,
  values: unknown,
  callback: unknown,
): { config: unknown; values: unknown; callback: Callback | undefined } {
  const inConfig = (config as { callback?: unknown } | null | undefined)?.callback
  const given = typeof values === 'function' ? values : (callback ?? inConfig)
  return {
    config: inConfig === undefined ? config : { ...(config as object), callback: undefined },
    values: typeof values === 'function' ? undefined : values,
    callback: typeof given === 'function' ? (given as Callback) : undefined,
  }
}

/** The text, for messages. */
export function textOf(config: unknown): string | null {
  if (typeof config === 'string') return config
  const { text, cursor } = (config ?? {}) as { text?: unknown; cursor?: { text?: unknown } }
  const found = text ?? cursor?.text
  return typeof found === 'string' ? found : null
}

/** LISTEN is one of its statements; or it is done in a DO, for all that can be seen of that. */
export function isListen(text: string | null): boolean {
  if (text === null || !/\blisten\b/i.test(text)) return false
  return firstWords(text).some((word) => word === 'LISTEN' || word === 'DO')
}

export function listenRefusal(): Error {
  return new Error(
    'LISTEN was refused (refuseListen): a client that listens would keep the only connection; use listen() of the manager',
  )
}

/**
 * Answers a callback, or else with the promise. A callback has a tick of its own, so that what it throws is an uncaught
 * exception, as in pg.
 *
 * @param none what the callback is given where there is no error
 */
export function answer<T>(
  answered: Promise<T>,
  callback: Callback | undefined,
  none?: null,
): Promise<T> | undefined {
  if (callback === undefined) return answered
  answered.then(
    (result) => clock.nextTick(callback, none, result),
    (error: unknown) => clock.nextTick(callback, error),
  )
  return undefined
}

/** Emits an event. A listener that throws disturbs nobody: its error is an uncaught exception. */
export function tell(emitter: EventEmitter, event: string, ...args: unknown[]): void {
  try {
    emitter.emit(event, ...args)
  } catch (error) {
    clock.nextTick(() => {
      throw error
    })
  }
}
