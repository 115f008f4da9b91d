/** Queries of the pool itself: with a client of their own, which they give back, or without one. */
import type { DriverSubmittable } from '../api/ports.js'
import { ConnectionReleasedError, UncommittedTransactionError } from '../errors.js'
import { answerBy } from '../face/answer-by.js'
import { readCall, textOf } from './calls.js'
import { ClientShape } from './pg.js'
import type { PooledClient } from './pooled-client.js'

/** Asks one query, which has the same outcome as one that travels without a client. */
export async function queryOnce(client: PooledClient, config: unknown, values: unknown): Promise<unknown> {
  try {
    const result = await client.query(config, values)
    if (client.getTransactionStatus() !== 'T') return result
    throw new UncommittedTransactionError({ statement: textOf(config), retrySafe: false })
  } finally {
    const status = client.getTransactionStatus()
    // Where that fails the connection is lost, and the transaction with it.
    if (status === 'T' || status === 'E') await Promise.resolve(client.query('ROLLBACK')).catch(() => {})
    client.release()
  }
}

/** The submittable speaks until it is over; what is asked behind it is answered then. Never rejects. */
export async function submit(
  connected: Promise<PooledClient>,
  submittable: DriverSubmittable & { readonly destroyed?: boolean },
  values: unknown,
  callback: unknown,
): Promise<void> {
  let client: PooledClient
  try {
    client = await connected
  } catch (error) {
    submittable.handleError(error as Error, null as never)
    return
  }
  try {
    // A stream that was destroyed while it waited would be read by nobody.
    if (submittable.destroyed !== true) {
      client.query(submittable, values, callback)
      await client.settled()
    }
  } catch {
    // The submittable has been told.
  } finally {
    client.release()
  }
}

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
    return answerBy(call.callback, ask(call.config, call.values), undefined)
  }

  /** It gives itself back. */
  release(): void {}

  getTransactionStatus(): 'I' | null {
    return this.#ask === null ? null : 'I'
  }
}

Object.defineProperty(PassingClient, 'name', { value: 'Client' })
