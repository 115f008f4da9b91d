/** Nested transactions of one turn, whose callbacks run in the worker. */
import { ConnectionReleasedError } from '../../errors.js'
import { standIn } from './stand-in.js'
import type { Connection } from '../../index.js'
import type { Thrown, WireLeaving } from '../protocol.js'

interface Nested {
  readonly handle: Connection
  /** Settles the callback. */
  end(error: Error | null): void
  /** Settles with the transaction. */
  over: Promise<void>
}

export class NestedTransactions {
  readonly #open = new Map<number, Nested>()

  /** What the callback of the transaction of this number was given, until the transaction is settled. */
  handle(number: number): Connection | undefined {
    return this.#open.get(number)?.handle
  }

  /** Resolves once it has begun. */
  open(parent: Connection, number: number): Promise<void> {
    return new Promise((begun, failed) => {
      const over = parent.transaction(
        (handle) =>
          new Promise<void>((resolve, reject) => {
            const end = (error: Error | null): void => (error === null ? resolve() : reject(error))
            this.#open.set(number, { handle, end, over })
            begun()
          }),
      )
      over.catch(failed)
    })
  }

  /** The callback has settled. Resolves once the transaction has. */
  async close(number: number, left: WireLeaving, thrown: Thrown): Promise<void> {
    const nested = this.#open.get(number)
    if (nested === undefined) throw new ConnectionReleasedError('transaction')
    const error = left === 'threw' ? standIn(thrown) : null
    nested.end(error)
    try {
      await nested.over
    } catch (failure) {
      if (failure !== error) throw failure
    } finally {
      this.#open.delete(number)
    }
  }

  /** Nobody ends them any more. */
  kill(): void {
    for (const nested of this.#open.values()) nested.end(standIn(null))
    this.#open.clear()
  }
}
