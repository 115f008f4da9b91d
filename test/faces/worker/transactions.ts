/** Tests of transactions, for every face. */
import assert from 'node:assert/strict'
import {
  ConnectionReleasedError,
  StatementTimeoutError,
  TransactionEndedError,
  TransactionOrderError,
  type Connection,
} from 'pg-managed-connection'
import { caught, reason } from '../../support/caught.js'
import type { Suite } from '../../support/worker/face.js'

export async function testTransactions({ test, database, face }: Suite): Promise<void> {
  const table = face.name === 'directly' ? 'direct' : 'remote'
  await database.admin.query(`CREATE TABLE ${table} (id int PRIMARY KEY)`)
  const insert = `INSERT INTO ${table} VALUES ($1)`
  const stored = async (): Promise<number[]> => {
    const rows = await database.admin.rows<{ id: number }>(`DELETE FROM ${table} RETURNING id`)
    return rows.map(({ id }) => id).sort((a, b) => a - b)
  }

  test('a transaction commits what its work did, and rolls back what failed', async () => {
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

  test('a commit that fails is the error of its own caller', async () => {
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

  test('modes of a transaction reach the server', async () => {
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

  test('a serialization failure is tried again, as often as asked for', async () => {
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

  test('commit and rollback are out of order inside transaction()', async () => {
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

  test('a transaction that user text ended is reported', async () => {
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

  test('nested transactions are savepoints: the inner fails, the outer goes on', async () => {
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

  test('while a nested transaction is open it speaks alone, and its handle dies with it', async () => {
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

  test('connection.transaction in a use is a whole transaction', async () => {
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

  test('statements issued together are answered in order', async () => {
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

  test('a text that is hard to read is taken for what the server says of it', async () => {
    await using faced = face.open()
    const { manager } = faced
    const name = `${face.name.replaceAll(' ', '_')}_atomic`
    const texts = [
      "SELECT 1 WHERE 'a' LIKE 'a%' ESCAPE '\\'",
      "SELECT 'C:\\' AS path",
      'SELECT atomic FROM (SELECT 1 AS atomic) AS one',
      // Since PostgreSQL 14.
      ...((await database.admin.serverVersion()) < 140_000
        ? []
        : [
            `CREATE OR REPLACE FUNCTION ${name}() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT 2; END`,
          ]),
      `DROP FUNCTION IF EXISTS ${name}()`,
      'SAVEPOINT a; SELECT 1; ROLLBACK TO a',
    ]
    let id = 0
    for (const text of texts) {
      await manager.transaction(async (connection) => {
        await connection.query(insert, [++id])
        await connection.query(text)
        await connection.query(insert, [++id])
      })
      await manager.use(async (connection) => {
        await connection.query(insert, [++id])
        await connection.transaction((inner) => inner.query(text))
        await connection.commit()
      })
    }
    await manager.batch(texts.slice(0, 3))
    assert.deepEqual(
      await stored(),
      Array.from({ length: 3 * texts.length }, (_, n) => n + 1),
    )
  })

  test('what user text has ended is said to be, whatever came after it', async () => {
    await using faced = face.open()
    const { manager } = faced
    const works: Record<string, [work: (connection: Connection) => Promise<unknown>, kept: number[]]> = {
      'ended, and begun again': [
        async (connection) => {
          await connection.query(insert, [1])
          await connection.query('COMMIT; BEGIN; SELECT 1')
        },
        [1],
      ],
      'ended, begun again and failed': [
        async (connection) => {
          await connection.query(insert, [1])
          await connection.query('COMMIT; BEGIN; SELECT 1/0').catch(() => {})
        },
        [1],
      ],
      'begun and ended by the first text': [
        (connection) => connection.query(`BEGIN; ${insert.replace('$1', '1')}; COMMIT; BEGIN`),
        [1],
      ],
      'begun and rolled back by the first text': [
        (connection) => connection.query(`BEGIN; ${insert.replace('$1', '1')}; ROLLBACK; BEGIN`),
        [],
      ],
      'ended by the first text': [
        (connection) => connection.query(`COMMIT; ${insert.replace('$1', '1')}`),
        [1],
      ],
      'ended inside a savepoint': [
        async (connection) => {
          await connection.query(insert, [1])
          await connection.transaction((inner) => inner.query('COMMIT'))
        },
        [1],
      ],
    }
    for (const [what, [work, kept]] of Object.entries(works)) {
      await caught(manager.transaction(work), TransactionEndedError)
      assert.deepEqual(await stored(), kept, what)
    }
    for (const text of ['COMMIT', `COMMIT; ${insert.replace('$1', '2')}`]) {
      const nested = manager.use(async (connection) => {
        await connection.query(insert, [1])
        await connection.transaction(async (inner) => {
          await inner.query(text)
          await inner.query('SELECT 1')
        })
      })
      await caught(nested, TransactionEndedError)
      await stored()
    }
  })

  test('what user text has committed is not done again', async () => {
    await using faced = face.open()
    const { manager } = faced
    const fail = "DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '40001'; END $$"
    let attempts = 0
    const work = async (connection: Connection): Promise<void> => {
      await connection.query(insert, [++attempts])
      await connection.query(`COMMIT; ${fail}`)
    }
    const error = await reason(manager.transaction(work, { retries: 3 }))
    assert.equal((error as { code: string }).code, '40001')
    assert.deepEqual(await stored(), [1])
    attempts = 0
    await assert.rejects(
      manager.transaction(
        async (connection) => {
          attempts++
          await connection.query(fail)
        },
        { retries: 2 },
      ),
    )
    assert.equal(attempts, 3)
  })

  test('the modes of a transaction hold, even if its first text is BEGIN', async () => {
    await using faced = face.open()
    const modes = { isolationLevel: 'serializable', accessMode: 'read only' } as const
    const shown = await faced.manager.transaction(async (connection) => {
      await connection.query('BEGIN')
      const { rows } = await connection.query(
        "SELECT current_setting('transaction_isolation') AS level, current_setting('transaction_read_only') AS only",
      )
      return rows[0] as unknown
    }, modes)
    assert.deepEqual(shown, { level: 'serializable', only: 'on' })
  })

  test('retrySafe is false where a text may have committed a part', async () => {
    await using faced = face.open()
    const { manager } = faced
    const procedure = `${face.name.replaceAll(' ', '_')}_in_parts`
    await manager.query(
      `CREATE PROCEDURE ${procedure}() LANGUAGE plpgsql AS ` +
        `$$ BEGIN ${insert.replace('$1', '2')}; COMMIT; PERFORM pg_sleep(10); END $$`,
    )
    const timeoutMillis = 200
    const parts: Record<string, () => Promise<unknown>> = {
      'a one-shot that commits': () =>
        manager.query({ text: `${insert.replace('$1', '1')}; COMMIT; SELECT pg_sleep(10)`, timeoutMillis }),
      'a procedure': () => manager.query({ text: `CALL ${procedure}()`, timeoutMillis }),
      'a procedure of a holder': () =>
        manager.use((connection) => connection.query({ text: `CALL ${procedure}()`, timeoutMillis }), {
          autocommit: true,
        }),
    }
    for (const [what, part] of Object.entries(parts)) {
      const error = await caught(part(), StatementTimeoutError)
      assert.equal(error.retrySafe, false, what)
      assert.equal((await stored()).length, 1, what)
    }
    const whole = manager.query({ text: 'SELECT pg_sleep(10)', timeoutMillis })
    assert.equal((await caught(whole, StatementTimeoutError)).retrySafe, true)
    // A limit tells more than that a transaction was left open.
    const open = manager.query({ text: 'BEGIN; SELECT pg_sleep(10)', timeoutMillis })
    assert.equal((await caught(open, StatementTimeoutError)).retrySafe, true)
  })

  test('a batch that is aborted rejects with the very reason, whatever it is', async () => {
    await using faced = face.open()
    const stop = new AbortController()
    const frozen = Object.freeze(new Error('stop'))
    const asked = faced.manager.batch(['SELECT 1', 'SELECT pg_sleep(10)'], { signal: stop.signal })
    setTimeout(() => stop.abort(frozen), 100)
    assert.equal(await reason(asked), frozen)
    assert.equal('index' in frozen, false)
  })

  test('a nested transaction that begins as its holder leaves opens nothing', async () => {
    await using faced = face.open()
    const { manager } = faced
    const handle = await manager.acquire()
    await handle.query('SELECT 1')
    const nested = reason(handle.transaction((inner) => inner.query(insert, [1])))
    await reason(handle.release())
    assert.deepEqual((await manager.query('SELECT 2 AS two')).rows, [{ two: 2 }])
    assert.ok((await nested) instanceof Error)
    assert.deepEqual(await stored(), [])
    assert.equal(manager.stats.disconnects, 0)
  })

  test('a nested transaction that nobody waits for ends quietly when its holder leaves', async () => {
    await using faced = face.open()
    const { manager } = faced
    const left = manager.use(async (connection) => {
      void connection.transaction(async (inner) => {
        await inner.query(insert, [1])
        await new Promise((resolve) => setTimeout(resolve, 50))
        await inner.query(insert, [2])
      })
      await connection.query('SELECT 1').catch(() => {})
      await new Promise((resolve) => setTimeout(resolve, 20))
    })
    await assert.rejects(left)
    await new Promise((resolve) => setTimeout(resolve, 100))
    assert.deepEqual(await stored(), [])
  })

  test('rows that are asked for as their nested transaction ends are never fetched', async () => {
    await using faced = face.open()
    const { manager } = faced
    let asked: Promise<unknown> | undefined
    await manager.use(
      async (connection) => {
        await connection.transaction(async (inner) => {
          asked = reason(inner.stream(`${insert} RETURNING id`, [1]).next())
          await Promise.resolve()
        })
        assert.ok((await asked) instanceof ConnectionReleasedError, String(await asked))
      },
      { autocommit: true },
    )
    assert.deepEqual(await stored(), [])
  })

  test('a nested transaction that a text has ended names that text', async () => {
    await using faced = face.open()
    const { manager } = faced
    await manager.use(async (connection) => {
      await connection.query('SELECT 1')
      const error = await caught(
        connection.transaction((inner) => inner.query('COMMIT')),
        TransactionEndedError,
      )
      assert.equal(error.statement, 'COMMIT')
      await connection.rollback()
    })
  })
}
