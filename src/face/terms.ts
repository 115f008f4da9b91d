/** What a call asks of the broker, from its options and the manager's. */
import { beginText } from '../lease/begin.js'
import { AUTOCOMMIT, DB_API, OWNED } from '../lease/terms.js'
import { hasSetting, readSettings } from '../sql/turn-settings.js'
import type { AcquireOptions, BatchOptions, TransactionOptions } from '../api/call-options.js'
import type { BatchTerms, CommitTerms, FaceOptions, LeaseTerms } from '../api/ports.js'

export function turnTerms(options: AcquireOptions, general: FaceOptions): LeaseTerms {
  const terms = (options.autocommit ?? general.autocommit) ? AUTOCOMMIT : DB_API
  const settings = readSettings(options)
  return settings === null ? terms : { ...terms, settings }
}

/** Throws a TypeError. */
export function transactionTerms(options: TransactionOptions, general: FaceOptions): LeaseTerms {
  const begin = beginText(options)
  const commitment = commitTerms(options, general)
  const settings = readSettings(options)
  if (begin === OWNED.begin && commitment === null && settings === null) return OWNED
  return checkedTerms({ ...OWNED, begin, commitment, settings })
}

/**
 * Throws a TypeError.
 *
 * @param explicit the implicit transaction of a single Sync will not do
 */
export function batchTerms(options: BatchOptions, general: FaceOptions, explicit: boolean): BatchTerms {
  const begin = beginText(options)
  const commitment = commitTerms(options, general)
  const isImplicit = !explicit && begin === OWNED.begin
  return checkedTerms({ begin: isImplicit ? null : begin, commitment, settings: readSettings(options) })
}

/** How a transaction of the library's is committed; null where its COMMIT is like any other. */
function commitTerms(
  options: TransactionOptions | BatchOptions,
  { groupCommit, verifyCommit }: FaceOptions,
): CommitTerms | null {
  const verify = options.verifyCommit ?? verifyCommit
  // What writes nothing has nothing to wait for.
  const group = options.accessMode !== 'read only' && (options.groupCommit ?? groupCommit)
  return group || verify !== false ? { group, verify } : null
}

/** Gives what it was given. Throws a TypeError for what cannot be had together. */
export function checkedTerms<T extends Pick<LeaseTerms, 'commitment' | 'settings'>>(terms: T): T {
  if (terms.commitment?.group !== true || !hasSetting(terms.settings, 'synchronous_commit')) return terms
  throw new TypeError(
    'groupCommit sets synchronous_commit for its transactions itself, so that settings must not have it',
  )
}
