/** Tests of transactions, for every face. */
import assert from 'node:assert/strict'
import {
  ConnectionReleasedError,
  TransactionEndedError,
  TransactionOrderError,
  type Connection,
} from 'pg-managed-connection'
import { caught, reason } from '../core/caught.js'
import type { Suite } from './face.js'

export async function testTransactions({ test, database, face }: Suite): Promise<void> {
  const named = (sentence: string): string => `${face.name}: ${sentence}`
  const table = face.name === 'directly' ? 'direct' : 'remote'
  await database.admin.query(`CREATE TABLE ${table} (id int PRIMARY KEY)`)
  const insert = `INSERT INTO ${table} VALUES ($1)`
  const stored = async (): Promise<number[]> => {
    const rows = await database.admin.rows<{ id: number }>(`DELETE FROM ${table} RETURNING id`)
    return rows.map(({ id }) => id).sort((a, b) => a - b)
  }

  test(named('a transaction commits what its work did, and rolls back what failed'), async () => {
    await using faced = face.open()
    const { manager } = faced
    assert.equal(
      await manager.transaction(async (connection) => {
        await connection.query(insert, [1])
        return 'done'
      }),
      'done',
    )
    await assert.rejects(
      manager.transaction(async (connection) => {
        await connection.query(insert, [2])
        throw new Error('no')
      }),
    )
    await Promise.all(
      [3, 4, 5].map((n) => manager.transaction((connection) => connection.query(insert, [n]))),
    )
    assert.deepEqual(await stored(), [1, 3, 4, 5])
  })

  test(named('a commit that fails is the error of its own caller'), async () => {
    await using faced = face.open()
    const { manager } = faced
    await manager.query(
      `CREATE TABLE IF NOT EXISTS deferred_${table} (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)`,
    )
    const fails = (): Promise<unknown> =>
      manager.transaction(async (connection) => {
        await connection.query(`INSERT INTO deferred_${table} VALUES (1), (1)`)
      })
    const [first, second, third] = await Promise.allSettled([
      fails(),
      manager.transaction((connection) => connection.query(insert, [1])),
      fails(),
    ])
    assert.equal(first.status === 'rejected' && (first.reason as { code: string }).code, '23505')
    assert.equal(second.status, 'fulfilled')
    assert.equal(third.status, 'rejected')
    assert.deepEqual(await stored(), [1])
  })

  test(named('modes of a transaction reach the server'), async () => {
    await using faced = face.open()
    const modes = await faced.manager.transaction(
      async (connection) => {
        const { rows } = await connection.query(
          "SELECT current_setting('transaction_isolation') AS level, current_setting('transaction_read_only') AS ro",
        )
        return rows[0] as unknown
      },
      { isolationLevel: 'serializable', accessMode: 'read only', deferrable: true },
    )
    assert.deepEqual(modes, { level: 'serializable', ro: 'on' })
  })

  test(named('a serialization failure is tried again, as often as asked for'), async () => {
    await using faced = face.open()
    const { manager } = faced
    const fail = "DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '40001'; END $$"
    let runs = 0
    const answer = await manager.transaction(
      async (connection) => {
        if (++runs < 3) await connection.query(fail)
        return runs
      },
      { retries: 5 },
    )
    assert.equal(answer, 3)
    runs = 0
    const error = await reason(
      manager.transaction(
        (connection) => {
          runs++
          return connection.query(fail)
        },
        { retries: 1 },
      ),
    )
    assert.equal((error as { code: string }).code, '40001')
    assert.equal(runs, 2)
  })

  test(named('commit and rollback are out of order inside transaction()'), async () => {
    await using faced = face.open()
    await faced.manager.transaction(async (connection) => {
      await caught(connection.commit(), TransactionOrderError)
      await caught(connection.rollback(), TransactionOrderError)
      await caught(connection.release(), TransactionOrderError)
      assert.throws(() => (connection.autocommit = true), TransactionOrderError)
      await connection.query(insert, [1])
    })
    assert.deepEqual(await stored(), [1])
  })

  test(named('a transaction that user text ended is reported'), async () => {
    await using faced = face.open()
    const error = await caught(
      faced.manager.transaction(async (connection) => {
        await connection.query(insert, [1])
        await connection.query('ROLLBACK')
      }),
      TransactionEndedError,
    )
    assert.equal(error.statement, 'ROLLBACK')
    assert.deepEqual(await stored(), [])
  })

  test(named('nested transactions are savepoints: the inner fails, the outer goes on'), async () => {
    await using faced = face.open()
    const own = new Error('inner')
    await faced.manager.transaction(async (outer) => {
      await outer.query(insert, [1])
      const error = await reason(
        outer.transaction(async (inner) => {
          await inner.query(insert, [2])
          throw own
        }),
      )
      assert.equal(error, own)
      await outer.transaction(async (inner) => {
        await inner.query(insert, [3])
        await inner.transaction((deepest) => deepest.query(insert, [4]))
        await assert.rejects(inner.transaction((deepest) => deepest.query(insert, [3])))
      })
      await outer.query(insert, [5])
    })
    assert.deepEqual(await stored(), [1, 3, 4, 5])
  })

  test(named('while a nested transaction is open it speaks alone, and its handle dies with it'), async () => {
    await using faced = face.open()
    let kept: Connection | undefined
    await faced.manager.transaction(async (outer) => {
      await outer.transaction(async (inner) => {
        kept = inner
        await caught(outer.query('SELECT 1'), TransactionOrderError)
        await caught(
          outer.transaction(() => assert.fail('a sibling ran')),
          TransactionOrderError,
        )
        await inner.query(insert, [1])
      })
      await caught(kept!.query('SELECT 1'), ConnectionReleasedError)
      await outer.query(insert, [2])
    })
    assert.deepEqual(await stored(), [1, 2])
  })

  test(named('connection.transaction in a use is a whole transaction'), async () => {
    await using faced = face.open()
    await faced.manager.use(async (connection) => {
      await connection.transaction((inner) => inner.query(insert, [1]))
      assert.equal(connection.status, 'idle')
      await assert.rejects(
        connection.transaction(async (inner) => {
          await inner.query(insert, [2])
          throw new Error('no')
        }),
      )
      assert.equal(connection.status, 'idle')
    })
    assert.deepEqual(await stored(), [1])
  })

  test(named('statements issued together are answered in order'), async () => {
    await using faced = face.open()
    const texts = await faced.manager.transaction(async (connection) => {
      const results = await Promise.all(
        Array.from({ length: 20 }, (_, n) => connection.query('SELECT $1::int AS n', [n])),
      )
      return results.map(({ rows }) => (rows[0] as { n: number }).n)
    })
    assert.deepEqual(
      texts,
      Array.from({ length: 20 }, (_, n) => n),
    )
  })
}
