/**
 * What `acquire` and `release` listeners are given where a query of the pool travels without a client of its own, and
 * `remove` where there never was one. What it is asked is a query of the pool.
 */
import { EventEmitter } from 'node:events'
import { ConnectionReleasedError } from '../errors.js'
import { callBack, callbackOf, withoutCallback } from './calls.js'
import { escapeIdentifier, escapeLiteral } from './escape.js'

/** Asks the manager, whatever the listeners. */
export type Ask = (config: unknown, values: unknown) => Promise<unknown>

export class PassingClient extends EventEmitter {
  #ask: Ask | null

  /** @param ask null where it is over already */
  constructor(ask: Ask | null) {
    super()
    this.#ask = ask
  }

  /** Nothing is asked of it any more. */
  pass(): void {
    this.#ask = null
  }

  query(config: unknown, values?: unknown, callback?: unknown): unknown {
    const listener = callbackOf(config, values, callback)
    const given = typeof values === 'function' ? undefined : values
    const ask = this.#ask ?? (() => Promise.reject(new ConnectionReleasedError()))
    const answered = ask(withoutCallback(config), given)
    return listener === undefined ? answered : callBack(answered, listener)
  }

  /** It gives itself back. */
  release(): void {}

  getTransactionStatus(): 'I' | null {
    return this.#ask === null ? null : 'I'
  }

  escapeIdentifier(name: string): string {
    return escapeIdentifier(name)
  }

  escapeLiteral(text: string): string {
    return escapeLiteral(text)
  }
}

Object.defineProperty(PassingClient, 'name', { value: 'Client' })
