/** Nested transactions of one turn, whose callbacks run in the worker. */
import { ConnectionReleasedError } from '../../errors.js'
import { standIn } from './stand-in.js'
import type { Connection } from '../../index.js'
import type { Thrown, WireLeaving } from '../protocol.js'

interface Nested {
  /** Settles the callback. */
  end(error: Error | null): void
  /** Settles with the transaction. */
  over: Promise<void>
}

export class NestedTransactions {
  readonly #handles: Map<number, Connection>
  readonly #open = new Map<number, Nested>()

  /** `handles` are those of the turn, by their numbers. */
  constructor(handles: Map<number, Connection>) {
    this.#handles = handles
  }

  /** Resolves once it has begun. */
  open(parent: Connection, number: number): Promise<void> {
    return new Promise((begun, failed) => {
      const over = parent.transaction(
        (connection) =>
          new Promise<void>((resolve, reject) => {
            const end = (error: Error | null): void => (error === null ? resolve() : reject(error))
            this.#handles.set(number, connection)
            this.#open.set(number, { end, over })
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
    this.#open.delete(number)
    const error = left === 'threw' ? standIn(thrown) : null
    nested.end(error)
    try {
      await nested.over
    } catch (failure) {
      if (failure !== error) throw failure
    } finally {
      this.#handles.delete(number)
    }
  }

  /** Nobody ends them any more. */
  kill(): void {
    for (const nested of this.#open.values()) nested.end(standIn(null))
    this.#open.clear()
  }
}
