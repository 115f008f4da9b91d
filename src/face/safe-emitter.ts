import { AsyncResource } from 'node:async_hooks'
import { EventEmitter } from 'node:events'
import { runOutside } from '../lease/holder-context.js'
import { clock } from '../util/clock.js'
import type { EventSink } from '../api/ports.js'
import type { ManagedConnectionEvents } from '../events.js'

/** Those of an EventEmitter that have to do with listeners. */
const METHODS = [
  ...(['on', 'once', 'off', 'addListener', 'removeListener', 'removeAllListeners', 'emit'] as const),
  ...(['prependListener', 'prependOnceListener', 'listeners', 'rawListeners', 'listenerCount'] as const),
  ...(['eventNames', 'getMaxListeners', 'setMaxListeners'] as const),
]

/**
 * An EventEmitter whose listeners run outside of any holder's context, and disturb nobody when they throw: their
 * error is thrown again on a later tick, where it is an uncaught exception like any other.
 */
export class SafeEmitter extends EventEmitter<ManagedConnectionEvents> {
  readonly #context = new AsyncResource('pg-managed-connection')

  /** What the broker tells events to: it can emit them, and cannot listen. */
  protected sink(): EventSink {
    return {
      manager: this,
      tell: (event, ...args) => this.#tell(event, ...args),
      listens: (event) => this.listenerCount(event) > 0,
    }
  }

  /** Whoever listens to this one listens to `other`. */
  protected sendOn(other: SafeEmitter): void {
    for (const name of METHODS) {
      const method = other[name] as (...args: unknown[]) => unknown
      const value = (...args: unknown[]): unknown => {
        const result = method.apply(other, args)
        return result === other ? this : result
      }
      Object.defineProperty(this, name, { value })
    }
  }

  #tell<K extends keyof ManagedConnectionEvents>(event: K, ...args: ManagedConnectionEvents[K]): void {
    const listeners = this.rawListeners(event) as ((...args: ManagedConnectionEvents[K]) => void)[]
    if (listeners.length === 0) return
    this.#context.runInAsyncScope(() => runOutside(() => this.#call(listeners, args)))
  }

  #call<A extends unknown[]>(listeners: ((...args: A) => void)[], args: A): void {
    for (const listener of listeners) {
      try {
        listener.apply(this, args)
      } catch (error) {
        clock.nextTick(() => {
          throw error
        })
      }
    }
  }
}
