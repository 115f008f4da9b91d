import type { Duplex } from 'node:stream'
import { checkDatabase, type PGliteDatabase } from './database.js'
import { EmbeddedSocket } from './embedded-socket.js'
import { SessionLock } from './session-lock.js'

const sessions = new WeakMap<PGliteDatabase, SessionLock>()

/**
 * Gives the `stream` of a connection that leads to an embedded PostgreSQL, for a manager or for anything else that
 * is built on pg. Each connection begins with a clean session, as on a server; there is one at a time, because
 * PGlite has one session. PGlite itself stays the caller's, who closes it.
 *
 * @throws TypeError for what is no PGlite
 *
 * ```ts
 * import { PGlite } from '@electric-sql/pglite'
 * import { pgliteStream } from 'pg-managed-connection/pglite'
 *
 * const db = new PGlite()
 * const manager = new ManagedConnection({ stream: pgliteStream(db) })
 * await manager.query('SELECT 1')
 * await manager.end()
 * await db.close()
 * ```
 */
export function pgliteStream(db: PGliteDatabase): () => Duplex {
  checkDatabase(db)
  const session = sessions.get(db) ?? new SessionLock(db)
  sessions.set(db, session)
  return () => new EmbeddedSocket(db, session)
}
