/** `use`: exclusive access, the implicit BEGIN, what its options do. */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import {
  ManagedConnectionError,
  TransactionOrderError,
  UncommittedTransactionError,
} from 'pg-managed-connection'
import { caught, createGate, reason, settle } from '../support/caught.js'
import { ManagedConnection } from '../support/managed.js'
import { startProxy } from '../support/proxy.js'
import { openSuite } from '../support/suite.js'
import { conninfoThrough } from '../support/proxied.js'

const { test, database } = await openSuite()
await database.admin.query('CREATE TABLE t (id int)')

test('nothing connects before the first use', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await settle()
  assert.equal(manager.closed, true)
  assert.equal(manager.status, null)
  assert.deepEqual(await database.admin.backends(), [])
  await manager.use(() => {})
  assert.equal(manager.closed, false)
  assert.deepEqual(await database.admin.backends(), [manager.stats.processID])
})

test('it resolves with what work returns, a value or a promise of one', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  assert.equal(await manager.use(() => 1), 1)
  assert.equal(await manager.use(() => Promise.resolve(2)), 2)
  assert.equal(
    await manager.use(() => ({ then: (resolve: (value: number) => void) => resolve(3) }) as never),
    3,
  )
})

test('there are never two holders at once', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  let inside = 0
  let most = 0
  const work = async (): Promise<void> => {
    most = Math.max(most, ++inside)
    await sleep(1)
    inside--
  }
  await Promise.all(Array.from({ length: 20 }, () => manager.use(work)))
  assert.equal(most, 1)
  assert.equal(manager.stats.connects, 1)
})

test('holders are served in the order of asking, one-shots and transactions among them', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await database.admin.query('CREATE TABLE asked (n serial, who int)')
  const store = 'INSERT INTO asked (who) VALUES ($1)'
  await Promise.all(
    Array.from({ length: 40 }, (_, who) => {
      if (who % 4 === 0) return manager.query(store, [who])
      if (who % 4 === 1) return manager.batch([{ text: store, values: [who] }])
      if (who % 4 === 2) return manager.transaction((connection) => connection.query(store, [who]))
      return manager.use(async (connection) => {
        await connection.query(store, [who])
        await connection.commit()
      })
    }),
  )
  const rows = await database.admin.rows<{ who: number }>('SELECT who FROM asked ORDER BY n')
  assert.deepEqual(
    rows.map(({ who }) => who),
    Array.from({ length: 40 }, (_, who) => who),
  )
})

test(
  'the first statement opens a transaction, and BEGIN goes out in the same piece',
  { needs: ['wire'] },
  async () => {
    await using proxy = await startProxy(database.login)
    const recording = proxy.record()
    await using manager = new ManagedConnection(conninfoThrough(proxy, database))
    await manager.query('SELECT 1')
    recording.clear()
    await manager.use(async (connection) => {
      assert.equal(connection.status, 'idle')
      await connection.query('INSERT INTO t VALUES (1)')
      assert.equal(connection.status, 'intrans')
      await connection.rollback()
      assert.equal(connection.status, 'idle')
    })
    const [first] = recording.sentTogether()
    assert.ok(
      first!.includes('Parse BEGIN') && first!.includes('Parse INSERT INTO t VALUES (1)'),
      String(first),
    )
    assert.equal(first!.filter((message) => message === 'Sync').length, 1)
  },
)

test('a holder may have several transactions, one after another', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.use(async (connection) => {
    await connection.query('INSERT INTO t VALUES (1)')
    await connection.commit()
    await connection.query('INSERT INTO t VALUES (2)')
    await connection.rollback()
    await connection.query('INSERT INTO t VALUES (3)')
    await connection.commit()
  })
  const rows = await database.admin.rows<{ id: number }>('DELETE FROM t RETURNING id')
  assert.deepEqual(
    rows.map(({ id }) => id),
    [1, 3],
  )
})

test('after a failed statement the transaction is inerror, and 25P02 answers the next ones', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.use(async (connection) => {
    await caught(connection.query('SELECT 1 / 0'), pg.DatabaseError)
    assert.equal(connection.status, 'inerror')
    assert.equal((await caught(connection.query('SELECT 1'), pg.DatabaseError)).code, '25P02')
    await connection.rollback()
    assert.equal(connection.status, 'idle')
    await connection.query('SELECT 1')
    await connection.commit()
  })
})

test('autocommit: no BEGIN goes out, and each statement commits by itself', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await reason(
    manager.use(
      async (connection) => {
        assert.equal(connection.autocommit, true)
        await connection.query('INSERT INTO t VALUES (1)')
        assert.equal(connection.status, 'idle')
        throw new Error('too late')
      },
      { autocommit: true },
    ),
  )
  assert.equal((await database.admin.rows('DELETE FROM t RETURNING id')).length, 1)
})

test('autocommit: VACUUM works, which it does not in a transaction', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const error = await reason(manager.use((connection) => connection.query('VACUUM t')))
  assert.equal((error as pg.DatabaseError).code, '25001')
  await manager.use((connection) => connection.query('VACUUM t'), { autocommit: true })
  await manager.query('VACUUM t')
})

test('autocommit as an option of the manager holds for use and acquire, and a call may say otherwise', async () => {
  await using manager = new ManagedConnection(database.conninfo, { autocommit: true })
  await manager.use(async (connection) => {
    await connection.query('SELECT 1')
    assert.equal(connection.status, 'idle')
  })
  await manager.use(
    async (connection) => {
      await connection.query('SELECT 1')
      assert.equal(connection.status, 'intrans')
      await connection.commit()
    },
    { autocommit: false },
  )
  const connection = await manager.acquire()
  await connection.query('SELECT 1')
  assert.equal(connection.status, 'idle')
  await connection.release()
  await manager.transaction(async (own) => {
    await own.query('SELECT 1')
    assert.equal(own.status, 'intrans')
  })
})

test('autocommit can be set only while no transaction is open, and ends with the holder', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.use(async (connection) => {
    await connection.query('SELECT 1')
    assert.throws(() => (connection.autocommit = true), TransactionOrderError)
    assert.equal(connection.autocommit, false)
    await connection.commit()
    connection.autocommit = true
    await connection.query('SELECT 1')
    assert.equal(connection.status, 'idle')
    assert.throws(() => (connection.autocommit = 'yes' as never), TypeError)
    const running = connection.query('SELECT 1')
    assert.throws(() => (connection.autocommit = false), TransactionOrderError)
    await running
    connection.autocommit = false
    await connection.query('SELECT 1')
    assert.equal(connection.status, 'intrans')
    await connection.rollback()
    connection.autocommit = true
  })
  await manager.use(async (connection) => {
    assert.equal(connection.autocommit, false)
    await connection.query('SELECT 1')
    assert.equal(connection.status, 'intrans')
    await connection.rollback()
  })
})

test('close: true closes the server connection after this holder, before its promise settles', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.use(() => {}, { close: true })
  assert.equal(manager.closed, true)
  await manager.query('SELECT 1')
  assert.equal(manager.closed, false)
  await reason(
    manager.use(
      () => {
        throw new Error('mine')
      },
      { close: true },
    ),
  )
  assert.equal(manager.closed, true)
  await manager.transaction((connection) => connection.query('SELECT 1'), { close: true })
  assert.equal(manager.closed, true)
  assert.equal(manager.stats.connects, 3)
})

test(
  'close: true makes the next in line wait for a new connection, which it gets',
  { needs: ['backends', 'own thread'] },
  async () => {
    await using manager = new ManagedConnection(database.conninfo)
    const first = manager.use((connection) => connection.processID, { close: true })
    const second = manager.use((connection) => connection.processID)
    assert.notEqual(await first, await second)
  },
)

test(
  'status of the handle and the manager follow the server: idle, active, intrans, inerror',
  { needs: ['own thread'] },
  async () => {
    await using manager = new ManagedConnection(database.conninfo)
    await manager.use(async (connection) => {
      assert.equal(manager.status, 'idle')
      const running = connection.query('SELECT pg_sleep(0.05)')
      assert.equal(connection.status, 'active')
      assert.equal(manager.status, 'active')
      await running
      assert.equal(manager.status, 'intrans')
      await reason(connection.query('SELECT 1 / 0'))
      assert.equal(manager.status, 'inerror')
      await connection.rollback()
      assert.equal(manager.status, 'idle')
    })
  },
)

test(
  'statements that are not awaited each go out pipelined and are answered in order',
  { needs: ['wire'] },
  async () => {
    await using proxy = await startProxy(database.login)
    const recording = proxy.record()
    await using manager = new ManagedConnection(conninfoThrough(proxy, database))
    await manager.use(async (connection) => {
      await connection.query('SELECT 0')
      proxy.pause('toClient')
      recording.clear()
      const answers: number[] = []
      const all = Promise.all(
        [1, 2, 3].map((n) =>
          connection.query('SELECT $1::int AS n', [n]).then(({ rows }) => answers.push(rows[0].n)),
        ),
      )
      while (recording.sent().filter((message) => message === 'Sync').length < 3) await sleep(5)
      assert.deepEqual(answers, [])
      proxy.resume()
      await all
      assert.deepEqual(answers, [1, 2, 3])
      await connection.commit()
    })
  },
)

test('a text that holds several statements travels alone, between its neighbours', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const answers = await manager.use(async (connection) => {
    const all = await Promise.all([
      connection.query('INSERT INTO t VALUES (1)'),
      connection.query('INSERT INTO t VALUES (2); INSERT INTO t VALUES (3), (4)'),
      connection.query('SELECT count(*)::int AS n FROM t'),
    ])
    await connection.rollback()
    return all
  })
  const several = answers[1] as unknown as pg.QueryResult[]
  assert.deepEqual(
    several.map(({ rowCount }) => rowCount),
    [1, 2],
  )
  assert.deepEqual(answers[2].rows, [{ n: 4 }])
})

test('a commit that is issued behind unawaited statements covers them', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.use(async (connection) => {
    await Promise.all([
      connection.query('INSERT INTO t VALUES (1)'),
      connection.query('INSERT INTO t VALUES (2)'),
      connection.commit(),
    ])
    assert.equal(connection.status, 'idle')
  })
  assert.equal((await database.admin.rows('DELETE FROM t RETURNING id')).length, 2)
})

test('a statement behind an unawaited commit opens a transaction of its own', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.use(async (connection) => {
    const all = Promise.all([
      connection.query('INSERT INTO t VALUES (1)'),
      connection.commit(),
      connection.query('INSERT INTO t VALUES (2)'),
    ])
    await all
    assert.equal(connection.status, 'intrans')
    await connection.rollback()
  })
  const rows = await database.admin.rows<{ id: number }>('DELETE FROM t RETURNING id')
  assert.deepEqual(rows, [{ id: 1 }])
})

test(
  'pipeline: false sends each statement when the one before is answered, with the same results',
  { needs: ['wire'] },
  async () => {
    await using proxy = await startProxy(database.login)
    await using manager = new ManagedConnection(conninfoThrough(proxy, database), { pipeline: false })
    let unanswered = 0
    let most = 0
    const recording = proxy.record()
    const results = await manager.use(async (connection) => {
      const all = await Promise.all([1, 2, 3].map((n) => connection.query('SELECT $1::int AS n', [n])))
      await connection.commit()
      return all.map(({ rows }) => rows[0].n as number)
    })
    assert.deepEqual(results, [1, 2, 3])
    for (const message of recording.dialogue()) {
      if (message === '> Sync') most = Math.max(most, ++unanswered)
      if (message.startsWith('< ReadyForQuery')) unanswered = Math.max(0, unanswered - 1)
    }
    assert.equal(most, 1)
  },
)

test('work must be a function, and what is wrong with a call is told before anyone waits', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await assert.rejects(manager.use(undefined as never), TypeError)
  await assert.rejects(manager.transaction('work' as never), TypeError)
  const work = (): void => {}
  await assert.rejects(manager.use(work, { timeoutMillis: -1 }), /timeoutMillis/)
  await assert.rejects(manager.use(work, { timeoutMillis: NaN }), /timeoutMillis/)
  await assert.rejects(manager.use(work, { timeoutMillis: '5' as never }), /timeoutMillis/)
  await assert.rejects(manager.use(work, { signal: {} as never }), /signal/)
  await assert.rejects(manager.use(work, { autocommit: 1 as never }), /autocommit/)
  await assert.rejects(manager.use(work, { close: 1 as never }), /close/)
  await assert.rejects(manager.use(work, { detached: 1 as never }), /detached/)
  assert.equal(manager.closed, true)
})

test('release() inside use: the callback may return the connection early, once', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const gate = createGate()
  const early = manager.use(async (connection) => {
    await connection.query('SELECT 1')
    await connection.commit()
    await connection.release()
    await gate.opened
    return caught(connection.query('SELECT 1'), ManagedConnectionError)
  })
  const other = await manager.use((connection) => connection.processID)
  assert.equal(other, manager.stats.processID)
  gate.open()
  assert.equal((await early).code, 'ERR_CONNECTION_RELEASED')
})

test('a callback that releases its handle itself is judged as if it had returned', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const holder = manager.use(async (connection) => {
    await connection.query('SELECT 1')
    connection.release().catch(() => {})
  })
  await caught(holder, UncommittedTransactionError)
  await manager.use(() => {})
})

test('COPY FROM STDIN as a plain text fails instead of hanging', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const error = await reason(manager.use((connection) => connection.query('COPY t FROM STDIN')))
  assert.equal((error as pg.DatabaseError).code, '57014')
  await manager.query('SELECT 1')
})
