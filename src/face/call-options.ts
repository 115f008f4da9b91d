/** Checks of the options of single calls. */
import type { AcquireOptions, BatchOptions, TransactionOptions, WaitOptions } from '../api/call-options.js'
import type { Wait } from '../api/ports.js'
import { beginText } from '../lease/begin.js'
import { checkBoolean, checkCount, checkMillis } from '../options.js'
import { checkSignal } from '../util/abort-signals.js'

/** Checks what is common to all calls that wait. Throws a TypeError or RangeError that names the option. */
export function readWait(options: WaitOptions, defaults: { readonly acquireTimeoutMillis: number }): Wait {
  const { signal, timeoutMillis, detached } = options
  if (timeoutMillis !== undefined) checkMillis('timeoutMillis', timeoutMillis)
  if (signal !== undefined) checkSignal(signal)
  if (detached !== undefined) checkBoolean('detached', detached)
  return { timeoutMillis: timeoutMillis ?? defaults.acquireTimeoutMillis, signal }
}

export function readAutocommit(
  { autocommit }: AcquireOptions,
  defaults: { readonly autocommit: boolean },
): boolean {
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

/** PostgreSQL cuts longer identifiers, and notifications would come under another name. */
export function checkChannel(channel: unknown): void {
  const fits = typeof channel === 'string' && channel !== '' && !channel.includes('\0')
  if (!fits || Buffer.byteLength(channel) > 63) throw new TypeError('a channel is a name of 1 to 63 bytes')
}
