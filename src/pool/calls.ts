/** What a query method was called with, in pg's many forms. */
import { clock } from '../util/clock.js'
import { firstWords } from '../sql/classify.js'
import type { Submittable } from 'pg'

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

/** Where pg looks for a callback; undefined where a promise is wanted. */
export function callbackOf(config: unknown, values: unknown, callback: unknown): Callback | undefined {
  const inConfig = (config as { callback?: unknown } | null | undefined)?.callback
  const given = typeof values === 'function' ? values : (callback ?? inConfig)
  return typeof given === 'function' ? (given as Callback) : undefined
}

/** The config without the callback, which is called by whoever has read it. */
export function withoutCallback(config: unknown): unknown {
  const { callback } = (config ?? {}) as { callback?: unknown }
  return callback === undefined ? config : { ...(config as object), callback: undefined }
}

/** The text, for messages. */
export function textOf(config: unknown): string | null {
  if (typeof config === 'string') return config
  const { text, cursor } = (config ?? {}) as { text?: unknown; cursor?: { text?: unknown } }
  const found = text ?? cursor?.text
  return typeof found === 'string' ? found : null
}

const LISTEN = /\blisten\b/i

/** LISTEN is one of its statements; or it is done in a DO, for all that can be seen of that. */
export function isListen(text: string | null): boolean {
  if (text === null || !LISTEN.test(text)) return false
  return firstWords(text).some((word) => word === 'LISTEN' || word === 'DO')
}

export function listenRefusal(): Error {
  return new Error(
    'LISTEN was refused (refuseListen): a client that listens would keep the only connection; use listen() of the manager',
  )
}

/** Calls back on a tick of its own, so that what the callback throws is an uncaught exception, as in pg. */
export function callBack(answered: Promise<unknown>, callback: Callback): void {
  answered.then(
    (result) => clock.nextTick(callback, undefined, result),
    (error: unknown) => clock.nextTick(callback, error),
  )
}
