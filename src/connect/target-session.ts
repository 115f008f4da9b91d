import type pg from 'pg'
import type { TargetSessionAttrs } from '../conninfo/plan.js'
import { ask } from '../pg/ask.js'
import { Failure } from './attempt-error.js'
import { abortable } from './with-deadline.js'
import type { LoggedIn } from './log-in.js'

/**
 * Checks that a session is what `target_session_attrs` asks for. Since PostgreSQL 14 the server says so by itself;
 * an older one is asked.
 *
 * @throws Failure of kind `session` when it is not
 */
export async function checkSession(
  { client, session }: LoggedIn,
  wanted: TargetSessionAttrs,
  signal: AbortSignal,
): Promise<void> {
  if (wanted === 'any') return
  const ask = (text: string) => abortable(signal, askServer(client, text))
  if (wanted === 'read-write' || wanted === 'read-only') {
    const told = session.inHotStandby === null || session.defaultReadOnly === null
    const readOnly = told
      ? await ask('SHOW transaction_read_only')
      : session.inHotStandby === true || session.defaultReadOnly === true
    if (readOnly === (wanted === 'read-only')) return
    throw new Failure('session', wanted === 'read-only' ? 'session is not read-only' : 'session is read-only')
  }
  const standby = session.inHotStandby ?? (await ask('SELECT pg_catalog.pg_is_in_recovery()'))
  if (standby === (wanted !== 'primary')) return
  throw new Failure(
    'session',
    standby ? 'server is in hot standby mode' : 'server is not in hot standby mode',
  )
}

async function askServer(client: pg.Client, text: string): Promise<boolean> {
  const { rows } = await ask(client, text)
  const value: unknown = Object.values(rows[0] ?? {})[0]
  return value === true || value === 'on' || value === 't'
}
