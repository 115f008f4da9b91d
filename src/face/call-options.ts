/** The options of single calls, and their checks. */
import { checkBoolean, checkCount, checkMillis } from '../options.js'
import { beginText } from '../lease/begin.js'
import { checkSignal } from '../util/abort-signals.js'
import type { ResolvedOptions } from '../options.js'
import type { JoinOptions } from '../broker/wait-queue.js'
import type { TransactionModes } from '../lease/begin.js'

/** How long and under which signal a turn is waited for. */
export interface WaitOptions {
  /** Leaves the line, or gives up connecting, when it aborts; the call rejects with `signal.reason`. */
  readonly signal?: AbortSignal | undefined
  /**
   * How long the turn is waited for, connecting included, in milliseconds. 0 = do not wait in line, `Infinity` =
   * for ever. Default: the option `acquireTimeoutMillis`.
   */
  readonly timeoutMillis?: number | undefined
  /**
   * Waits for its turn even inside a callback that holds the connection: for work that the callback does not
   * await. Default: false.
   */
  readonly detached?: boolean | undefined
}

/** Options of `acquire` and `tryAcquire`. */
export interface AcquireOptions extends WaitOptions {
  /** No implicit BEGIN: each statement commits by itself. Default: the option `autocommit`. */
  readonly autocommit?: boolean | undefined
}

/** Options of `use`. */
export interface UseOptions extends AcquireOptions {
  /** Close the server connection after this holder. Default: false. */
  readonly close?: boolean | undefined
}

/** Options of `transaction`. */
export interface TransactionOptions extends WaitOptions, TransactionModes {
  /**
   * How many times `work` is run again when the transaction fails with 40001 (serialization) or 40P01 (deadlock),
   * with backoff; the turn is given up meanwhile and asked for again at the end of the line. Default: 0.
   */
  readonly retries?: number | undefined
  /** Close the server connection after this holder. Default: false. */
  readonly close?: boolean | undefined
}

/** Options of `batch`. */
export interface BatchOptions extends WaitOptions, TransactionModes {}

/** Options of `listen`. */
export interface ListenOptions extends WaitOptions {
  /**
   * How many notifications may wait to be read; one more ends the subscription with `SubscriptionOverflowError`.
   * Default: 10,000.
   */
  readonly maxBuffered?: number | undefined
}

/** Options of `close`. */
export type CloseOptions = Pick<WaitOptions, 'detached'>

/** Checks what is common to all calls that wait. Throws a TypeError or RangeError that names the option. */
export function readWait(options: WaitOptions, defaults: ResolvedOptions): JoinOptions {
  const { signal, timeoutMillis, detached } = options
  if (timeoutMillis !== undefined) checkMillis('timeoutMillis', timeoutMillis)
  if (signal !== undefined) checkSignal(signal)
  if (detached !== undefined) checkBoolean('detached', detached)
  return { timeoutMillis: timeoutMillis ?? defaults.acquireTimeoutMillis, signal }
}

export function readAutocommit({ autocommit }: AcquireOptions, defaults: ResolvedOptions): boolean {
  if (autocommit !== undefined) checkBoolean('autocommit', autocommit)
  return autocommit ?? defaults.autocommit
}

export function readClose({ close }: { readonly close?: boolean | undefined }): boolean {
  if (close !== undefined) checkBoolean('close', close)
  return close ?? false
}

export function readRetries({ retries }: TransactionOptions): number {
  if (retries !== undefined) checkCount('retries', retries)
  return retries ?? 0
}

/** The BEGIN of a batch; null where the implicit transaction of a single Sync will do. */
export function readBatchBegin(options: BatchOptions): string | null {
  const text = beginText(options)
  return text === 'BEGIN' ? null : text
}
