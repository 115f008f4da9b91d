/** What a query method was called with, in pg's many forms, and how listeners are told. */
import type { EventEmitter } from 'node:events'
import { firstWords } from '../sql/classify.js'
import { clock } from '../util/clock.js'

/** pg's callbacks, as one. */
export type Callback = (error: Error | null | undefined, result?: unknown) => void

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
