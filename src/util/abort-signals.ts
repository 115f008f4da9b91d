/**
 * Signals of any make: those of another realm (a browser's, in tests that run in jsdom) and those of libraries are no
 * instances of this realm's class, and the older ones know no reason.
 */
import { isError } from './thrown.js'

/** Checks a signal that a call gives. Throws a TypeError. */
export function checkSignal(signal: unknown): void {
  const { aborted, addEventListener, removeEventListener } = (signal ?? {}) as Partial<AbortSignal>
  const isListenable = typeof addEventListener === 'function' && typeof removeEventListener === 'function'
  if (typeof signal === 'object' && typeof aborted === 'boolean' && isListenable) return
  throw new TypeError('signal must be an AbortSignal')
}

/** What an aborted signal's callers are rejected with. */
export function reasonOf(signal: AbortSignal): unknown {
  const reason: unknown = signal.reason
  return reason === undefined ? new DOMException('This operation was aborted', 'AbortError') : reason
}

/** What stands for a reason where there has to be an error. */
const reasons = new WeakMap<Error, { readonly reason: unknown }>()

/** An error for a reason, which may be anything: the reason itself where it is one, else what `createError` makes. */
export function errorForReason(reason: unknown, createError: () => Error): Error {
  if (isError(reason)) return reason
  const error = createError()
  reasons.set(error, { reason })
  return error
}

/** What the error stands for. */
export function reasonBehind(error: Error): unknown {
  const known = reasons.get(error)
  return known === undefined ? error : known.reason
}

/** Throws the reason of a signal that is aborted. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw reasonOf(signal)
}
