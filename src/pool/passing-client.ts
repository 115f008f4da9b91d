import { ConnectionReleasedError } from '../errors.js'
import { answer, readCall } from './calls.js'
import { ClientShape } from './pg.js'

/** Asks the manager, whatever the listeners. */
export type Ask = (config: unknown, values: unknown) => Promise<unknown>

/**
 * What `acquire` and `release` listeners are given where a query of the pool travels without a client of its own, and
 * `remove` where there never was one. What it is asked is a query of the pool.
 */
export class PassingClient extends ClientShape {
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
    const call = readCall(config, values, callback)
    const ask = this.#ask ?? (() => Promise.reject(new ConnectionReleasedError()))
    return answer(ask(call.config, call.values), call.callback)
  }

  /** It gives itself back. */
  release(): void {}

  getTransactionStatus(): 'I' | null {
    return this.#ask === null ? null : 'I'
  }
}

Object.defineProperty(PassingClient, 'name', { value: 'Client' })
