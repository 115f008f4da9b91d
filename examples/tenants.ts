/** Many tenants on one connection: each sees its own rows, by row security, without a round trip for it. */
import { Kysely, PostgresDialect } from 'kysely'
import { ManagedConnection } from 'pg-managed-connection'
import { asPool } from 'pg-managed-connection/pool'
import { openServer } from './support/server.js'

interface Database {
  example_documents: { tenant?: number; title: string }
}

await using server = await openServer()
await using manager = new ManagedConnection(server.conninfo)
await manager.query(`
  DROP TABLE IF EXISTS example_documents;
  CREATE TABLE example_documents (tenant int DEFAULT current_setting('app.tenant')::int, title text);
  ALTER TABLE example_documents ENABLE ROW LEVEL SECURITY;
  CREATE POLICY own ON example_documents USING (tenant = current_setting('app.tenant')::int);
  DROP ROLE IF EXISTS example_web; CREATE ROLE example_web; GRANT ALL ON example_documents TO example_web`)

/** What a web service makes for each request, once it knows whose request it is. */
function databaseOf(tenant: number): Kysely<Database> {
  const pool = asPool(manager.with({ settings: { 'app.tenant': tenant }, role: 'example_web' }))
  return new Kysely<Database>({ dialect: new PostgresDialect({ pool }) })
}

async function handle(tenant: number, title: string): Promise<void> {
  await using db = databaseOf(tenant)
  await db.insertInto('example_documents').values({ title }).execute()
  await db.transaction().execute(async (trx) => {
    const rows = await trx.selectFrom('example_documents').select(['tenant', 'title']).execute()
    const titles = rows.map((row) => row.title).join(', ')
    console.log(`tenant ${tenant} sees: ${titles}`)
  })
}

await Promise.all([1, 2, 3].map((tenant) => handle(tenant, `a letter of ${tenant}`)))
const { rows } = await manager.query('SELECT count(*)::int AS n FROM example_documents')
console.log(`the login sees: ${rows[0].n} documents`)
console.log('server connections:', manager.stats.connects)
await manager.query('DROP TABLE example_documents; DROP ROLE example_web')
