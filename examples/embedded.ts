/** No server at all: PGlite is PostgreSQL inside this process. Whatever is built on pg runs on it. */
import { PGlite } from '@electric-sql/pglite'
import { ManagedConnection } from 'pg-managed-connection'
import { pgliteStream } from 'pg-managed-connection/pglite'

// Give it a folder to keep the data: new PGlite('./data').
const db = await PGlite.create()

const manager = new ManagedConnection({ stream: pgliteStream(db) })
await manager.transaction(async (connection) => {
  await connection.query('CREATE TABLE notes (id int GENERATED ALWAYS AS IDENTITY, note text)')
  await connection.query('INSERT INTO notes (note) SELECT unnest($1::text[])', [['buy milk', 'call Bob']])
})
const { rows } = await manager.query('SELECT * FROM notes ORDER BY id')
console.log(rows)

await manager.end()
await db.close() // it stays yours
