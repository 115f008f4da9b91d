/** The entry: a PGlite where pg would dial a server. */
import { checkDatabase } from './database.js'
import { EmbeddedSocket } from './embedded-socket.js'
import { SessionLock } from './session-lock.js'
import type { Duplex } from 'node:stream'
import type { PGliteDatabase } from './database.js'

const seats = new WeakMap<PGliteDatabase, SessionLock>()

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
  let seat = seats.get(db)
  if (seat === undefined) seats.set(db, (seat = new SessionLock(db)))
  const only = seat
  return () => new EmbeddedSocket(db, only)
}
