/**
 * Time that passes only when it is told to: the clock and the timers that the package uses are replaced, so that a
 * timer may fire at any moment of a schedule, and a schedule of many seconds takes a millisecond.
 */
import { syncBuiltinESMExports } from 'node:module'
import timersPromises from 'node:timers/promises'
import { Random } from '../random.js'
import { internal } from '../internals.js'

const { clock } = await internal('clock')

/** What stands for node's Timeout. */
class VirtualTimer {
  readonly dueAt: number
  readonly #fire: () => void

  constructor(dueAt: number, fire: () => void) {
    this.dueAt = dueAt
    this.#fire = fire
  }

  fire(): void {
    this.#fire()
  }

  ref(): this {
    return this
  }

  unref(): this {
    return this
  }
}

/** Replaces the clock from its construction until it is disposed of. One at a time. */
export class VirtualTime implements Disposable {
  now = 0
  #random = new Random(0)
  readonly #timers = new Set<VirtualTimer>()
  readonly #real = { setTimeout, clearTimeout, sleep: timersPromises.setTimeout, random: Math.random }
  readonly #realClock = { ...clock }

  constructor() {
    const set = (fire: (...given: unknown[]) => void, millis = 0, ...given: unknown[]): VirtualTimer =>
      this.#add(millis, () => fire(...given))
    const clear = (timer: VirtualTimer | undefined): void => void (timer && this.#timers.delete(timer))
    Object.assign(globalThis, { setTimeout: set, clearTimeout: clear })
    // The package has taken them at its load. Nothing lies in a socket here: what is to run behind that runs at once.
    Object.assign(clock, {
      now: () => this.now,
      wallNow: () => this.now,
      setTimeout: set,
      clearTimeout: clear,
      setImmediate: (run: () => void) => void run(),
      clearImmediate: () => {},
    })
    Object.defineProperty(performance, 'now', { value: () => this.now, configurable: true })
    timersPromises.setTimeout = ((millis: number, value: unknown, options: { signal?: AbortSignal } = {}) =>
      this.#sleep(millis, value, options.signal)) as typeof timersPromises.setTimeout
    syncBuiltinESMExports()
    Math.random = () => this.#random.next()
  }

  /** How many timers run. */
  get timers(): number {
    return this.#timers.size
  }

  /** Forgets every timer, and begins at 0 again, with chances that `seed` repeats. */
  reset(seed: number): void {
    this.#random = new Random(seed)
    this.#timers.clear()
    this.now = 0
  }

  /** Moves on to the time of the next timer and fires it. */
  fireNext(): void {
    let next: VirtualTimer | null = null
    for (const timer of this.#timers) if (next === null || timer.dueAt < next.dueAt) next = timer
    if (next === null) return
    this.#timers.delete(next)
    this.now = Math.max(this.now, next.dueAt)
    next.fire()
  }

  [Symbol.dispose](): void {
    const { sleep, random, ...globals } = this.#real
    Object.assign(globalThis, globals)
    Object.assign(clock, this.#realClock)
    delete (performance as { now?: unknown }).now
    timersPromises.setTimeout = sleep
    syncBuiltinESMExports()
    Math.random = random
  }

  #add(millis: number, fire: () => void): VirtualTimer {
    const timer = new VirtualTimer(this.now + Math.max(1, millis), fire)
    this.#timers.add(timer)
    return timer
  }

  #sleep(millis: number, value: unknown, signal: AbortSignal | undefined): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#timers.delete(timer)
        reject(signal!.reason as Error)
      }
      const timer = this.#add(millis, () => {
        signal?.removeEventListener('abort', onAbort)
        resolve(value)
      })
      if (signal?.aborted === true) onAbort()
      else signal?.addEventListener('abort', onAbort, { once: true })
    })
  }
}
