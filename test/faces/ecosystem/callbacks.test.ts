/** Code in pg's callback style, and pg-promise, which is built on it. */
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import type pg from 'pg'
import type { IDatabase, IMain } from 'pg-promise'
import {
  ChangeOfMind,
  changesItsMind,
  KEPT_SUM,
  openPooled,
  orChangeOfMind,
  tasks,
  TASKS,
} from '../../support/ecosystem.js'
import { openSuite } from '../../support/suite.js'
import { within } from '../../support/wait.js'

const { test, database } = await openSuite()
await database.admin.query('CREATE TABLE account (id integer PRIMARY KEY, balance integer NOT NULL)')
await database.admin.query('INSERT INTO account VALUES (1, 0), (2, 0)')

/** A transaction as it was written before there were promises. */
function add(pool: pg.Pool, n: number, callback: (error: Error | null) => void): void {
  pool.connect((error, client, done) => {
    if (error !== undefined || client === undefined) return callback(error!)
    const rollback = (failure: Error): void => {
      client.query('ROLLBACK', (broken) => {
        done(broken)
        callback(failure)
      })
    }
    client.query('BEGIN', (failure) => {
      if (failure) return rollback(failure)
      client.query('SELECT balance FROM account WHERE id = 1', (failed, result) => {
        if (failed) return rollback(failed)
        const { balance } = result.rows[0] as { balance: number }
        client.query('UPDATE account SET balance = $1 WHERE id = 1', [balance + n], (refused) => {
          if (refused) return rollback(refused)
          if (changesItsMind(n)) return rollback(new ChangeOfMind())
          client.query('COMMIT', (lost) => {
            done(lost)
            callback(lost ?? null)
          })
        })
      })
    })
  })
}

test('transactions in callback style run one after the other', async () => {
  await using it = openPooled(database)
  const asked = tasks((n) =>
    orChangeOfMind(
      new Promise<void>((resolve, reject) =>
        add(it.pool, n, (error) => (error === null ? resolve() : reject(error))),
      ),
    ),
  )
  await within(Promise.all(asked), 'everybody')
  assert.deepEqual((await it.pool.query('SELECT balance FROM account WHERE id = 1')).rows, [
    { balance: KEPT_SUM },
  ])
  assert.equal(it.leaks, 0)
  assert.equal(it.manager.stats.connects, 1)
})

/** pg-promise makes its pool itself, from the module that it calls its pg. */
function openPgPromise(it: ReturnType<typeof openPooled>): IDatabase<unknown> {
  const pgPromise = createRequire(import.meta.url)('pg-promise') as (options?: object) => IMain
  const pgp = pgPromise({ noWarnings: true })
  const driver = pgp.pg as unknown as { Pool: unknown }
  const own = driver.Pool
  driver.Pool = class {
    constructor() {
      return it.pool
    }
  }
  try {
    return pgp({})
  } finally {
    driver.Pool = own
  }
}

test('pg-promise runs queries and tasks at the same time', async () => {
  await using it = openPooled(database)
  const db = openPgPromise(it)
  const asked = tasks((n) =>
    n % 2 === 0
      ? db.one<{ n: number }>('SELECT $1::int AS n', [n])
      : db.task((task) => task.one<{ n: number }>('SELECT $<n>::int AS n', { n })),
  )
  assert.deepEqual(
    (await within(Promise.all(asked), 'everybody')).map(({ n }) => n),
    Array.from({ length: TASKS }, (_, n) => n),
  )
  await assert.rejects(db.one('SELECT nothing'), { code: '42703' })
})

test('pg-promise’s transactions commit, and roll back on an error, nested ones too', async () => {
  await using it = openPooled(database)
  const db = openPgPromise(it)
  const asked = tasks((n) =>
    orChangeOfMind(
      db.tx(async (tx) => {
        const { balance } = await tx.one<{ balance: number }>('SELECT balance FROM account WHERE id = 2')
        await tx.none('UPDATE account SET balance = $1 WHERE id = 2', [balance + n])
        await tx.tx((inner) => inner.none('INSERT INTO account VALUES (2, 0)')).catch(() => {})
        if (changesItsMind(n)) throw new ChangeOfMind()
      }),
    ),
  )
  await within(Promise.all(asked), 'everybody')
  assert.deepEqual(await db.one('SELECT balance FROM account WHERE id = 2'), { balance: KEPT_SUM })
  assert.equal(it.leaks, 0)
})
