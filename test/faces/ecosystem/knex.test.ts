/** Knex on the pool face: migrations, queries, transactions, savepoints, streams. */
import assert from 'node:assert/strict'
import knex, { type Knex } from 'knex'
import { AcquireTimeoutError } from 'pg-managed-connection'
import {
  ChangeOfMind,
  changesItsMind,
  KEPT_SUM,
  openPooled,
  orChangeOfMind,
  tasks,
} from '../../support/ecosystem.js'
import { openSuite } from '../../support/suite.js'
import { within } from '../../support/wait.js'

interface Account {
  id: number
  balance: number
}

/** Migrations without files. */
const migrationSource: Knex.MigrationSource<string> = {
  getMigrations: () => Promise.resolve(['1_account', '2_entry']),
  getMigrationName: (name) => name,
  getMigration: (name) => Promise.resolve(MIGRATIONS[name]!),
}

const MIGRATIONS: Record<string, Knex.Migration> = {
  '1_account': {
    up: (db) =>
      db.schema.createTable('account', (table) => {
        table.integer('id').primary()
        table.integer('balance').notNullable()
      }),
    down: (db) => db.schema.dropTable('account'),
  },
  '2_entry': {
    async up(db) {
      await db.schema.createTable('entry', (table) => {
        table.increments('id')
        table.integer('account_id').references('account.id')
        table.integer('amount').notNullable()
      })
      await db('account').insert({ id: 1, balance: 0 })
    },
    down: (db) => db.schema.dropTable('entry'),
  },
}

const { test, database } = await openSuite()

const open = (it: ReturnType<typeof openPooled>): Knex =>
  knex({ client: 'pg', connectionPool: it.pool, log: { error: () => {}, warn: () => {} } })

test('Knex migrates up and down', async () => {
  await using it = openPooled(database)
  const db = open(it)
  const [, names] = (await db.migrate.latest({ migrationSource })) as [number, string[]]
  assert.deepEqual(names, ['1_account', '2_entry'])
  await db.migrate.rollback({ migrationSource })
  await db.migrate.latest({ migrationSource })
  assert.deepEqual(await db<Account>('account').select(), [{ id: 1, balance: 0 }])
  assert.equal(it.leaks, 0)
  await db.destroy()
})

test('Knex’s queries run at the same time', async () => {
  await using it = openPooled(database)
  const db = open(it)
  const asked = tasks((n) => db.select(db.raw('?::int AS n', [n])).first<{ n: number }>())
  const rows = await within(Promise.all(asked), 'everybody')
  rows.forEach((row, n) => assert.equal(row.n, n))
})

test('Knex’s transactions commit, and roll back on an error, one after the other', async () => {
  await using it = openPooled(database)
  const db = open(it)
  const asked = tasks((n) =>
    orChangeOfMind(
      db.transaction(async (trx) => {
        const { balance } = (await trx<Account>('account').where({ id: 1 }).first()) as Account
        await trx('entry').insert({ account_id: 1, amount: n })
        await trx<Account>('account')
          .where({ id: 1 })
          .update({ balance: balance + n })
        if (changesItsMind(n)) throw new ChangeOfMind()
      }),
    ),
  )
  await within(Promise.all(asked), 'everybody')
  const { balance } = (await db<Account>('account').first()) as Account
  const [{ total }] = (await db('entry').sum('amount as total')) as [{ total: string }]
  assert.equal(balance, KEPT_SUM)
  assert.equal(Number(total), KEPT_SUM)
  assert.equal(it.leaks, 0)
  assert.equal(it.manager.stats.connects, 1)
})

test('Knex’s nested transactions are savepoints, and errors of the server come through', async () => {
  await using it = openPooled(database)
  const db = open(it)
  await db.transaction(async (trx) => {
    await trx('account').insert({ id: 2, balance: 0 })
    const nested = trx.transaction((inner) => inner('account').insert({ id: 2, balance: 0 }))
    await assert.rejects(nested, { code: '23505' })
    await trx('account').insert({ id: 3, balance: 0 })
  })
  assert.deepEqual(await db('account').orderBy('id').pluck('id'), [1, 2, 3])
  await assert.rejects(db('account').insert({ id: 1, balance: 0 }), { code: '23505' })
})

test('Knex streams inside a transaction', async () => {
  await using it = openPooled(database)
  const db = open(it)
  // On its own a stream of Knex releases its client twice, which is an error of pg.Pool's, too.
  const sum = await db.transaction(async (trx) => {
    let total = 0
    const stream = trx.select('n').from(trx.raw('generate_series(1, 1000) AS n')).stream()
    for await (const { n } of stream as AsyncIterable<{ n: number }>) total += n
    return total
  })
  assert.equal(sum, 500_500)
  assert.equal(it.leaks, 0)
})

test('Knex outside its own transaction, inside of it, waits for itself: the error says who holds', async () => {
  await using it = openPooled(database, { acquireTimeoutMillis: 500 })
  const db = open(it)
  const wrong = db.transaction(async () => void (await db('account').select()))
  await assert.rejects(wrong, (error: Error) => {
    assert.ok(error instanceof AcquireTimeoutError)
    assert.match(error.message, /held for \d+ms/)
    return true
  })
  await db('account').select()
})
