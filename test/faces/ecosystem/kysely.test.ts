/** Kysely on the pool face: migrations, queries, transactions, savepoints, streams. */
import assert from 'node:assert/strict'
import { CompiledQuery, Kysely, Migrator, PostgresDialect, sql, type Generated, type Migration } from 'kysely'
import { AcquireTimeoutError } from 'pg-managed-connection'
import {
  ChangeOfMind,
  changesItsMind,
  KEPT_SUM,
  openPooled,
  orChangeOfMind,
  tasks,
  TASKS,
} from '../../support/ecosystem.js'
import { Cursor } from '../../support/submittables.js'
import { openSuite } from '../../support/suite.js'
import { within } from '../../support/wait.js'

interface Schema {
  account: { id: number; balance: number }
  entry: { id: Generated<number>; account_id: number; amount: number }
}

const MIGRATIONS: Record<string, Migration> = {
  '1_account': {
    async up(db: Kysely<unknown>) {
      await db.schema
        .createTable('account')
        .addColumn('id', 'integer', (column) => column.primaryKey())
        .addColumn('balance', 'integer', (column) => column.notNull())
        .execute()
    },
    async down(db: Kysely<unknown>) {
      await db.schema.dropTable('account').execute()
    },
  },
  '2_entry': {
    async up(db: Kysely<unknown>) {
      await db.schema
        .createTable('entry')
        .addColumn('id', 'serial', (column) => column.primaryKey())
        .addColumn('account_id', 'integer', (column) => column.references('account.id').notNull())
        .addColumn('amount', 'integer', (column) => column.notNull())
        .execute()
      await sql`INSERT INTO account VALUES (1, 0)`.execute(db)
    },
    async down(db: Kysely<unknown>) {
      await db.schema.dropTable('entry').execute()
      await sql`DELETE FROM account`.execute(db)
    },
  },
}

const { test, database } = await openSuite()

function openKysely({ pool }: ReturnType<typeof openPooled>): Kysely<Schema> {
  return new Kysely<Schema>({ dialect: new PostgresDialect({ pool, cursor: Cursor as never }) })
}

test('Kysely migrates up and down, and two migrators take turns', async () => {
  await using it = openPooled(database)
  const db = openKysely(it)
  const migrator = new Migrator({ db, provider: { getMigrations: () => Promise.resolve(MIGRATIONS) } })
  const outcomes = await within(Promise.all([migrator.migrateToLatest(), migrator.migrateToLatest()]), 'both')
  for (const { error } of outcomes) assert.equal(error, undefined)
  assert.equal(outcomes.flatMap(({ results }) => results ?? []).length, 2)
  assert.equal((await migrator.migrateDown()).error, undefined)
  assert.equal((await migrator.migrateToLatest()).error, undefined)
  assert.equal(it.leaks, 0)
})

test('Kysely’s queries run at the same time as others of the manager', async () => {
  await using it = openPooled(database)
  const db = openKysely(it)
  const asked = tasks((n) =>
    n % 2 === 0
      ? db.selectNoFrom(sql<number>`${n}::int`.as('n')).executeTakeFirstOrThrow()
      : it.manager.query('SELECT $1::int AS n', [n]).then(({ rows }) => rows[0] as { n: number }),
  )
  assert.deepEqual(
    (await within(Promise.all(asked), 'everybody')).map(({ n }) => n),
    Array.from({ length: TASKS }, (_, n) => n),
  )
})

test('Kysely’s transactions commit, and roll back on an error, one after the other', async () => {
  await using it = openPooled(database)
  const db = openKysely(it)
  const asked = tasks((n) =>
    orChangeOfMind(
      db.transaction().execute(async (trx) => {
        const { balance } = await trx
          .selectFrom('account')
          .select('balance')
          .where('id', '=', 1)
          .executeTakeFirstOrThrow()
        await trx.insertInto('entry').values({ account_id: 1, amount: n }).execute()
        await trx
          .updateTable('account')
          .set({ balance: balance + n })
          .where('id', '=', 1)
          .execute()
        if (changesItsMind(n)) throw new ChangeOfMind()
      }),
    ),
  )
  await within(Promise.all(asked), 'everybody')
  const { balance } = await db.selectFrom('account').select('balance').executeTakeFirstOrThrow()
  const { total } = await db
    .selectFrom('entry')
    .select((entry) => entry.fn.sum<string>('amount').as('total'))
    .executeTakeFirstOrThrow()
  assert.equal(balance, KEPT_SUM)
  assert.equal(Number(total), KEPT_SUM)
  assert.equal(it.leaks, 0)
  assert.equal(it.manager.stats.connects, 1)
})

test('Kysely hands the server’s errors on, and goes on after them', async () => {
  await using it = openPooled(database)
  const db = openKysely(it)
  await assert.rejects(db.insertInto('account').values({ id: 1, balance: 0 }).execute(), { code: '23505' })
  const failing = db.transaction().execute(async (trx) => {
    await trx.insertInto('account').values({ id: 2, balance: 0 }).execute()
    await trx.insertInto('account').values({ id: 1, balance: 0 }).execute()
  })
  await assert.rejects(failing, { code: '23505' })
  assert.deepEqual(await db.selectFrom('account').select('id').execute(), [{ id: 1 }])
})

test('Kysely’s controlled transactions have savepoints', async () => {
  await using it = openPooled(database)
  const db = openKysely(it)
  const trx = await db.startTransaction().execute()
  await trx.insertInto('account').values({ id: 3, balance: 0 }).execute()
  const point = await trx.savepoint('before').execute()
  await assert.rejects(point.insertInto('account').values({ id: 3, balance: 0 }).execute(), { code: '23505' })
  await point.rollbackToSavepoint('before').execute()
  await trx.insertInto('account').values({ id: 4, balance: 0 }).execute()
  await trx.commit().execute()
  const rows = await db.selectFrom('account').select('id').where('id', '>', 2).orderBy('id').execute()
  assert.deepEqual(rows, [{ id: 3 }, { id: 4 }])
})

test('Kysely streams through a cursor, to the end and with a break', async () => {
  await using it = openPooled(database)
  const db = openKysely(it)
  const series = db.selectFrom(sql<{ n: number }>`generate_series(1, 1000)`.as<'s'>(sql`s(n)`)).select('s.n')
  let sum = 0
  for await (const { n } of series.stream(100)) sum += n
  assert.equal(sum, 500_500)
  for await (const { n } of series.stream(10)) if (n === 25) break
  assert.deepEqual((await db.executeQuery(CompiledQuery.raw('SELECT 1 AS one'))).rows, [{ one: 1 }])
  assert.equal(it.leaks, 0)
})

test('Kysely outside its own transaction, inside of it, waits for itself: the error says who holds', async () => {
  await using it = openPooled(database, { acquireTimeoutMillis: 500 })
  const db = openKysely(it)
  const wrong = db.transaction().execute(async () => {
    await db.selectFrom('account').selectAll().execute()
  })
  await assert.rejects(wrong, (error: Error) => {
    assert.ok(error instanceof AcquireTimeoutError)
    assert.match(error.message, /held for \d+ms/)
    return true
  })
  await db.selectFrom('account').selectAll().execute()
})

test('Kysely’s destroy() ends the pool and leaves the manager alone', async () => {
  await using it = openPooled(database)
  const db = openKysely(it)
  await db.selectFrom('account').selectAll().execute()
  await db.destroy()
  assert.equal(it.pool.ended, true)
  await it.manager.query('SELECT 1')
})
