import type pg from 'pg'
import type { TargetSessionAttrs } from '../conninfo/plan.js'
import { ask } from '../pg/ask.js'
import { Failure } from './attempt-error.js'
import type { LoggedIn } from './log-in.js'
import { abortable } from './with-deadline.js'

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
  const isTrue = (text: string) => abortable(signal, askServer(client, text))
  const { inHotStandby, defaultReadOnly } = session
  if (wanted === 'read-write' || wanted === 'read-only') {
    const isSilent = inHotStandby === null || defaultReadOnly === null
    const readOnly = isSilent ? await isTrue('SHOW transaction_read_only') : inHotStandby || defaultReadOnly
    if (readOnly === (wanted === 'read-only')) return
    throw new Failure('session', readOnly ? 'session is read-only' : 'session is not read-only')
  }
  const standby = inHotStandby ?? (await isTrue('SELECT pg_catalog.pg_is_in_recovery()'))
  if (standby === (wanted !== 'primary')) return
  throw new Failure('session', `server is ${standby ? '' : 'not '}in hot standby mode`)
}

async function askServer(client: pg.Client, text: string): Promise<boolean> {
  const { rows } = await ask(client, text)
  const value: unknown = Object.values(rows[0] ?? {})[0]
  return value === true || value === 'on' || value === 't'
}
