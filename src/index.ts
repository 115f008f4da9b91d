/**
 * One PostgreSQL connection that many concurrent tasks share safely.
 *
 * @module pg-managed-connection
 */
export { ManagedConnection } from './face/managed-connection.js'
export { Connection } from './face/connection.js'
export {
  AcquireTimeoutError,
  CommitRolledBackError,
  ConnectError,
  ConnectionLostError,
  ConnectionReleasedError,
  ConninfoError,
  HoldTimeoutError,
  ManagedConnectionError,
  ManagerEndedError,
  ReentrantAcquireError,
  StatementTimeoutError,
  SubscriptionOverflowError,
  TooManyWaitingError,
  TransactionEndedError,
  TransactionOrderError,
  UncommittedTransactionError,
  UnfinishedStatementError,
} from './errors.js'
export { DatabaseError } from './pg/driver.js'
export type { CommitOutcome } from './errors.js'
export type { ConnectionParameters } from './conninfo/parameters.js'
export type { TransactionStatus } from './face/connection.js'
export type {
  AcquireOptions,
  BatchOptions,
  CloseOptions,
  ListenOptions,
  TransactionOptions,
  UseOptions,
  WaitOptions,
} from './face/call-options.js'
export type {
  ConnectEvent,
  HoldWarningEvent,
  ManagedConnectionEvents,
  NoticeEvent,
  RollbackEvent,
} from './events.js'
export type { EndOptions, Manager, ManagerStats } from './api/manager.js'
export type { ManagedConnectionOptions } from './options.js'
export type { StreamOptions } from './pipeline/row-stream.js'
export type { BatchResults, QueryCallback, QueryConfig, StatementOptions } from './face/query-arguments.js'
export type { Notification, Subscription } from './listen/subscription.js'
export type { IsolationLevel, TransactionModes } from './lease/begin.js'
