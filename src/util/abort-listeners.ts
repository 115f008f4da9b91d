/**
 * Many callbacks on one AbortSignal, but one listener: a thousand waiters may share the signal of a shutdown, and
 * Node warns of a leak at the eleventh listener. Most signals are one request's, and have one callback.
 */
import { reasonOf } from './abort-signals.js'
import { keepFrames } from './callers-frames.js'

const ONCE = { once: true } as const

/** The listener of one signal. */
class Listening {
  readonly #signal: AbortSignal
  #first: (() => void) | null
  #others: Set<() => void> | null = null

  constructor(signal: AbortSignal, callback: () => void) {
    this.#signal = signal
    this.#first = callback
    signal.addEventListener('abort', this, ONCE)
  }

  add(callback: () => void): void {
    this.#others ??= new Set()
    this.#others.add(callback)
  }

  remove(callback: () => void): void {
    if (this.#first === callback) this.#first = null
    else this.#others?.delete(callback)
    if (this.#first !== null || (this.#others?.size ?? 0) > 0) return
    // Undone before: another may listen to the signal by now.
    if (listening.get(this.#signal) !== this) return
    listening.delete(this.#signal)
    this.#signal.removeEventListener('abort', this)
  }

  handleEvent(): void {
    listening.delete(this.#signal)
    keepFrames(reasonOf(this.#signal))
    this.#first?.()
    for (const callback of this.#others ?? []) callback()
  }
}

const listening = new WeakMap<AbortSignal, Listening>()

/** Calls `callback` when `signal` aborts, which it must not have done yet. Gives the function that undoes it. */
export function onAbort(signal: AbortSignal, callback: () => void): () => void {
  let entry = listening.get(signal)
  if (entry === undefined) listening.set(signal, (entry = new Listening(signal, callback)))
  else entry.add(callback)
  return () => entry.remove(callback)
}
