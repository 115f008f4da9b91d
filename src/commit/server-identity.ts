/** Which server, which history of it and which of its sessions a transaction id or a receipt belongs to. */
import { clock } from '../util/clock.js'
import type { QueryResult, QueryResultRow } from 'pg'

/** Asks the server of a connection that is nobody else's yet. */
export type Ask = <R extends QueryResultRow>(text: string, values?: unknown[]) => Promise<QueryResult<R>>

export interface ServerIdentity {
  /** It only follows another server, which alone takes writes. */
  readonly recovering: boolean
  /** Of the cluster, the same on all copies of it. */
  readonly system: string
  /** It grows by one when a copy is promoted; null in recovery. */
  readonly timeline: string | null
  /** Set anew where the server had to recover from a crash, and by an administrator; null where it never was. */
  readonly statsReset: string | null
  readonly processID: number
  /** When the session began, in seconds since 1970; null where its present role may not see it. */
  readonly startedAt: string | null
  /** The server's clock, in seconds since 1970. */
  readonly time: number
  /** When it said so, by the clock of this machine, in milliseconds since 1970. */
  readonly readAt: number
  /** Its transactions are read only unless they say otherwise. */
  readonly readOnly: boolean
}

/**
 * All of it may be read by everybody. `pg_control_checkpoint()` would tell the timeline, too, but lags behind a
 * promotion.
 */
export const IDENTITY_COLUMNS = `
    pg_catalog.pg_is_in_recovery() AS recovering,
    (SELECT system_identifier::pg_catalog.text FROM pg_catalog.pg_control_system()) AS system,
    CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN
      pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8)
    END AS timeline,
    (SELECT extract(epoch FROM stats_reset)::pg_catalog.text FROM pg_catalog.pg_stat_bgwriter) AS "statsReset",
    pg_catalog.pg_backend_pid() AS "processID",
    (SELECT extract(epoch FROM backend_start)::pg_catalog.text FROM pg_catalog.pg_stat_activity
      WHERE pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()) AS "startedAt",
    extract(epoch FROM pg_catalog.clock_timestamp())::pg_catalog.float8 AS time,
    pg_catalog.current_setting('default_transaction_read_only') OPERATOR(pg_catalog.=) 'on' AS "readOnly"`

/** Ends a session of this process number ($1), where what follows holds, too: the number may be another's by now. */
export const TERMINATE = `
  SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
  WHERE pid OPERATOR(pg_catalog.=) $1::pg_catalog.int4 AND`

/** It began at that moment ($2). */
export const BEGAN_THEN = 'extract(epoch FROM backend_start)::pg_catalog.text OPERATOR(pg_catalog.=) $2'

/** What the server has answered, just now. */
export function identityOf(row: object | undefined): ServerIdentity {
  return { ...(row as Omit<ServerIdentity, 'readAt'>), readAt: clock.wallNow() }
}

export async function readIdentity(ask: Ask): Promise<ServerIdentity> {
  const { rows } = await ask<object & QueryResultRow>(`SELECT ${IDENTITY_COLUMNS}`)
  return identityOf(rows[0])
}
