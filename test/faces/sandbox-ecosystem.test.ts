/** Other libraries in a sandbox: each sees what it sees on a manager. */
import { drizzle } from 'drizzle-orm/node-postgres'
import { sql as drizzleSql } from 'drizzle-orm'
import knex, { type Knex } from 'knex'
import { Kysely, PostgresDialect, sql, type Transaction } from 'kysely'
import type pg from 'pg'
import { asPool } from 'pg-managed-connection/pool'
import { DataSource } from 'typeorm'
import { assertSame, type Prepare, type Step } from '../support/same-in-sandbox.js'
import { openSuite } from '../support/suite.js'

const { test, database } = await openSuite()
const { conninfo } = database

const SCHEMA = `CREATE TABLE items (id int PRIMARY KEY, name text);
  CREATE TABLE parts (id int PRIMARY KEY, item int CONSTRAINT whose REFERENCES items DEFERRABLE INITIALLY DEFERRED)`
const GONE = 'DROP TABLE parts, items'

/** A pool and what a library makes of it. */
function over<T>(open: (pool: pg.Pool) => Promise<T>, closeIt: (it: T) => Promise<unknown>): Prepare<T> {
  return async (manager) => {
    const pool = asPool(manager, { strict: true })
    pool.on('error', () => {})
    const it = await open(pool)
    const close = async (): Promise<void> => {
      await closeIt(it)
      if (!pool.ended) await pool.end()
    }
    return { it, close }
  }
}

/** All at the same time, with what became of each. */
function atOnce(count: number, work: (n: number) => Promise<unknown>): Promise<unknown[]> {
  const outcomes = Array.from({ length: count }, (_, n) => work(n).catch((error: unknown) => error))
  return Promise.all(outcomes)
}

/** One client for some statements; the outcome of each, and the status behind it. */
function onClient(...texts: (string | pg.QueryConfig)[]): Step<pg.Pool> {
  const step: Step<pg.Pool> = async (pool) => {
    const client = await pool.connect()
    const seen: unknown[] = []
    try {
      for (const text of texts) {
        const outcome: unknown = await client.query(text as string).catch((error: unknown) => error)
        const { getTransactionStatus } = client as { getTransactionStatus(): string | null }
        seen.push(outcome, getTransactionStatus.call(client))
      }
    } finally {
      client.release()
    }
    return seen
  }
  return Object.assign(step, { toString: () => JSON.stringify(texts) })
}

const item = (id: number): string => `INSERT INTO items VALUES (${id}, 'item ${id}')`
const part = (id: number, of: number): string => `INSERT INTO parts VALUES (${id}, ${of})`
const IDS = 'SELECT id FROM items ORDER BY id'

const POOL_STEPS: readonly Step<pg.Pool>[] = [
  (pool) => pool.query(SCHEMA),
  onClient('BEGIN', item(1), 'COMMIT', IDS),
  onClient('BEGIN', item(2), 'ROLLBACK', IDS),
  onClient('BEGIN', item(1), item(3), 'COMMIT', IDS),
  onClient('BEGIN', item(1), 'ROLLBACK', item(3), IDS),
  onClient('BEGIN', 'SAVEPOINT a', item(1), 'ROLLBACK TO a', item(4), 'RELEASE a', 'COMMIT', IDS),
  onClient('BEGIN', 'SAVEPOINT a', item(1), 'ROLLBACK TO SAVEPOINT b', 'ROLLBACK TO a', 'COMMIT'),
  onClient('BEGIN', part(1, 99), 'COMMIT', 'SELECT * FROM parts'),
  onClient('BEGIN', part(1, 99), 'SET CONSTRAINTS ALL IMMEDIATE', 'COMMIT'),
  onClient('BEGIN', 'SET CONSTRAINTS whose IMMEDIATE', part(1, 99), 'ROLLBACK'),
  onClient('BEGIN', part(1, 5), item(5), 'COMMIT', 'SELECT * FROM parts'),
  onClient('BEGIN ISOLATION LEVEL READ COMMITTED', 'SHOW transaction_isolation', 'END'),
  onClient('START TRANSACTION READ ONLY', item(6), 'ROLLBACK', item(6)),
  onClient('BEGIN', 'SET TRANSACTION READ ONLY', item(7), 'ROLLBACK', item(7)),
  onClient('BEGIN READ ONLY', 'COMMIT', item(8)),
  onClient('SAVEPOINT a', 'RELEASE a', 'ROLLBACK TO a', 'SAVEPOINT a; SELECT 1', item(9), IDS),
  onClient(
    'COMMIT AND CHAIN',
    'ROLLBACK AND CHAIN',
    'BEGIN',
    item(10),
    'COMMIT AND CHAIN',
    item(11),
    'ROLLBACK',
    IDS,
  ),
  onClient('BEGIN', 'nonsense', 'SELECT 1', 'COMMIT'),
  onClient('nonsense', 'SELECT 1'),
  onClient('BEGIN', item(12)),
  onClient('BEGIN', item(12), item(12)),
  onClient('BEGIN', 'SAVEPOINT a', item(1), 'ROLLBACK TO a'),
  onClient('SET TRANSACTION READ ONLY', item(13), 'LOCK TABLE items', 'SELECT 1'),
  onClient({ text: 'INSERT INTO items VALUES ($1, $2)', values: [14, 'x'] }, { text: IDS, name: 'ids' }),
  onClient('BEGIN', { text: IDS, name: 'ids' }, 'COMMIT', { text: IDS, name: 'ids' }),
  onClient('DECLARE c CURSOR FOR SELECT 1', 'BEGIN', 'DECLARE c CURSOR FOR SELECT 1', 'COMMIT', 'FETCH c'),
  onClient('BEGIN', 'DECLARE c CURSOR WITH HOLD FOR SELECT 1 AS one', 'COMMIT', 'FETCH c', 'CLOSE c'),
  onClient(`${item(15)}; SELECT 1 / 0`, IDS),
  onClient(`BEGIN; ${item(16)}; SELECT 1 / 0; COMMIT`, IDS, 'ROLLBACK', IDS),
  onClient(`${item(17)}; COMMIT; ${item(18)}; SELECT 1 / 0`, IDS),
  onClient(`${item(19)}; BEGIN; ${item(20)}`, 'ROLLBACK', IDS),
  onClient(`${item(19)}; ROLLBACK; ${item(21)}`, IDS),
  onClient('SHOW transaction_read_only', 'CREATE TABLE x (id int)', 'DROP TABLE x', ''),
  onClient(
    'BEGIN',
    'SET LOCAL work_mem = 100',
    'SET work_mem = 200',
    'COMMIT',
    'SHOW work_mem',
    'RESET work_mem',
  ),
  onClient(
    'BEGIN',
    'SET work_mem = 200',
    'SET LOCAL work_mem = 100',
    'COMMIT',
    'SHOW work_mem',
    'RESET work_mem',
  ),
  onClient('BEGIN', 'SET work_mem = 200', 'ROLLBACK', 'SHOW work_mem'),
  onClient('SET LOCAL work_mem = 100', 'SHOW work_mem'),
  (pool) =>
    atOnce(12, async (n) => {
      if (n % 3 === 0) return pool.query(item(100 + n))
      if (n % 3 === 1) return pool.query('SELECT 1 / 0')
      return onClient('BEGIN', item(100 + n), n % 2 === 0 ? 'COMMIT' : 'ROLLBACK')(pool)
    }),
  (pool) => atOnce(6, (n) => onClient('BEGIN', part(100 + n, n % 2 === 0 ? 1 : 99), 'COMMIT')(pool)),
  async (pool) => {
    const client = await pool.connect()
    const texts = ['BEGIN', item(200), 'SELECT 1 / 0', item(201), 'ROLLBACK', item(202), IDS]
    const all = await Promise.all(texts.map((text) => client.query(text).catch((error: unknown) => error)))
    client.release()
    return all
  },
  async (pool) => {
    const client = await pool.connect()
    const late = client.query('SELECT pg_sleep(0.05)').catch((error: unknown) => error)
    client.release()
    return late
  },
  (pool) => pool.query(`SELECT 1 AS one; ${IDS}`),
  (pool) => pool.query('SELECT * FROM parts ORDER BY id'),
  (pool) => pool.query(GONE),
]

test('code of pg.Pool’s', () =>
  assertSame(
    conninfo,
    over(
      async (pool) => pool,
      async () => {},
    ),
    POOL_STEPS,
  ))

interface Tables {
  items: { id: number; name: string | null }
  parts: { id: number; item: number }
}

const kysely = over(
  async (pool) => new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) }),
  async () => {},
)

const insert = (db: Kysely<Tables> | Transaction<Tables>, id: number): Promise<unknown> =>
  db.insertInto('items').values({ id, name: 'x' }).execute()

test('Kysely', () =>
  assertSame(conninfo, kysely, [
    async (db) => void (await sql.raw(SCHEMA).execute(db)),
    (db) => db.transaction().execute((trx) => insert(trx, 1)),
    (db) => db.transaction().execute((trx) => insert(trx, 1)),
    (db) =>
      db.transaction().execute(async (trx) => {
        await insert(trx, 2)
        throw new Error('no')
      }),
    (db) =>
      db
        .transaction()
        .setIsolationLevel('read committed')
        .setAccessMode('read only')
        .execute((trx) => insert(trx, 3)),
    (db) => db.transaction().execute((trx) => trx.insertInto('parts').values({ id: 1, item: 99 }).execute()),
    async (db) => {
      const trx = await db.startTransaction().execute()
      await insert(trx, 4)
      const inner = await trx.savepoint('inner').execute()
      await insert(inner as never, 4).catch(() => {})
      await inner.rollbackToSavepoint('inner').execute()
      await insert(trx, 5)
      await trx.commit().execute()
    },
    async (db) => {
      const trx = await db.startTransaction().execute()
      await insert(trx, 6)
      await trx.rollback().execute()
    },
    (db) =>
      atOnce(12, (n) =>
        db.transaction().execute(async (trx) => {
          await insert(trx, 100 + n)
          if (n % 3 === 0) await insert(trx, 1)
          if (n % 4 === 0) throw new Error('no')
          return trx.selectFrom('items').select('id').orderBy('id').execute()
        }),
      ),
    (db) => atOnce(6, (n) => insert(db, n)),
    (db) => db.selectFrom('items').selectAll().orderBy('id').execute(),
    async (db) => void (await sql.raw(GONE).execute(db)),
  ]))

const open = async (pool: pg.Pool) => drizzle({ client: pool })

test('Drizzle', () =>
  assertSame(
    conninfo,
    over(open, async () => {}),
    [
      (db) => db.execute(drizzleSql.raw(SCHEMA)),
      (db) => db.transaction((tx) => tx.execute(drizzleSql.raw(item(1)))),
      (db) => db.transaction((tx) => tx.execute(drizzleSql.raw(item(1)))),
      (db) =>
        db.transaction(async (tx) => {
          await tx.execute(drizzleSql.raw(item(2)))
          tx.rollback()
        }),
      (db) =>
        db.transaction(async (tx) => {
          await tx.execute(drizzleSql.raw(item(3)))
          await tx.transaction((inner) => inner.execute(drizzleSql.raw(item(3)))).catch(() => {})
          await tx.transaction((inner) => inner.execute(drizzleSql.raw(item(4))))
        }),
      (db) => db.transaction((tx) => tx.execute(drizzleSql.raw(part(1, 99)))),
      (db) => db.transaction((tx) => tx.execute(drizzleSql.raw(item(5))), { accessMode: 'read only' }),
      (db) =>
        atOnce(12, (n) =>
          db.transaction(async (tx) => {
            await tx.execute(drizzleSql`INSERT INTO items VALUES (${100 + n}, 'x')`)
            if (n % 3 === 0) await tx.execute(drizzleSql.raw(item(1)))
            if (n % 4 === 0) tx.rollback()
          }),
        ),
      (db) => db.execute(drizzleSql.raw(IDS)),
      (db) => db.execute(drizzleSql.raw(GONE)),
    ],
  ))

const openKnex = async (connectionPool: pg.Pool): Promise<Knex> =>
  knex({ client: 'pg', connectionPool, log: { error: () => {}, warn: () => {} } })

test('Knex', () =>
  assertSame(
    conninfo,
    over(openKnex, (db) => db.destroy()),
    [
      (db) => db.raw(SCHEMA).then(() => null),
      (db) => db.transaction((trx) => trx('items').insert({ id: 1, name: 'x' }, 'id')),
      (db) => db.transaction((trx) => trx('items').insert({ id: 1, name: 'x' })),
      (db) =>
        db.transaction(async (trx) => {
          await trx('items').insert({ id: 2, name: 'x' })
          await trx.rollback(new Error('no'))
        }),
      (db) =>
        db.transaction(async (trx) => {
          await trx('items').insert({ id: 3, name: 'x' })
          await trx.transaction((inner) => inner('items').insert({ id: 3 })).catch(() => {})
          await trx.transaction((inner) =>
            inner('items')
              .insert({ id: 4 })
              .then(() => {}),
          )
        }),
      (db) => db.transaction((trx) => trx('parts').insert({ id: 1, item: 99 })),
      (db) =>
        db
          .transaction((trx) => trx('items').insert({ id: 5 }), { isolationLevel: 'read committed' })
          .then(() => 1),
      (db) => db.transaction((trx) => trx('items').insert({ id: 6 }), { readOnly: true }),
      async (db) => {
        const trx = await db.transaction()
        await trx('items').insert({ id: 7 })
        await trx.commit()
        return trx.isCompleted()
      },
      async (db) => {
        const ids: unknown[] = []
        await db.transaction(async (trx) => {
          for await (const row of trx('items').select('id').orderBy('id').stream()) ids.push(row)
        })
        return ids
      },
      (db) =>
        atOnce(12, (n) =>
          db.transaction(async (trx) => {
            await trx('items').insert({ id: 100 + n })
            if (n % 3 === 0) await trx('items').insert({ id: 1 })
            if (n % 4 === 0) throw new Error('no')
          }),
        ),
      (db) => db('items').orderBy('id').pluck('id'),
      (db) => db.raw(GONE).then(() => null),
    ],
  ))

async function openTypeOrm(pool: pg.Pool): Promise<DataSource> {
  // TypeORM makes its pool itself, from the driver that it is given.
  class Pool {
    constructor() {
      return pool
    }
  }
  return new DataSource({ type: 'postgres', driver: { Pool } }).initialize()
}

test('TypeORM', () =>
  assertSame(
    conninfo,
    over(openTypeOrm, (source) => source.destroy()),
    [
      (source) => source.query(SCHEMA).then(() => null),
      (source) => source.transaction((manager) => manager.query(item(1))),
      (source) => source.transaction((manager) => manager.query(item(1))),
      (source) =>
        source.transaction('READ COMMITTED', async (manager) => {
          await manager.query(item(2))
          throw new Error('no')
        }),
      (source) =>
        source.transaction(async (manager) => {
          await manager.query(item(3))
          await manager.transaction((inner) => inner.query(item(3))).catch(() => {})
          await manager.transaction((inner) => inner.query(item(4)))
        }),
      (source) => source.transaction((manager) => manager.query(part(1, 99))),
      async (source) => {
        const runner = source.createQueryRunner()
        await runner.startTransaction()
        await runner.query(item(5))
        await runner.rollbackTransaction()
        await runner.startTransaction()
        await runner.query(item(6))
        await runner.commitTransaction()
        await runner.release()
      },
      async (source) => {
        const runner = source.createQueryRunner()
        await runner.query('BEGIN')
        await runner.query(item(7))
        await runner.release()
      },
      (source) =>
        atOnce(12, (n) =>
          source.transaction(async (manager) => {
            await manager.query('INSERT INTO items VALUES ($1)', [100 + n])
            if (n % 3 === 0) await manager.query(item(1))
            if (n % 4 === 0) throw new Error('no')
          }),
        ),
      (source) => source.query(IDS),
      (source) => source.query(GONE).then(() => null),
    ],
  ))
