/**
 * The lock by which a name is led, in SQL: an advisory lock of the session, which ends with it.
 *
 * What an epoch is made of: a transaction that holds the lock draws its id, which is greater than that of everybody who
 * held it before; a crash would forget the id unless it is in the log and on the disk; and a copy that is promoted,
 * which may not have heard of it, begins another timeline.
 */
import { escapeLiteral } from '../pg/driver.js'
import { UNLOCK_ALL } from '../backend/reset.js'

/** What the lock's key is made of, before the name. */
const PREFIX = "'pg-managed-connection/'"

function keyOf(name: string): string {
  return `pg_catalog.hashtextextended(${PREFIX} OPERATOR(pg_catalog.||) ${name}::pg_catalog.text, 0)`
}

/** The keys of 64 bits that this session has locked, exclusively. */
const HELD_KEYS = `
  SELECT (classid::pg_catalog.int8 OPERATOR(pg_catalog.<<) 32) OPERATOR(pg_catalog.|) objid::pg_catalog.int8 AS key
  FROM pg_catalog.pg_locks
  WHERE locktype OPERATOR(pg_catalog.=) 'advisory' AND objsubid OPERATOR(pg_catalog.=) 1 AND granted
    AND mode OPERATOR(pg_catalog.=) 'ExclusiveLock' AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()`

/** Which locks the session has. */
export const LOOK_TEXT = `SELECT key::pg_catalog.text FROM (${HELD_KEYS}) AS held`

export interface HeldKey {
  readonly key: string
}

/**
 * Takes the lock of the name ($1) where it is free, and draws the epoch; in recovery it does neither, because the locks
 * of a standby are its own. As texts, which no parser of the user's makes anything else of.
 */
export const TRY_TEXT = `
  WITH asked AS MATERIALIZED (
    SELECT key, CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_try_advisory_lock(key) END AS won
    FROM (SELECT ${keyOf('$1')} AS key) AS named
  )
  SELECT key::pg_catalog.text, won::pg_catalog.text,
    CASE WHEN won THEN pg_catalog.set_config('synchronous_commit', 'on', true) END,
    CASE WHEN won THEN pg_catalog.pg_current_xact_id()::pg_catalog.text END AS id,
    CASE WHEN won THEN
      pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8)
    END AS timeline,
    CASE WHEN won THEN pg_catalog.pg_logical_emit_message(true, 'pg-managed-connection', '')::pg_catalog.text END,
    pg_catalog.pg_backend_pid()::pg_catalog.text AS "processID",
    (SELECT extract(epoch FROM backend_start)::pg_catalog.text FROM pg_catalog.pg_stat_activity
      WHERE pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()) AS "startedAt"
  FROM asked`

/** The answer to a try. */
export interface TryRow {
  readonly key: string
  /** 'true', 'false', or null in recovery. */
  readonly won: string | null
  readonly id: string
  /** In hexadecimal digits. */
  readonly timeline: string
  readonly processID: string
  /** Null where the session's present role may not see it. */
  readonly startedAt: string | null
}

export function epochOf({ timeline, id }: Pick<TryRow, 'timeline' | 'id'>): bigint {
  return (BigInt(`0x${timeline}`) << 64n) + BigInt(id)
}

/** Gives the lock of the name ($1) back, where the session has it. */
export const UNLOCK_TEXT = `
  SELECT pg_catalog.pg_advisory_unlock(key) FROM (${HELD_KEYS}) AS held
  WHERE key OPERATOR(pg_catalog.=) ${keyOf('$1')}`

/**
 * The commands that reset a session, but the locks of these names stay: while all are given back, which counts for
 * locks of the session, a lock of the transaction keeps each of them.
 */
export function keepLocks(resetText: string, names: readonly string[]): string {
  if (names.length === 0) return resetText
  const keys = names.map((name) => keyOf(escapeLiteral(name))).join(', ')
  const ours = `FROM (${HELD_KEYS}) AS held WHERE key OPERATOR(pg_catalog.=) ANY (ARRAY[${keys}])`
  const keep = `SELECT pg_catalog.pg_advisory_xact_lock(key) ${ours}`
  const lockAgain = `SELECT pg_catalog.pg_advisory_lock(key) ${ours}`
  return resetText.replace(UNLOCK_ALL, () => `${keep}; ${UNLOCK_ALL}; ${lockAgain}`)
}

const UNLOCKS = /advisory_unlock/i
const DISCARDS = /\bdiscard\b/i

/** Whether a text may have given a lock of the session's back. In a transaction DISCARD ALL is refused. */
export function mayUnlock(text: string, inTransaction: boolean): boolean {
  return text !== UNLOCK_TEXT && (UNLOCKS.test(text) || (!inTransaction && DISCARDS.test(text)))
}
