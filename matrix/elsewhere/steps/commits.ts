/** What is committed, and what is not. */
import assert from 'node:assert/strict'
import { UncommittedTransactionError } from 'pg-managed-connection'
import { balances, onGround, type Steps } from './ground.js'

export const commitSteps: Steps = {
  'a transaction commits when its callback returns': () =>
    onGround(async ({ manager, database }) => {
      await manager.transaction(async (connection) => {
        await connection.query('UPDATE accounts SET balance = balance - 10 WHERE id = 1')
        await connection.query('UPDATE accounts SET balance = balance + 10 WHERE id = 2')
      })
      assert.deepEqual(await balances(database), [90, 110])
    }),

  'a transaction is rolled back when its callback throws': () =>
    onGround(async ({ manager, database }) => {
      const failing = manager.transaction(async (connection) => {
        await connection.query('UPDATE accounts SET balance = 0')
        throw new RangeError('changed my mind')
      })
      await assert.rejects(failing, RangeError)
      assert.deepEqual(await balances(database), [100, 100])
    }),

  'a nested transaction is a savepoint': () =>
    onGround(async ({ manager, database }) => {
      await manager.transaction(async (connection) => {
        await connection.query('UPDATE accounts SET balance = 1 WHERE id = 1')
        const inner = connection.transaction((nested) => nested.query('SELECT 1 / 0'))
        await assert.rejects(inner, { code: '22012' })
      })
      assert.deepEqual(await balances(database), [1, 100])
    }),

  'a transaction that use() leaves open is rolled back, and its task is told': () =>
    onGround(async ({ manager, database }) => {
      const left = manager.use(async (connection) => {
        await connection.query('UPDATE accounts SET balance = 0')
      })
      await assert.rejects(left, UncommittedTransactionError)
      assert.deepEqual(await balances(database), [100, 100])
    }),

  'the handle of acquire() commits by hand': () =>
    onGround(async ({ manager, database }) => {
      {
        await using connection = await manager.acquire()
        await connection.query('UPDATE accounts SET balance = 7 WHERE id = 1')
        await connection.commit()
      }
      assert.deepEqual(await balances(database), [7, 100])
    }),

  'a hundred transactions at once lose no update': () =>
    onGround(async ({ manager, database }) => {
      const add = (): Promise<void> =>
        manager.transaction(async (connection) => {
          const { rows } = await connection.query<{ balance: number }>(
            'SELECT balance FROM accounts WHERE id = 1',
          )
          await connection.query('UPDATE accounts SET balance = $1 WHERE id = 1', [rows[0]!.balance + 1])
        })
      await Promise.all(Array.from({ length: 100 }, add))
      assert.deepEqual(await balances(database), [200, 100])
      assert.equal(manager.stats.connects, 1)
    }),

  'a batch is one transaction': () =>
    onGround(async ({ manager, database }) => {
      const [inserted, counted] = await manager.batch([
        { text: 'INSERT INTO accounts VALUES ($1, $2, 0)', values: [3, 'Cleo'] },
        'SELECT count(*)::int AS n FROM accounts',
      ])
      assert.equal(inserted.rowCount, 1)
      assert.deepEqual(counted.rows, [{ n: 3 }])
      await assert.rejects(manager.batch(['DELETE FROM accounts', 'SELECT 1 / 0']), { code: '22012' })
      assert.deepEqual(await balances(database), [100, 100, 0])
    }),
}
