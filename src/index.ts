/**
 * One PostgreSQL connection that many concurrent tasks share safely.
 *
 * @module pg-managed-connection
 */
export { ManagedConnection } from './face/managed-connection.js'
export * from './errors.js'
export { createReceiptTable, purgeReceipts, type ReceiptTableOptions } from './commit/receipt-table.js'
export { DatabaseError } from './pg/driver.js'
export type * from './api/call-options.js'
export type * from './api/connection.js'
export type { EndOptions, Manager, ManagerStats } from './api/manager.js'
export type {
  BatchResults,
  HolderQuery,
  OneShotQuery,
  QueryCallback,
  QueryConfig,
  StatementOptions,
  StreamOptions,
} from './api/query.js'
export type * from './api/subscription.js'
export type * from './api/tracing.js'
export type { ConnectionParameters } from './conninfo/parameters.js'
export type { ConninfoSource } from './conninfo/plans.js'
export type * from './events.js'
export type { Logger, ManagedConnectionOptions, VerifyCommit } from './options.js'
