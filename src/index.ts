/**
 * One PostgreSQL connection that many concurrent tasks share safely.
 *
 * @module pg-managed-connection
 */
export { ManagedConnection } from './face/managed-connection.js'
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
export type {
  AcquireOptions,
  BatchOptions,
  CloseOptions,
  IsolationLevel,
  ListenOptions,
  TransactionModes,
  TransactionOptions,
  UseOptions,
  WaitOptions,
} from './api/call-options.js'
export type { Connection, TransactionStatus } from './api/connection.js'
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
export type { Notification, Subscription } from './api/subscription.js'
export type { ConnectionParameters } from './conninfo/parameters.js'
export type { CommitOutcome } from './errors.js'
export type {
  ConnectEvent,
  HoldWarningEvent,
  ManagedConnectionEvents,
  NoticeEvent,
  RollbackEvent,
} from './events.js'
export type { ManagedConnectionOptions } from './options.js'
