/**
 * An embedded PostgreSQL (PGlite) in the place of a server.
 *
 * @module pg-managed-connection/pglite
 */
import type { Duplex } from 'node:stream'
import { EmbeddedSocket } from './embedded-socket.js'
import { SessionLock } from './session-lock.js'

/**
 * A PGlite, as `@electric-sql/pglite` makes it: what is used of it, so that its types need not be installed where it is
 * not used.
 */
export interface PGliteDatabase {
  readonly waitReady: Promise<void>
  readonly closed: boolean
  /** Runs whole messages of the wire protocol, at once and on this thread. */
  execProtocolRawStream(
    message: Uint8Array,
    options: { syncToFs?: boolean; onRawData: (data: Uint8Array) => void },
  ): Promise<void>
  syncToFs(): Promise<void>
  isInTransaction(): boolean
  exec(text: string): Promise<unknown>
  query<T>(text: string, values?: unknown[]): Promise<{ rows: T[] }>
  /** Nobody else's message runs meanwhile. */
  runExclusive<T>(work: () => Promise<T>): Promise<T>
  /** Nobody else's statement or transaction does. PGlite's own calls go through it, too. */
  _runExclusiveTransaction<T>(work: () => Promise<T>): Promise<T>
  onNotification(listener: (channel: string, payload: string) => void): () => void
}

const USED = ['execProtocolRawStream', 'isInTransaction', 'runExclusive', '_runExclusiveTransaction'] as const

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
  const members = (db ?? {}) as Partial<PGliteDatabase>
  if (!USED.every((name) => typeof members[name] === 'function')) {
    throw new TypeError('pgliteStream() takes a PGlite (of @electric-sql/pglite 0.4 or later)')
  }
  const session = sessions.get(db) ?? new SessionLock(db)
  sessions.set(db, session)
  return () => new EmbeddedSocket(db, session)
}
