/** TypeORM on the pool face: migrations, repositories, transactions, query runners. */
import assert from 'node:assert/strict'
import { DataSource, EntitySchema, type MigrationInterface, type QueryRunner } from 'typeorm'
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

const AccountEntity = new EntitySchema<Account>({
  name: 'account',
  columns: { id: { type: Number, primary: true }, balance: { type: Number } },
})

class CreateAccount1700000000001 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query('CREATE TABLE account (id integer PRIMARY KEY, balance integer NOT NULL)')
    await runner.query('INSERT INTO account VALUES (1, 0)')
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE account')
  }
}

const { test, database } = await openSuite()

async function open(it: ReturnType<typeof openPooled>): Promise<DataSource & AsyncDisposable> {
  // TypeORM makes its pool itself, from the driver that it is given.
  class Pool {
    constructor() {
      return it.pool
    }
  }
  const source = new DataSource({
    type: 'postgres',
    driver: { Pool },
    entities: [AccountEntity],
    migrations: [CreateAccount1700000000001],
  })
  await source.initialize()
  return Object.assign(source, { [Symbol.asyncDispose]: () => source.destroy() })
}

test('TypeORM migrates and reverts', async () => {
  await using it = openPooled(database)
  await using source = await open(it)
  assert.equal((await source.runMigrations()).length, 1)
  await source.undoLastMigration()
  assert.equal((await source.runMigrations()).length, 1)
  assert.equal(await source.showMigrations(), false)
  assert.equal(it.leaks, 0)
})

test('TypeORM’s repositories work at the same time', async () => {
  await using it = openPooled(database)
  await using source = await open(it)
  const accounts = source.getRepository(AccountEntity)
  await within(Promise.all(tasks((n) => accounts.insert({ id: 100 + n, balance: n }))), 'the inserting')
  const found = await Promise.all(tasks((n) => accounts.findOneByOrFail({ id: 100 + n })))
  found.forEach(({ balance }, n) => assert.equal(balance, n))
  await accounts.createQueryBuilder().delete().where('id >= 100').execute()
})

test('TypeORM’s transactions commit, and roll back on an error, one after the other', async () => {
  await using it = openPooled(database)
  await using source = await open(it)
  const asked = tasks((n) =>
    orChangeOfMind(
      source.transaction('SERIALIZABLE', async (manager) => {
        const account = await manager.findOneByOrFail(AccountEntity, { id: 1 })
        account.balance += n
        await manager.save(AccountEntity, account)
        if (changesItsMind(n)) throw new ChangeOfMind()
      }),
    ),
  )
  await within(Promise.all(asked), 'everybody')
  const { balance } = await source.getRepository(AccountEntity).findOneByOrFail({ id: 1 })
  assert.equal(balance, KEPT_SUM)
  assert.equal(it.leaks, 0)
  assert.equal(it.manager.stats.connects, 1)
})

test('TypeORM’s nested transactions are savepoints, and errors of the server come through', async () => {
  await using it = openPooled(database)
  await using source = await open(it)
  await source.transaction(async (manager) => {
    await manager.insert(AccountEntity, { id: 2, balance: 0 })
    const nested = manager.transaction((inner) => inner.insert(AccountEntity, { id: 2, balance: 0 }))
    await assert.rejects(nested, { code: '23505' })
    await manager.insert(AccountEntity, { id: 3, balance: 0 })
  })
  const found = await source.getRepository(AccountEntity).find({ order: { id: 'ASC' } })
  assert.deepEqual(
    found.map(({ id }) => id),
    [1, 2, 3],
  )
})

test('a query runner of TypeORM that is released in a transaction is rolled back and reported', async () => {
  await using it = openPooled(database, {}, { strict: true })
  const errors: unknown[] = []
  it.pool.on('error', (error) => errors.push(error))
  await using source = await open(it)
  const runner = source.createQueryRunner()
  await runner.query('BEGIN')
  await runner.query('INSERT INTO account VALUES (9, 0)')
  await runner.release()
  assert.equal(await source.getRepository(AccountEntity).findOneBy({ id: 9 }), null)
  assert.equal(it.leaks, 1)
  assert.equal(errors.length, 1)
})

test('TypeORM streams', async () => {
  await using it = openPooled(database)
  await using source = await open(it)
  const stream = await source.getRepository(AccountEntity).createQueryBuilder('a').orderBy('a.id').stream()
  const ids: number[] = []
  for await (const row of stream as AsyncIterable<{ a_id: number }>) ids.push(row.a_id)
  assert.deepEqual(ids, [1, 2, 3])
})

test('TypeORM outside its own transaction, inside of it, waits for itself: the error says who holds', async () => {
  await using it = openPooled(database, { acquireTimeoutMillis: 500 })
  await using source = await open(it)
  const wrong = source.transaction(async () => void (await source.query('SELECT 1')))
  await assert.rejects(wrong, (error: Error) => {
    assert.ok(error instanceof AcquireTimeoutError)
    assert.match(error.message, /held for \d+ms/)
    return true
  })
})
