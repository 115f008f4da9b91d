/** Libraries on pools of one connection, each of a tenant: row security lets none see another's rows. */
import assert from 'node:assert/strict'
import { sql as drizzleSql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/node-postgres'
import { integer, pgTable, text } from 'drizzle-orm/pg-core'
import { Kysely, PostgresDialect, sql } from 'kysely'
import { ManagedConnection } from 'pg-managed-connection'
import { asPool, type ManagedPool } from 'pg-managed-connection/pool'
import { Worker } from 'node:worker_threads'
import { share } from 'pg-managed-connection/worker'
import { openSuite } from '../../support/suite.js'

const { test, database } = await openSuite()

const TENANTS = 8
const ROLE = `tenants_${process.pid}_${Date.now() % 100_000}`

await database.admin.query(`
  CREATE TABLE document (tenant int DEFAULT current_setting('app.tenant')::int, title text);
  ALTER TABLE document ENABLE ROW LEVEL SECURITY;
  CREATE POLICY own ON document USING (tenant = current_setting('app.tenant')::int)`)

async function withTenants(
  work: (manager: ManagedConnection, poolOf: (tenant: number) => ManagedPool) => Promise<void>,
): Promise<void> {
  await database.admin.query(`CREATE ROLE "${ROLE}"; GRANT ALL ON document TO "${ROLE}"; TRUNCATE document`)
  try {
    await using manager = new ManagedConnection(database.conninfo)
    await work(manager, (tenant) =>
      asPool(manager.with({ settings: { 'app.tenant': tenant }, role: ROLE, label: `tenant ${tenant}` })),
    )
    assert.equal(manager.stats.connects, 1)
  } finally {
    await database.admin.query(`DROP OWNED BY "${ROLE}"; DROP ROLE "${ROLE}"`)
  }
}

function each(work: (tenant: number) => Promise<void>): Promise<void[]> {
  return Promise.all(Array.from({ length: TENANTS }, (_, tenant) => work(tenant)))
}

test('Kysely: each tenant has a pool of its own on the one connection, and sees its own rows', async () => {
  await withTenants(async (manager, poolOf) => {
    await each(async (tenant) => {
      const pool = poolOf(tenant)
      const db = new Kysely<{ document: { tenant?: number; title: string } }>({
        dialect: new PostgresDialect({ pool }),
      })
      const tenants = async (asker: Pick<typeof db, 'selectFrom'>): Promise<unknown[]> =>
        (await asker.selectFrom('document').select('tenant').distinct().execute()).map((row) => row.tenant)
      for (let round = 0; round < 3; round++) {
        await db
          .insertInto('document')
          .values({ title: `${round}` })
          .execute()
        assert.deepEqual(await tenants(db), [tenant])
        await db.transaction().execute(async (trx) => {
          await trx.insertInto('document').values({ title: 'in a transaction' }).execute()
          assert.deepEqual(await tenants(trx), [tenant])
          const { rows } = await sql<{ role: string }>`SELECT current_user AS role`.execute(trx)
          assert.equal(rows[0]!.role, ROLE)
        })
        await assert.rejects(
          db
            .transaction()
            .setIsolationLevel('serializable')
            .execute(async (trx) => {
              await trx.deleteFrom('document').execute()
              throw new Error('changed its mind')
            }),
          /changed its mind/,
        )
        await assert.rejects(
          db
            .insertInto('document')
            .values({ title: 'stolen', tenant: tenant + 1 })
            .execute(),
          { code: '42501' },
        )
      }
      await pool.end()
    })
    const { rows } = await manager.query(
      'SELECT tenant, count(*)::int AS n FROM document GROUP BY tenant ORDER BY tenant',
    )
    assert.deepEqual(
      rows,
      Array.from({ length: TENANTS }, (_, tenant) => ({ tenant, n: 6 })),
    )
  })
})

const document = pgTable('document', { tenant: integer(), title: text() })

test('Drizzle: the same', async () => {
  await withTenants(async (manager, poolOf) => {
    await each(async (tenant) => {
      const pool = poolOf(tenant)
      const db = drizzle(pool)
      for (let round = 0; round < 3; round++) {
        await db.execute(drizzleSql`INSERT INTO document (title) VALUES ('one')`)
        await db.transaction(async (tx) => {
          await tx.execute(drizzleSql`INSERT INTO document (title) VALUES ('two')`)
          await tx.transaction(async (inner) => {
            await inner.execute(drizzleSql`INSERT INTO document (title) VALUES ('three')`)
          })
        })
        const rows = await db.select().from(document)
        assert.equal(rows.length, (round + 1) * 3)
        assert.ok(rows.every((row) => row.tenant === tenant))
      }
      await pool.end()
    })
    assert.equal((await manager.query('SELECT count(*)::int AS n FROM document')).rows[0].n, TENANTS * 9)
  })
})

const WORKER = `
const { workerData, parentPort } = require('node:worker_threads')
import('pg-managed-connection/worker').then(async ({ attach }) => {
  const manager = attach(workerData.port)
  const seen = []
  const text = "SELECT current_setting('app.tenant') AS tenant, current_user AS role"
  seen.push((await manager.query(text)).rows[0])
  seen.push((await manager.transaction((c) => c.query(text))).rows[0])
  seen.push((await manager.batch([text]))[0].rows[0])
  seen.push((await manager.query({ text: text + '; SELECT 1', settings: { 'app.tenant': 'own' } }))[0].rows[0])
  await manager.end()
  parentPort.postMessage(seen)
})`

test('a worker of a tenant’s has the tenant’s settings, too', async () => {
  await withTenants(async (manager) => {
    const port = share(manager.with({ settings: { 'app.tenant': 7 }, role: ROLE }))
    const worker = new Worker(WORKER, { eval: true, workerData: { port }, transferList: [port] })
    const seen = await new Promise((resolve, reject) => {
      worker.once('message', resolve)
      worker.once('error', reject)
    })
    const tenant = { tenant: '7', role: ROLE }
    assert.deepEqual(seen, [tenant, tenant, tenant, { tenant: 'own', role: ROLE }])
    await worker.terminate()
  })
})
