/** Kysely on one connection: the pool is the only line that changes. */
import { Kysely, PostgresDialect } from 'kysely'
import { ManagedConnection } from 'pg-managed-connection'
import { asPool } from 'pg-managed-connection/pool'
import { openServer } from './support/server.js'

interface Database {
  example_pets: { name: string; kind: 'cat' | 'dog' }
}

await using server = await openServer()
await using manager = new ManagedConnection(server.conninfo)
const db = new Kysely<Database>({ dialect: new PostgresDialect({ pool: asPool(manager) }) })

await db.schema
  .createTable('example_pets')
  .temporary()
  .addColumn('name', 'text')
  .addColumn('kind', 'text')
  .execute()

await db.transaction().execute(async (trx) => {
  await trx
    .insertInto('example_pets')
    .values([
      { name: 'Tom', kind: 'cat' },
      { name: 'Rex', kind: 'dog' },
    ])
    .execute()
})

// Twenty at once, over one connection.
const found = await Promise.all(
  Array.from({ length: 20 }, () =>
    db.selectFrom('example_pets').selectAll().where('kind', '=', 'cat').execute(),
  ),
)
console.log(`${found.length} answers, the first:`, found[0])
console.log('server connections:', manager.stats.connects)
await db.destroy() // ends the pool, not the manager
