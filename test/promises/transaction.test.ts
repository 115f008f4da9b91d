/** `transaction`: modes, retries, nesting, order, and what ends a transaction behind its back. */
import assert from 'node:assert/strict'
import pg from 'pg'
import {
  CommitRolledBackError,
  ConnectionReleasedError,
  StatementTimeoutError,
  TransactionEndedError,
  TransactionOrderError,
  UncommittedTransactionError,
  UnfinishedStatementError,
  type Connection,
  type TransactionOptions,
} from 'pg-managed-connection'
import { assertSame, caught, createGate, errorOf, outcome, reason, settle } from '../support/caught.js'
import { ManagedConnection } from '../support/managed.js'
import { startProxy } from '../support/proxy.js'
import { onGround, openSuite } from '../support/suite.js'
import { until, within } from '../support/wait.js'
import { conninfoThrough } from '../support/proxied.js'

const { test: declare, database } = await openSuite()
const { admin } = database
await admin.query(`
  CREATE TABLE t (id int);
  CREATE TABLE parent (id int PRIMARY KEY);
  CREATE TABLE child (id int, parent int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
  CREATE TABLE counter (id int PRIMARY KEY, n int)`)

/** Each test begins with empty tables. */
const test = onGround(() => admin.query('TRUNCATE t, parent, child, counter'), declare)

function insert(connection: Connection, id: number): Promise<pg.QueryResult> {
  return connection.query('INSERT INTO t VALUES ($1)', [id])
}

async function setting(connection: Connection, name: string): Promise<string> {
  const { rows } = await connection.query<{ value: string }>('SELECT current_setting($1) AS value', [name])
  return rows[0]!.value
}

// ---- modes

for (const isolationLevel of [
  'read uncommitted',
  'read committed',
  'repeatable read',
  'serializable',
] as const) {
  test(`isolationLevel: '${isolationLevel}' reaches the server`, async () => {
    await using manager = new ManagedConnection(database.conninfo)
    await manager.transaction(
      async (connection) => assert.equal(await setting(connection, 'transaction_isolation'), isolationLevel),
      { isolationLevel },
    )
  })
}

test("accessMode: 'read only' refuses to write, 'read write' writes where the default is read only", async () => {
  await using manager = new ManagedConnection(database.conninfo, {
    onConnect: async (client) => void (await client.query('SET default_transaction_read_only = on')),
  })
  const error = await caught(
    manager.transaction((connection) => insert(connection, 1), { accessMode: 'read only' }),
    pg.DatabaseError,
  )
  assert.equal(error.code, '25006')
  await manager.transaction((connection) => insert(connection, 2), { accessMode: 'read write' })
  assert.deepEqual(await admin.ids(), [2])
})

test('deferrable reaches the server, with the other modes beside it', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const modes = { isolationLevel: 'serializable', accessMode: 'read only' } as const
  for (const deferrable of [true, false]) {
    await manager.transaction(
      async (connection) => {
        assert.equal(await setting(connection, 'transaction_deferrable'), deferrable ? 'on' : 'off')
        assert.equal(await setting(connection, 'transaction_isolation'), 'serializable')
        assert.equal(await setting(connection, 'transaction_read_only'), 'on')
      },
      { ...modes, deferrable },
    )
  }
})

test('modes hold even where the first text is BEGIN', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.transaction(
    async (connection) => {
      await connection.query('BEGIN')
      assert.equal(await setting(connection, 'transaction_isolation'), 'serializable')
      assert.equal(await setting(connection, 'transaction_read_only'), 'on')
    },
    { isolationLevel: 'serializable', accessMode: 'read only' },
  )
})

test('without modes the defaults of the server hold', async () => {
  await using manager = new ManagedConnection(database.conninfo, {
    onConnect: async (client) =>
      void (await client.query("SET default_transaction_isolation = 'repeatable read'")),
  })
  await manager.transaction(async (connection) =>
    assert.equal(await setting(connection, 'transaction_isolation'), 'repeatable read'),
  )
})

test('a mode that SQL does not know is refused before anything is sent', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const run = (options: unknown): Promise<unknown> =>
    manager.transaction(() => {}, options as TransactionOptions)
  await assert.rejects(run({ isolationLevel: 'serializable; DROP TABLE t' }), /isolationLevel/)
  await assert.rejects(run({ accessMode: 'write' }), /accessMode/)
  await assert.rejects(run({ deferrable: 'yes' }), /deferrable/)
  await assert.rejects(run({ retries: -1 }), /retries/)
  await assert.rejects(run({ retries: 1.5 }), /retries/)
  assert.equal(manager.closed, true)
})

// ---- retries

/** Makes `transaction` fail with 40001: what it read is changed by others before it writes. */
async function serializationFailure(
  manager: ManagedConnection,
  options: TransactionOptions,
): Promise<number[]> {
  await admin.query('INSERT INTO counter VALUES (1, 0)')
  const attempts: number[] = []
  await manager.transaction(
    async (connection) => {
      attempts.push(attempts.length)
      const { rows } = await connection.query<{ n: number }>('SELECT n FROM counter WHERE id = 1')
      if (attempts.length <= 2) await admin.query('UPDATE counter SET n = n + 10')
      await connection.query('UPDATE counter SET n = $1 WHERE id = 1', [rows[0]!.n + 1])
    },
    { isolationLevel: 'repeatable read', ...options },
  )
  return attempts
}

test(
  'retries: a real 40001 runs work again, and what is stored is right',
  { needs: ['sessions'] },
  async () => {
    await using manager = new ManagedConnection(database.conninfo)
    const attempts = await serializationFailure(manager, { retries: 5 })
    assert.equal(attempts.length, 3)
    assert.deepEqual(await admin.rows('SELECT n FROM counter'), [{ n: 21 }])
  },
)

test(
  'retries: when they are used up the server error is the caller’s, and without them at once',
  { needs: ['sessions'] },
  async () => {
    await using manager = new ManagedConnection(database.conninfo)
    assert.equal(
      (await caught(serializationFailure(manager, { retries: 1 }), pg.DatabaseError)).code,
      '40001',
    )
    await admin.query('TRUNCATE counter')
    assert.equal((await caught(serializationFailure(manager, {}), pg.DatabaseError)).code, '40001')
    assert.deepEqual(await admin.rows('SELECT n FROM counter'), [{ n: 10 }])
  },
)

test(
  'retries: a 40001 that the COMMIT is answered with runs work again',
  { needs: ['sessions'] },
  async () => {
    await using manager = new ManagedConnection(database.conninfo)
    await using other = new ManagedConnection(database.conninfo)
    await admin.query('INSERT INTO counter VALUES (1, 0), (2, 0)')
    let attempts = 0
    const sum = 'SELECT sum(n)::int AS n FROM counter'
    const add = 'UPDATE counter SET n = n + 1 WHERE id = $1'
    await manager.transaction(
      async (connection) => {
        attempts++
        await connection.query(sum)
        if (attempts === 1) {
          // Write skew: each reads what the other writes.
          await other.transaction(
            async (rival) => {
              await rival.query(sum)
              await connection.query(add, [1])
              await rival.query(add, [2])
            },
            { isolationLevel: 'serializable' },
          )
        } else await connection.query(add, [1])
      },
      { isolationLevel: 'serializable', retries: 3 },
    )
    assert.equal(attempts, 2)
    assert.deepEqual(await admin.rows('SELECT n FROM counter ORDER BY id'), [{ n: 1 }, { n: 1 }])
  },
)

test('retries: a real deadlock, 40P01, runs work again', { needs: ['sessions'] }, async () => {
  await using one = new ManagedConnection(database.conninfo)
  await using two = new ManagedConnection(database.conninfo)
  await admin.query('INSERT INTO counter VALUES (1, 0), (2, 0)')
  const both = [createGate(), createGate()]
  let attempts = 0
  const lock = async (manager: ManagedConnection, order: [number, number], me: number): Promise<void> => {
    await manager.transaction(
      async (connection) => {
        attempts++
        await connection.query('SET LOCAL deadlock_timeout = 50')
        await connection.query('UPDATE counter SET n = n + 1 WHERE id = $1', [order[0]])
        both[me]!.open()
        await both[1 - me]!.opened
        await connection.query('UPDATE counter SET n = n + 1 WHERE id = $1', [order[1]])
      },
      { retries: 5 },
    )
  }
  await within(Promise.all([lock(one, [1, 2], 0), lock(two, [2, 1], 1)]), 'both')
  // Where both look for it at the same moment, both are its victims.
  assert.ok(attempts >= 3, `${attempts} attempts`)
  assert.deepEqual(await admin.rows('SELECT n FROM counter ORDER BY id'), [{ n: 2 }, { n: 2 }])
})

test('retries: a 40001 that work swallowed and the COMMIT reports as rolled back runs work again', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  let attempts = 0
  await manager.transaction(
    async (connection) => {
      if (++attempts > 1) return
      await reason(connection.query("DO $$BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END$$"))
    },
    { retries: 1 },
  )
  assert.equal(attempts, 2)
})

test('retries: other errors are not retried, the user’s own with the same code neither', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  let attempts = 0
  const fail = (error: () => unknown): Promise<unknown> =>
    reason(
      manager.transaction(
        () => {
          attempts++
          throw error()
        },
        { retries: 3 },
      ),
    )
  await fail(() => new Error('mine'))
  await fail(() => Object.assign(new Error('looks like it'), { code: '40001' }))
  await reason(
    manager.transaction(
      async (connection) => {
        attempts++
        await connection.query('SELECT 1 / 0')
      },
      { retries: 3 },
    ),
  )
  assert.equal(attempts, 3)
})

test('retries: the turn is given up meanwhile and asked for again at the end of the line', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const order: string[] = []
  let attempts = 0
  const retried = manager.transaction(
    async (connection) => {
      order.push(`attempt ${++attempts}`)
      if (attempts === 1) {
        void manager.use(() => void order.push('neighbour'), { detached: true })
        await connection.query("DO $$BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END$$")
      }
    },
    { retries: 1 },
  )
  await retried
  assert.deepEqual(order, ['attempt 1', 'neighbour', 'attempt 2'])
})

test('retries: a signal that aborts during the backoff ends it with its reason', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const controller = new AbortController()
  const own = new Error('enough')
  let attempts = 0
  const error = await reason(
    manager.transaction(
      async (connection) => {
        if (++attempts === 3) controller.abort(own)
        await connection.query("DO $$BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END$$")
      },
      { retries: 100, signal: controller.signal },
    ),
  )
  assert.equal(error, own)
  assert.equal(attempts, 3)
})

// ---- order

test('commit() and rollback() in the callback are out of order, and nothing is sent', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.transaction(async (connection) => {
    await insert(connection, 1)
    await caught(connection.commit(), TransactionOrderError)
    await caught(connection.rollback(), TransactionOrderError)
    await caught(connection.release(), TransactionOrderError)
    assert.throws(() => (connection.autocommit = true), TransactionOrderError)
    assert.equal(connection.status, 'intrans')
  })
  assert.deepEqual(await admin.ids(), [1])
})

test('commit() in the callback is out of order even before anything was asked', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.transaction(async (connection) => {
    await caught(connection.commit(), TransactionOrderError)
    await caught(connection.rollback(), TransactionOrderError)
  })
})

// ---- nesting

test('nested: in an open transaction it is a savepoint, which is kept with its parent', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.transaction(async (connection) => {
    await insert(connection, 1)
    assert.equal(await connection.transaction(async (child) => (await insert(child, 2)).rowCount), 1)
    await insert(connection, 3)
  })
  assert.deepEqual(await admin.ids(), [1, 2, 3])
})

test('nested: one that throws takes back its own part only', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const own = new Error('mine')
  await manager.transaction(async (connection) => {
    await insert(connection, 1)
    const error = await reason(
      connection.transaction(async (child) => {
        await insert(child, 2)
        throw own
      }),
    )
    assert.equal(error, own)
    await insert(connection, 3)
  })
  assert.deepEqual(await admin.ids(), [1, 3])
})

test('nested: a failed statement is isolated, and the transaction around it goes on', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.transaction(async (connection) => {
    await insert(connection, 1)
    await caught(
      connection.transaction((child) => child.query('SELECT 1 / 0')),
      pg.DatabaseError,
    )
    assert.equal(connection.status, 'intrans')
    await insert(connection, 2)
  })
  assert.deepEqual(await admin.ids(), [1, 2])
})

test('nested: one that swallowed a failed statement is told that it was rolled back', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.transaction(async (connection) => {
    await insert(connection, 1)
    let swallowed: unknown
    const error = await caught(
      connection.transaction(async (child) => {
        await insert(child, 2)
        swallowed = await reason(child.query('SELECT 1 / 0'))
      }),
      CommitRolledBackError,
    )
    assertSame(error.cause, swallowed)
    await insert(connection, 3)
  })
  assert.deepEqual(await admin.ids(), [1, 3])
})

test('nested: three deep, each level taken back alone', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.transaction(async (one) => {
    await insert(one, 1)
    await one.transaction(async (two) => {
      await insert(two, 2)
      await reason(
        two.transaction(async (three) => {
          await insert(three, 3)
          throw new Error('only this')
        }),
      )
      await two.transaction((again) => insert(again, 4))
    })
  })
  assert.deepEqual(await admin.ids(), [1, 2, 4])
})

test('nested: with nothing sent before it, it is still a part of the transaction around it', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const own = new Error('the whole')
  const error = await reason(
    manager.transaction(async (connection) => {
      await connection.transaction((child) => insert(child, 1))
      throw own
    }),
  )
  assert.equal(error, own)
  assert.deepEqual(await admin.ids(), [], 'the parent threw, so nothing of it is stored')
})

test('nested: with nothing sent before it, what comes behind it is committed with it', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.transaction(async (connection) => {
    await connection.transaction((child) => insert(child, 1))
    await insert(connection, 2)
  })
  assert.deepEqual(await admin.ids(), [1, 2])
})

test('nested: with nothing sent before it, its failure leaves the transaction around it usable', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.transaction(async (connection) => {
    await reason(connection.transaction((child) => child.query('SELECT 1 / 0')))
    await insert(connection, 2)
  })
  assert.deepEqual(await admin.ids(), [2])
})

test('nested: modes of the transaction around it hold when the nested one speaks first', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.transaction(
    (connection) =>
      connection.transaction(async (child) =>
        assert.equal(await setting(child, 'transaction_isolation'), 'serializable'),
      ),
    { isolationLevel: 'serializable' },
  )
})

test('nested in a use that is idle: BEGIN to COMMIT, confirmed when it resolves', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.use(async (connection) => {
    await connection.transaction((child) => insert(child, 1))
    assert.equal(connection.status, 'idle')
    assert.deepEqual(await admin.ids(), [1])
    await reason(
      connection.transaction(async (child) => {
        await insert(child, 2)
        throw new Error('mine')
      }),
    )
    assert.equal(connection.status, 'idle')
    await caught(
      connection.transaction(async (child) => {
        await insert(child, 3)
        await reason(child.query('SELECT 1 / 0'))
      }),
      CommitRolledBackError,
    )
    assert.equal(connection.status, 'idle')
  })
  assert.deepEqual(await admin.ids(), [1])
})

test('nested in a use with a transaction open: a savepoint, and the holder commits', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await caught(
    manager.use(async (connection) => {
      await insert(connection, 1)
      await connection.transaction((child) => insert(child, 2))
      assert.equal(connection.status, 'intrans')
    }),
    UncommittedTransactionError,
  )
  assert.deepEqual(await admin.ids(), [])
})

test('nested in an autocommit holder: it is a transaction all the same', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.use(
    async (connection) => {
      await reason(
        connection.transaction(async (child) => {
          await insert(child, 1)
          assert.equal(child.status, 'intrans')
          throw new Error('mine')
        }),
      )
      await connection.transaction((child) => insert(child, 2))
      await insert(connection, 3)
      assert.equal(connection.status, 'idle')
    },
    { autocommit: true },
  )
  assert.deepEqual(await admin.ids(), [2, 3])
})

test('nested: one that asks for nothing is nothing, wherever it stands', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  assert.equal(await manager.transaction((connection) => connection.transaction(() => 1)), 1)
  assert.equal(await manager.use((connection) => connection.transaction(() => 2)), 2)
  await manager.transaction(async (connection) => {
    await insert(connection, 1)
    assert.equal(await connection.transaction(() => 3), 3)
    assert.equal(await connection.transaction((child) => child.transaction(() => 4)), 4)
    const own = new Error('mine')
    const fail = (): never => {
      throw own
    }
    assert.equal(await reason(connection.transaction(fail)), own)
    await insert(connection, 2)
  })
  assert.deepEqual(await admin.ids(), [1, 2])
})

test('nested: the parent handle and siblings are out of order while one is open', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  for (const hold of [manager.use.bind(manager), manager.transaction.bind(manager)]) {
    await hold(async (connection: Connection) => {
      await connection.query('SELECT 1')
      await connection.transaction(async (child) => {
        await caught(connection.query('SELECT 1'), TransactionOrderError)
        await caught(connection.commit(), TransactionOrderError)
        await caught(connection.rollback(), TransactionOrderError)
        await caught(
          connection.transaction(() => {}),
          TransactionOrderError,
        )
        await caught(child.commit(), TransactionOrderError)
        await caught(child.rollback(), TransactionOrderError)
        await child.query('SELECT 1')
      })
      await connection.query('SELECT 1')
      if (hold.name.includes('use')) await connection.rollback()
    })
  }
})

test('nested: of two siblings started at once the second is refused, the first goes on', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.transaction(async (connection) => {
    await insert(connection, 1)
    const [first, second] = await Promise.allSettled([
      connection.transaction((child) => insert(child, 2)),
      connection.transaction((child) => insert(child, 3)),
    ])
    assert.equal(first.status, 'fulfilled')
    assert.ok((second as PromiseRejectedResult).reason instanceof TransactionOrderError)
  })
  assert.deepEqual(await admin.ids(), [1, 2])
})

test('nested: a statement that it leaves in flight takes back its part and is told', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.transaction(async (connection) => {
    await insert(connection, 1)
    await caught(
      connection.transaction((child) => {
        void insert(child, 2)
      }),
      UnfinishedStatementError,
    )
    await insert(connection, 3)
  })
  assert.deepEqual(await admin.ids(), [1, 3])
})

for (const how of ['use', 'transaction'] as const) {
  test(`nested: ${how} that leaves while its nested transaction is open stores nothing of it`, async () => {
    await using manager = new ManagedConnection(database.conninfo)
    const gate = createGate()
    const inserted = createGate()
    let nested: Promise<PromiseSettledResult<void>> | undefined
    const left = await outcome(
      manager[how](async (connection: Connection) => {
        if (how === 'transaction') await connection.query('SELECT 1')
        nested = outcome(
          connection.transaction(async (child) => {
            await insert(child, 1)
            inserted.open()
            await gate.opened
            await insert(child, 2)
          }),
        )
        await inserted.opened
      }),
    )
    gate.open()
    const inner = await nested!
    assert.deepEqual(await admin.ids(), [], 'half of a transaction was stored')
    assert.equal(left.status, 'rejected')
    assert.ok(errorOf(inner) instanceof ConnectionReleasedError)
  })
}

test('nested: one that begins as its holder leaves opens nothing', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const handle = await manager.acquire()
  await handle.query('SELECT 1')
  const nested = reason(handle.transaction((child) => insert(child, 1)))
  await reason(handle.release())
  assert.deepEqual((await manager.query('SELECT 2 AS two')).rows, [{ two: 2 }])
  assert.ok((await nested) instanceof Error)
  assert.deepEqual(await admin.ids(), [])
  assert.equal(manager.stats.disconnects, 0)
})

// ---- ended by user text

const ENDINGS: readonly { text: string; stored: number[] }[] = [
  { text: 'COMMIT', stored: [1] },
  { text: 'END', stored: [1] },
  { text: 'commit work', stored: [1] },
  { text: '/* by hand */ COMMIT -- now', stored: [1] },
  { text: 'COMMIT AND CHAIN', stored: [1] },
  { text: 'ROLLBACK', stored: [] },
  { text: 'ABORT', stored: [] },
  { text: 'rollback transaction', stored: [] },
  { text: 'ROLLBACK AND CHAIN', stored: [] },
  { text: 'COMMIT; SELECT 1', stored: [1] },
  { text: 'SELECT 1; ROLLBACK', stored: [] },
  { text: 'COMMIT; BEGIN', stored: [1] },
  { text: 'ROLLBACK; BEGIN', stored: [] },
]

for (const { text, stored } of ENDINGS) {
  test(`user text that ends the transaction is TransactionEndedError, never "committed": ${text}`, async () => {
    await using manager = new ManagedConnection(database.conninfo)
    const error = await caught(
      manager.transaction(async (connection) => {
        await insert(connection, 1)
        await connection.query(text)
      }),
      TransactionEndedError,
    )
    assert.equal(error.statement, text)
    assert.ok(error.message.includes(text))
    assert.equal(error.retrySafe, false)
    assert.deepEqual(await admin.ids(), stored)
    const { rows } = await manager.query('SELECT pg_current_xact_id_if_assigned() AS xid')
    assert.equal(rows[0].xid, null)
    assert.equal(manager.status, 'idle')
  })

  test(`an INSERT behind it, awaited or not, does not run: ${text}`, async () => {
    await using manager = new ManagedConnection(database.conninfo)
    await caught(
      manager.transaction(async (connection) => {
        await insert(connection, 1)
        await Promise.all([connection.query(text), caught(insert(connection, 2), TransactionEndedError)])
        await caught(insert(connection, 3), TransactionEndedError)
      }),
      TransactionEndedError,
    )
    assert.deepEqual(await admin.ids(), stored)
  })

  test(`work that throws behind it gets its own error: ${text}`, async () => {
    await using manager = new ManagedConnection(database.conninfo)
    const own = new Error('mine')
    const error = await reason(
      manager.transaction(async (connection) => {
        await insert(connection, 1)
        await connection.query(text)
        throw own
      }),
    )
    assert.equal(error, own)
    assert.equal(manager.status, 'idle')
  })
}

test('user text that ends it as its first statement is told, too', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await caught(
    manager.transaction(async (connection) => {
      await connection.query('INSERT INTO t VALUES (1); COMMIT')
      await caught(insert(connection, 2), TransactionEndedError)
    }),
    TransactionEndedError,
  )
  assert.deepEqual(await admin.ids(), [1])
})

test('a COMMIT before anything was asked ends nothing, and what follows is one transaction', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await reason(
    manager.transaction(async (connection) => {
      await connection.query('COMMIT')
      await insert(connection, 2)
      throw new Error('mine')
    }),
  )
  assert.deepEqual(await admin.ids(), [])
})

test('PREPARE TRANSACTION ends it, or fails where the server has it switched off', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const error = await reason(
    manager.transaction(async (connection) => {
      await insert(connection, 1)
      await connection.query("PREPARE TRANSACTION 'x'")
    }),
  )
  assert.ok(
    error instanceof TransactionEndedError || (error as pg.DatabaseError).code === '55000',
    String(error),
  )
  await reason(manager.query("ROLLBACK PREPARED 'x'"))
})

test('a procedure that commits inside does not pass as a clean transaction', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await admin.query('CREATE OR REPLACE PROCEDURE committing() LANGUAGE plpgsql AS $$BEGIN COMMIT; END$$')
  const error = await caught(
    manager.transaction(async (connection) => {
      await insert(connection, 1)
      await connection.query('CALL committing()')
    }),
    pg.DatabaseError,
  )
  assert.equal(error.code, '2D000')
  assert.deepEqual(await admin.ids(), [])
})

test('user text with savepoints of its own does not end the transaction', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.transaction(async (connection) => {
    await insert(connection, 1)
    await connection.query('SAVEPOINT mine')
    await insert(connection, 2)
    await connection.query('ROLLBACK TO SAVEPOINT mine')
    await connection.query('RELEASE mine')
    await insert(connection, 3)
  })
  assert.deepEqual(await admin.ids(), [1, 3])
})

test('user text that ends the transaction of a nested one is told by both', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await caught(
    manager.transaction(async (connection) => {
      await insert(connection, 1)
      const { statement } = await caught(
        connection.transaction(async (child) => {
          await insert(child, 2)
          await child.query('ROLLBACK')
        }),
        TransactionEndedError,
      )
      assert.equal(statement, 'ROLLBACK')
    }),
    TransactionEndedError,
  )
  assert.deepEqual(await admin.ids(), [])
})

/** What `work` of a transaction may do to it by its own texts, and which rows that stores. */
const TWISTS: Readonly<
  Record<string, [work: (connection: Connection) => Promise<unknown>, stored: number[]]>
> = {
  'ended, begun again and failed': [
    async (connection) => {
      await insert(connection, 1)
      await connection.query('COMMIT; BEGIN; SELECT 1 / 0').catch(() => {})
    },
    [1],
  ],
  'begun and ended by the first text': [
    (connection) => connection.query('BEGIN; INSERT INTO t VALUES (1); COMMIT; BEGIN'),
    [1],
  ],
  'begun and rolled back by the first text': [
    (connection) => connection.query('BEGIN; INSERT INTO t VALUES (1); ROLLBACK; BEGIN'),
    [],
  ],
  'ended by the first text': [(connection) => connection.query('COMMIT; INSERT INTO t VALUES (1)'), [1]],
  'ended inside a savepoint': [
    async (connection) => {
      await insert(connection, 1)
      await connection.transaction((child) => child.query('COMMIT'))
    },
    [1],
  ],
}

for (const [what, [work, stored]] of Object.entries(TWISTS)) {
  test(`what user text has ended is said to be, whatever came after it: ${what}`, async () => {
    await using manager = new ManagedConnection(database.conninfo)
    await caught(manager.transaction(work), TransactionEndedError)
    assert.deepEqual(await admin.ids(), stored)
  })
}

test('in use(), a nested transaction that a text has ended names that text', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  for (const text of ['COMMIT', 'COMMIT; INSERT INTO t VALUES (2)']) {
    await manager.use(async (connection) => {
      await insert(connection, 1)
      const nested = connection.transaction(async (child) => {
        await child.query(text)
        await child.query('SELECT 1')
      })
      assert.equal((await caught(nested, TransactionEndedError)).statement, text)
      await connection.rollback()
    })
  }
})

test('what user text has committed is not done again', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const fail = "DO $$BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END$$"
  let attempts = 0
  const work = async (connection: Connection): Promise<void> => {
    await insert(connection, ++attempts)
    await connection.query(`COMMIT; ${fail}`)
  }
  const error = await caught(manager.transaction(work, { retries: 3 }), pg.DatabaseError)
  assert.equal(error.code, '40001')
  assert.deepEqual(await admin.ids(), [1])
})

test('a text that is hard to read is taken for what the server says of it', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const texts = [
    "SELECT 1 WHERE 'a' LIKE 'a%' ESCAPE '\\'",
    "SELECT 'C:\\' AS path",
    'SELECT atomic FROM (SELECT 1 AS atomic) AS one',
    // Since PostgreSQL 14.
    ...((await admin.serverVersion()) < 140_000
      ? []
      : ['CREATE OR REPLACE FUNCTION two() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT 2; END']),
    'DROP FUNCTION IF EXISTS two()',
    'SAVEPOINT a; SELECT 1; ROLLBACK TO a',
  ]
  let id = 0
  for (const text of texts) {
    await manager.transaction(async (connection) => {
      await insert(connection, ++id)
      await connection.query(text)
      await insert(connection, ++id)
    })
    await manager.use(async (connection) => {
      await insert(connection, ++id)
      await connection.transaction((child) => child.query(text))
      await connection.commit()
    })
  }
  await manager.batch(texts.slice(0, 3))
  assert.deepEqual(
    await admin.ids(),
    Array.from({ length: 3 * texts.length }, (_, n) => n + 1),
  )
})

test('retrySafe is false where a text may have committed a part', { needs: ['cancel'] }, async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await admin.query(
    `CREATE PROCEDURE in_parts() LANGUAGE plpgsql AS
      $$ BEGIN INSERT INTO t VALUES (2); COMMIT; PERFORM pg_sleep(10); END $$`,
  )
  const timeoutMillis = 200
  const call = { text: 'CALL in_parts()', timeoutMillis }
  const inParts = 'INSERT INTO t VALUES (1); COMMIT; SELECT pg_sleep(10)'
  const parts: Record<string, () => Promise<unknown>> = {
    'a one-shot that commits': () => manager.query({ text: inParts, timeoutMillis }),
    'a procedure': () => manager.query(call),
    'a procedure of a holder': () =>
      manager.use((connection) => connection.query(call), { autocommit: true }),
  }
  for (const [what, part] of Object.entries(parts)) {
    const error = await caught(part(), StatementTimeoutError)
    assert.equal(error.retrySafe, false, what)
    assert.equal((await admin.rows('DELETE FROM t RETURNING id')).length, 1, what)
  }
  const whole = manager.query({ text: 'SELECT pg_sleep(10)', timeoutMillis })
  assert.equal((await caught(whole, StatementTimeoutError)).retrySafe, true)
  // A limit tells more than that a transaction was left open.
  const left = manager.query({ text: 'BEGIN; SELECT pg_sleep(10)', timeoutMillis })
  assert.equal((await caught(left, StatementTimeoutError)).retrySafe, true)
})

test('in use(), user text may control the transaction by hand', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.use(async (connection) => {
    await connection.query('BEGIN ISOLATION LEVEL SERIALIZABLE')
    assert.equal(connection.status, 'intrans')
    assert.equal(await setting(connection, 'transaction_isolation'), 'serializable')
    await insert(connection, 1)
    await connection.query('COMMIT')
    assert.equal(connection.status, 'idle')
    await insert(connection, 2)
    await connection.query('ROLLBACK')
    assert.equal(connection.status, 'idle')
  })
  assert.deepEqual(await admin.ids(), [1])
})

test('in use(), the INSERT behind an unawaited user COMMIT does not outlive the rollback', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.use(async (connection) => {
    await Promise.all([insert(connection, 1), connection.query('COMMIT'), insert(connection, 2)])
    assert.equal(connection.status, 'intrans')
    await connection.rollback()
  })
  assert.deepEqual(await admin.ids(), [1])
})

test('in use(), a user COMMIT of a failed transaction does not hide that nothing was saved', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.use(async (connection) => {
    await insert(connection, 1)
    await reason(connection.query('SELECT 1 / 0'))
    const { command } = await connection.query('COMMIT')
    assert.equal(command, 'ROLLBACK')
  })
  assert.deepEqual(await admin.ids(), [])
})

// ---- commit

test('a deferred constraint that fails at COMMIT is its owner’s error only', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.query('SELECT 1')
  const violating = caught(
    manager.transaction((connection) => connection.query('INSERT INTO child VALUES (1, 999)')),
    pg.DatabaseError,
  )
  const neighbour = manager.transaction(async (connection) => {
    await insert(connection, 1)
    return connection.processID
  })
  const oneShot = manager.query('INSERT INTO t VALUES (2)')
  const third = manager.use(async (connection) => {
    await insert(connection, 3)
    await connection.commit()
  })
  assert.equal((await violating).code, '23503')
  assert.equal(await neighbour, manager.stats.processID)
  await Promise.all([oneShot, third])
  assert.deepEqual(await admin.ids(), [1, 2, 3])
  assert.equal(manager.stats.connects, 1)
})

test('a deferred constraint that fails in commit() of a use is the error of commit()', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.use(async (connection) => {
    await connection.query('INSERT INTO child VALUES (1, 999)')
    assert.equal((await caught(connection.commit(), pg.DatabaseError)).code, '23503')
    assert.equal(connection.status, 'idle')
    await insert(connection, 1)
    await connection.commit()
  })
  assert.deepEqual(await admin.ids(), [1])
})

test(
  'the turn is handed on when COMMIT has been sent, and the promise waits for its answer',
  { needs: ['wire'] },
  async () => {
    await using proxy = await startProxy(database.login)
    const recording = proxy.record()
    await using manager = new ManagedConnection(conninfoThrough(proxy, database))
    await manager.query('SELECT 1')
    let committed = false
    const first = manager.transaction(async (connection) => {
      await insert(connection, 1)
      proxy.pause('toClient')
    })
    void first.then(() => (committed = true))
    let served = false
    const second = manager.use(async (connection) => {
      served = true
      await insert(connection, 2)
      await connection.commit()
    })
    await until(() => served, { what: 'the next holder' })
    await until(() => recording.sent().filter((message) => message === 'Parse BEGIN').length === 2, {
      what: 'BEGIN',
    })
    await settle()
    assert.equal(committed, false)
    proxy.resume()
    await Promise.all([first, second])
    assert.deepEqual(await admin.ids(), [1, 2])
  },
)

test("with closeOn: 'database-error' a COMMIT that fails closes the connection", async () => {
  await using manager = new ManagedConnection(database.conninfo, { closeOn: 'database-error' })
  await caught(
    manager.transaction((connection) => connection.query('INSERT INTO child VALUES (1, 999)')),
    pg.DatabaseError,
  )
  assert.equal(manager.closed, true)
  await manager.transaction((connection) => insert(connection, 1))
  assert.deepEqual(await admin.ids(), [1])
})

test('work gets a handle that says that it holds a transaction', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.transaction(async (connection) => {
    assert.equal(connection.autocommit, false)
    assert.equal(connection.processID, manager.stats.processID)
    assert.equal(connection.status, 'idle')
    await connection.query('SELECT 1')
    assert.equal(connection.status, 'intrans')
  })
})

test('a BEGIN that the server refuses is the caller’s error, and what stands behind it does not run', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  // In a transaction that this text leaves behind, SET TRANSACTION is too late; BEGIN itself only warns.
  const options = { isolationLevel: 'serializable', accessMode: 'read write', deferrable: true } as const
  await manager.transaction((connection) => insert(connection, 1), options)
  const notices: string[] = []
  manager.on('notice', ({ message }) => notices.push(message!))
  await caught(
    manager.transaction(async (connection) => {
      await insert(connection, 2)
      await connection.query('BEGIN')
      throw new Error('mine')
    }),
    Error,
  )
  assert.deepEqual(notices, ['there is already a transaction in progress'])
  assert.deepEqual(await admin.ids(), [1])
})
