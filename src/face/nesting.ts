/**
 * The order of use among the handles of one lease: its own, and those of nested transactions. While a nested
 * transaction is open its parent refuses everything, and so does every handle while a stream is being read.
 */
import { ConnectionReleasedError, TransactionOrderError } from '../errors.js'
import { runCallback } from '../lease/holder-context.js'
import type { Lease, NestedTransaction } from '../api/ports.js'

/** What all handles of one lease share. */
export interface LeaseUse {
  readonly lease: Lease
  /** How many streams are being read. */
  streams: number
  /** The nested transactions that are open, as they will settle; null before the first. */
  nested: Map<Level, Promise<unknown>> | null
}

/** The failures of nested transactions that nobody waits for are reported by the one who leaves. */
export function markNestedHandled({ nested }: LeaseUse): void {
  for (const running of nested?.values() ?? []) running.catch(() => {})
}

/** One level of a handle's transactions: the lease itself, or a nested transaction. */
export class Level {
  /** The library ends it, so commit() and rollback() are out of order. */
  readonly owned: boolean
  readonly #use: LeaseUse
  #state: 'open' | 'waits for a nested transaction' | 'over' = 'open'

  constructor(use: LeaseUse, owned: boolean) {
    this.#use = use
    this.owned = owned
  }

  get over(): boolean {
    return this.#state === 'over'
  }

  /** A nested transaction of this level is open. */
  get isParent(): boolean {
    return this.#state === 'waits for a nested transaction'
  }

  /** Why its handle may not be used; null while it may. */
  refusal(forEnding = false): Error | null {
    const { lease, streams } = this.#use
    const refusal = lease.refusal(forEnding)
    if (refusal !== null) return refusal
    if (this.over) return new ConnectionReleasedError('transaction')
    if (this.isParent) {
      return new TransactionOrderError(
        'a nested transaction is open; use the handle that its callback was given',
      )
    }
    if (streams === 0) return null
    return new TransactionOrderError(
      'a stream of this connection is being read; read it to its end or leave it first, or this would wait for ever',
    )
  }

  /** Runs `work` in a nested transaction; it is given the level of that. */
  run<T>(manager: object, work: (level: Level) => T | PromiseLike<T>): Promise<T> {
    const level = new Level(this.#use, true)
    const running = this.#nest(manager, level, work)
    const nested = (this.#use.nested ??= new Map())
    // Without a reaction of its own, which would hide from stacks who waits for it.
    nested.set(level, running)
    return running
  }

  async #nest<T>(manager: object, level: Level, work: (level: Level) => T | PromiseLike<T>): Promise<T> {
    this.#state = 'waits for a nested transaction'
    try {
      return await level.#perform(manager, await this.#use.lease.nest(), work)
    } finally {
      this.#use.nested?.delete(level)
      level.#state = 'over'
      if (!this.over) this.#state = 'open'
    }
  }

  async #perform<T>(
    manager: object,
    transaction: NestedTransaction,
    work: (level: Level) => T | PromiseLike<T>,
  ): Promise<T> {
    let result: T
    try {
      // The holder may have left in between.
      const refusal = this.#use.lease.refusal()
      if (refusal !== null) throw refusal
      result = await runCallback(manager, () => work(this))
    } catch (error) {
      this.#close()
      await transaction.abort()
      throw error
    }
    await transaction.finish(this.#close())
    return result
  }

  /** Its work has settled. True where that has left a nested transaction of its own open. */
  #close(): boolean {
    const leftOpen = this.isParent
    this.#state = 'over'
    if (leftOpen) markNestedHandled(this.#use)
    return leftOpen
  }
}
