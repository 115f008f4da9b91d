/**
 * One PostgreSQL connection that many concurrent tasks share safely.
 *
 * @module pg-managed-connection
 */
export { ManagedConnection } from './managed-connection.js'
export { Connection } from './connection.js'
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
export { DatabaseError } from './driver/pg-driver.js'
export type { CommitOutcome } from './errors.js'
export type { ConnectionParameters } from './conninfo/parameters.js'
export type { TransactionStatus } from './connection.js'
export type {
  AcquireOptions,
  BatchOptions,
  CloseOptions,
  ListenOptions,
  TransactionOptions,
  UseOptions,
  WaitOptions,
} from './call-options.js'
export type {
  ConnectEvent,
  HoldWarningEvent,
  ManagedConnectionEvents,
  NoticeEvent,
  RollbackEvent,
} from './events.js'
export type { EndOptions, Manager, ManagerStats } from './manager.js'
export type { ManagedConnectionOptions } from './options.js'
export type { StreamOptions } from './driver/row-stream.js'
export type { BatchResults, QueryCallback, QueryConfig, StatementOptions } from './query-arguments.js'
export type { Notification, Subscription } from './session/subscription.js'
export type { IsolationLevel, TransactionModes } from './transaction/begin.js'
