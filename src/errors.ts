/**
 * Every error this library makes, and nothing else: all of it is exported. One base, a stable `code`, facts in fields,
 * the `cause` kept.
 *
 * Errors that the server sends are not wrapped: they pass through as pg's own `DatabaseError`. An aborted
 * `signal` rejects with `signal.reason`.
 */
export { ManagedConnectionError } from './errors/base.js'
export * from './errors/connection-errors.js'
export * from './errors/transaction-errors.js'
export * from './errors/turn-errors.js'
