/**
 * The shape of `pg.Pool` over one shared connection, for libraries and code that were written for a pool.
 *
 * @module pg-managed-connection/pool
 */
export { asPool, type ManagedPool } from './as-pool.js'
export type { LeakEvent } from './leak.js'
export type { PoolFaceOptions } from './options.js'
