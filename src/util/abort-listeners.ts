/**
 * Many callbacks on one AbortSignal, but one listener: a thousand waiters may share the signal of a shutdown, and
 * Node warns of a leak at the eleventh listener.
 */
import { reasonOf } from './abort-signals.js'
import { keepFrames } from './callers-frames.js'

interface Listening {
  readonly callbacks: Set<() => void>
  readonly listener: () => void
}

const listening = new WeakMap<AbortSignal, Listening>()

/** Calls `callback` when `signal` aborts, which it must not have done yet. Gives the function that undoes it. */
export function onAbort(signal: AbortSignal, callback: () => void): () => void {
  const { callbacks, listener } = listening.get(signal) ?? listen(signal)
  callbacks.add(callback)
  return () => {
    if (!callbacks.delete(callback) || callbacks.size > 0) return
    listening.delete(signal)
    signal.removeEventListener('abort', listener)
  }
}

function listen(signal: AbortSignal): Listening {
  const callbacks = new Set<() => void>()
  const listener = (): void => {
    listening.delete(signal)
    keepFrames(reasonOf(signal))
    for (const callback of callbacks) callback()
  }
  signal.addEventListener('abort', listener, { once: true })
  const entry = { callbacks, listener }
  listening.set(signal, entry)
  return entry
}
