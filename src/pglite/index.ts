/**
 * An embedded PostgreSQL (PGlite) in the place of a server.
 *
 * @module pg-managed-connection/pglite
 */
export { pgliteStream } from './pglite-stream.js'
export type { PGliteDatabase } from './database.js'
