/** What the parts of one worker's side share. */
import type { QueryResult } from 'pg'
import type { ToWorker } from '../protocol.js'
import type { Aborts } from './aborts.js'
import type { SharedManager } from './shared-manager.js'

export interface HostContext {
  readonly shared: SharedManager
  readonly aborts: Aborts
  say(entry: ToWorker): void
  /** Says that what has this number failed. */
  fail(id: number, error: unknown): void
  /** Says what came out of the statement or the batch of this number. */
  answer(id: number, result: QueryResult | readonly QueryResult[]): void
  /** The lease of this number is over; `retrySafe` is null where its worker was told so otherwise. */
  settled(lease: number, retrySafe: boolean | null): void
}

/** The holder, or the one who waited, is no more. */
export class WorkerGoneError extends Error {
  constructor() {
    super('the worker is gone, or waits no longer')
  }
}
