/**
 * The shape of `pg.Pool` over one shared connection, for libraries and code that were written for a pool.
 *
 * @module pg-managed-connection/pool
 */
import type { Pool, PoolClient } from 'pg'
import type { Manager } from '../index.js'
import { resolvePoolOptions, type PoolFaceOptions } from './options.js'
import { PoolOfOne, type LeakEvent } from './pool-of-one.js'

export type { LeakEvent, PoolFaceOptions }

/** Accepted wherever a `pg.Pool` is. */
export interface ManagedPool extends Pool, AsyncDisposable {
  on(event: 'leak', listener: (leak: LeakEvent) => void): this
  on<K extends 'error' | 'release' | 'connect' | 'acquire' | 'remove'>(
    event: K,
    listener: K extends 'error' | 'release'
      ? (err: Error, client: PoolClient) => void
      : (client: PoolClient) => void,
  ): this
}

/**
 * The manager in the shape of a `pg.Pool` of one, with pg's rules: each statement commits by itself, BEGIN is
 * written by hand, `release(error)` drops the connection. A client released inside a transaction is rolled back
 * before anyone else is served, and reported.
 *
 * @throws TypeError or RangeError for an option, which it names
 *
 * ```ts
 * import { asPool } from 'pg-managed-connection/pool'
 *
 * const pool = asPool(manager)
 * const client = await pool.connect()
 * try {
 *   await client.query('BEGIN')
 *   await client.query('SELECT 1')
 *   await client.query('COMMIT')
 * } finally {
 *   client.release()
 * }
 * await pool.end()
 * ```
 */
export function asPool(manager: Manager, options: PoolFaceOptions = {}): ManagedPool {
  if (typeof (manager as Partial<Manager> | null | undefined)?.acquire !== 'function') {
    throw new TypeError('asPool() takes a manager')
  }
  // pg's types declare members that only its own classes have; what is not here is in the documentation.
  return new PoolOfOne(manager, resolvePoolOptions(options)) as unknown as ManagedPool
}
