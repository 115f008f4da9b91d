/** What happens when a holder leaves: one test for each row of the table, for each way to hold. */
import assert from 'node:assert/strict'
import pg from 'pg'
import {
  CommitRolledBackError,
  ConnectionLostError,
  UncommittedTransactionError,
  UnfinishedStatementError,
  type Connection,
  type RollbackEvent,
} from 'pg-managed-connection'
import { assertSame, caught, reason } from '../support/caught.js'
import { ManagedConnection } from '../support/managed.js'
import { startProxy } from '../support/proxy.js'
import { openSuite } from '../support/suite.js'
import { until } from '../support/wait.js'
import { conninfoThrough } from '../support/proxied.js'

const { test, database } = await openSuite()
await database.admin.query('CREATE TABLE t (id int PRIMARY KEY)')

/** A way to hold the connection by hand, without a transaction of the library's own. */
interface Way {
  readonly name: string
  hold<T>(manager: ManagedConnection, work: (connection: Connection) => Promise<T>): Promise<T>
}

const USE: Way = { name: 'use', hold: (manager, work) => manager.use(work) }
const ACQUIRE: Way = {
  name: 'await using',
  async hold(manager, work) {
    await using connection = await manager.acquire()
    return await work(connection)
  },
}
const WAYS = [USE, ACQUIRE]

interface Suppressed {
  readonly name: string
  readonly error: unknown
  readonly suppressed: unknown
}

/** The error that a block's own error was joined with, as JavaScript reports the two. */
function joined(error: unknown, own: unknown): unknown {
  const { name, suppressed, error: disposal } = error as Suppressed
  assert.equal(name, 'SuppressedError')
  assert.equal(suppressed, own)
  return disposal
}

async function count(): Promise<number> {
  const [row] = await database.admin.rows<{ n: number }>('SELECT count(*)::int AS n FROM t')
  return row!.n
}

/** Somebody who stands in line behind the holder and looks at what it is handed. */
async function next(manager: ManagedConnection): Promise<{ pid: number; xid: string | null; rows: number }> {
  const { rows } = await manager.query<{ pid: number; xid: string | null; rows: number }>(
    'SELECT pg_backend_pid() AS pid, pg_current_xact_id_if_assigned()::text AS xid, (SELECT count(*)::int FROM t) AS rows',
  )
  return rows[0]!
}

/** The next holder was served on the same backend, in no transaction of another's, and nothing was stored. */
async function assertGoesOn(manager: ManagedConnection, pid: number | null): Promise<void> {
  const seen = await next(manager)
  assert.deepEqual(seen, { pid, xid: null, rows: await count() })
  assert.equal(manager.status, 'idle')
}

async function loseBackend(manager: ManagedConnection): Promise<void> {
  await database.admin.terminate(manager.stats.processID!)
  await until(() => manager.closed, { what: 'the loss to be noticed' })
}

for (const { name, hold } of WAYS) {
  test(`${name}: returned, idle: the caller gets its result and the next in line the connection`, async () => {
    await using manager = new ManagedConnection(database.conninfo)
    let waiter: ReturnType<typeof next> | undefined
    const pid = await hold(manager, async (connection) => {
      await connection.query('SELECT 1')
      waiter = manager.acquire({ detached: true }).then(async (other) => {
        const seen = await other.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
        await other.commit()
        await other.release()
        return { pid: seen.rows[0]!.pid, xid: null, rows: 0 }
      })
      await connection.commit()
      return connection.processID
    })
    assert.equal((await waiter!).pid, pid)
    assert.equal(manager.stats.connects, 1)
  })

  test(`${name}: returned, intrans: it is rolled back and the caller told`, async () => {
    await using manager = new ManagedConnection(database.conninfo)
    let pid: number | null = null
    const error = await caught(
      hold(manager, async (connection) => {
        pid = connection.processID
        await connection.query('INSERT INTO t VALUES (1)')
      }),
      UncommittedTransactionError,
    )
    assert.match(
      error.message,
      /^Did not commit or rollback open transaction before releasing connection.*INSERT INTO t VALUES \(1\)/,
    )
    assert.equal(error.statement, 'INSERT INTO t VALUES (1)')
    assert.equal(error.cause, undefined)
    assert.equal(error.retrySafe, true)
    assert.equal(await count(), 0)
    await assertGoesOn(manager, pid)
  })

  test(`${name}: returned, inerror: it is rolled back, and the cause is the swallowed error`, async () => {
    await using manager = new ManagedConnection(database.conninfo)
    let pid: number | null = null
    let swallowed: unknown
    const error = await caught(
      hold(manager, async (connection) => {
        pid = connection.processID
        await connection.query('INSERT INTO t VALUES (1)')
        swallowed = await caught(connection.query('SELECT 1 / 0'), pg.DatabaseError)
      }),
      UncommittedTransactionError,
    )
    assert.equal(error.statement, 'INSERT INTO t VALUES (1)')
    assertSame(error.cause, swallowed)
    await assertGoesOn(manager, pid)
  })

  test(`${name}: threw, idle: the caller gets its own error`, async () => {
    await using manager = new ManagedConnection(database.conninfo)
    const own = new Error('mine')
    let pid: number | null = null
    const error = await reason(
      hold(manager, async (connection) => {
        pid = connection.processID
        await connection.query('SELECT 1')
        await connection.commit()
        throw own
      }),
    )
    assert.equal(error, own)
    await assertGoesOn(manager, pid)
  })

  test(`${name}: left, in flight: the statement is waited for, rolled back, and the caller told`, async () => {
    await using manager = new ManagedConnection(database.conninfo)
    let floating: Promise<unknown> | undefined
    let pid: number | null = null
    const error = await caught(
      hold(manager, (connection) => {
        pid = connection.processID
        floating = connection.query('INSERT INTO t SELECT 1 FROM pg_sleep(0.2)')
        return Promise.resolve()
      }),
      UnfinishedStatementError,
    )
    assert.deepEqual(error.statements, ['INSERT INTO t SELECT 1 FROM pg_sleep(0.2)'])
    assert.equal(error.retrySafe, true)
    assert.equal(((await floating) as pg.QueryResult).rowCount, 1)
    assert.equal(await count(), 0)
    await assertGoesOn(manager, pid)
  })

  test(
    `${name}: left, in flight for longer than releaseGraceMillis: it is cancelled and dropped`,
    { needs: ['cancel'] },
    async () => {
      await using manager = new ManagedConnection(database.conninfo, { releaseGraceMillis: 150 })
      let floating: Promise<unknown> | undefined
      let pid: number | null = null
      const error = await caught(
        hold(manager, (connection) => {
          pid = connection.processID
          floating = connection.query('SELECT pg_sleep(60)')
          floating.catch(() => {})
          return Promise.resolve()
        }),
        UnfinishedStatementError,
      )
      assert.deepEqual(error.statements, ['SELECT pg_sleep(60)'])
      await reason(floating!)
      assert.notEqual((await next(manager)).pid, pid)
      await until(async () => !(await database.admin.backends()).includes(pid!), {
        what: 'the old backend to go',
      })
    },
  )

  test(
    `${name}: returned, lost with nothing open: the caller gets its result, the next a new connection`,
    { needs: ['kill'] },
    async () => {
      await using manager = new ManagedConnection(database.conninfo)
      let pid: number | null = null
      const result = await hold(manager, async (connection) => {
        pid = connection.processID
        await connection.query('SELECT 1')
        await connection.commit()
        await loseBackend(manager)
        return 'done'
      })
      assert.equal(result, 'done')
      assert.notEqual((await next(manager)).pid, pid)
    },
  )

  test(
    `${name}: left, lost with a transaction open: the caller is told that it is lost`,
    { needs: ['kill'] },
    async () => {
      await using manager = new ManagedConnection(database.conninfo)
      let pid: number | null = null
      const error = await caught(
        hold(manager, async (connection) => {
          pid = connection.processID
          await connection.query('INSERT INTO t VALUES (1)')
          await loseBackend(manager)
        }),
        ConnectionLostError,
      )
      assert.equal(error.commitOutcome, 'none')
      assert.equal(error.retrySafe, true)
      assert.ok(error.cause instanceof Error)
      const seen = await next(manager)
      assert.notEqual(seen.pid, pid)
      assert.equal(seen.rows, 0)
    },
  )

  test(
    `${name}: the rollback fails: the caller is told the first error, an event the second`,
    { needs: ['wire'] },
    async () => {
      await using proxy = await startProxy(database.login)
      await using manager = new ManagedConnection(conninfoThrough(proxy, database))
      const events: RollbackEvent[] = []
      manager.on('rollback', (event) => events.push(event))
      let pid: number | null = null
      const error = await caught(
        hold(manager, async (connection) => {
          pid = connection.processID
          await connection.query('INSERT INTO t VALUES (1)')
          proxy.cutAfter({ direction: 'toServer', bytes: 3, how: 'reset' })
        }),
        UncommittedTransactionError,
      )
      assert.equal(error.cause, undefined)
      assert.equal(events.length, 1)
      assert.equal(events[0]!.reason, 'uncommitted')
      assert.ok(events[0]!.error instanceof Error)
      assert.notEqual((await next(manager)).pid, pid)
    },
  )

  test(`${name}: COMMIT answered ROLLBACK: the caller is told, the connection stays`, async () => {
    await using manager = new ManagedConnection(database.conninfo)
    let swallowed: unknown
    let pid: number | null = null
    const error = await caught(
      hold(manager, async (connection) => {
        pid = connection.processID
        await connection.query('INSERT INTO t VALUES (1)')
        swallowed = await caught(connection.query('SELECT 1 / 0'), pg.DatabaseError)
        await connection.commit()
      }),
      CommitRolledBackError,
    )
    assertSame(error.cause, swallowed)
    assert.equal(error.retrySafe, true)
    await assertGoesOn(manager, pid)
  })

  test(`${name}: nothing asked at all: the caller gets its result`, async () => {
    await using manager = new ManagedConnection(database.conninfo)
    assert.equal(await hold(manager, () => Promise.resolve(7)), 7)
    assert.equal(manager.status, 'idle')
  })
}

for (const state of ['intrans', 'inerror'] as const) {
  const open = async (connection: Connection): Promise<void> => {
    await connection.query('INSERT INTO t VALUES (1)')
    if (state === 'inerror') await reason(connection.query('SELECT 1 / 0'))
    assert.equal(connection.status, state)
  }

  test(`use: threw, ${state}: it is rolled back and the caller gets its own error, the same object`, async () => {
    await using manager = new ManagedConnection(database.conninfo)
    const own = new Error('mine')
    let pid: number | null = null
    const error = await reason(
      manager.use(async (connection) => {
        pid = connection.processID
        await open(connection)
        throw own
      }),
    )
    assert.equal(error, own)
    await assertGoesOn(manager, pid)
  })

  test(`await using: threw, ${state}: both errors are told, in a SuppressedError`, async () => {
    await using manager = new ManagedConnection(database.conninfo)
    const own = new Error('mine')
    let pid: number | null = null
    const error = await reason(
      ACQUIRE.hold(manager, async (connection) => {
        pid = connection.processID
        await open(connection)
        throw own
      }),
    )
    assert.ok(joined(error, own) instanceof UncommittedTransactionError)
    await assertGoesOn(manager, pid)
  })

  test(`transaction: threw, ${state}: it is rolled back and the caller gets its own error`, async () => {
    await using manager = new ManagedConnection(database.conninfo)
    const own = new Error('mine')
    let pid: number | null = null
    const error = await reason(
      manager.transaction(async (connection) => {
        pid = connection.processID
        await open(connection)
        throw own
      }),
    )
    assert.equal(error, own)
    await assertGoesOn(manager, pid)
  })
}

test('use: what is thrown need not be an Error', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  for (const thrown of [undefined, null, 0, 'text', { code: '40001' }]) {
    const work = async (connection: Connection): Promise<void> => {
      await connection.query('INSERT INTO t VALUES (1)')
      // oxlint-disable-next-line typescript/only-throw-error -- that is what is tested
      throw thrown
    }
    assert.equal(await reason(manager.use(work)), thrown)
    assert.equal(await reason(manager.transaction(work)), thrown)
  }
  assert.equal(await count(), 0)
})

test('use: work that throws before it returns a promise is settled like any other', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const own = new Error('at once')
  const fail = (): never => {
    throw own
  }
  assert.equal(await reason(manager.use(fail)), own)
  assert.equal(await reason(manager.transaction(fail)), own)
  await manager.query('SELECT 1')
})

test('use: threw, in flight: it is rolled back and the caller gets its own error', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const own = new Error('mine')
  let pid: number | null = null
  const error = await reason(
    manager.use((connection) => {
      pid = connection.processID
      void connection.query('INSERT INTO t SELECT 1 FROM pg_sleep(0.1)')
      throw own
    }),
  )
  assert.equal(error, own)
  assert.equal(await count(), 0)
  await assertGoesOn(manager, pid)
})

test('use: threw, lost with something open: the caller gets its own error', { needs: ['kill'] }, async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const own = new Error('mine')
  const error = await reason(
    manager.use(async (connection) => {
      await connection.query('INSERT INTO t VALUES (1)')
      await loseBackend(manager)
      throw own
    }),
  )
  assert.equal(error, own)
  assert.equal((await next(manager)).rows, 0)
})

test(
  'use: threw, and the rollback fails: the caller gets its own error, an event the other',
  { needs: ['wire'] },
  async () => {
    await using proxy = await startProxy(database.login)
    await using manager = new ManagedConnection(conninfoThrough(proxy, database))
    const events: RollbackEvent[] = []
    manager.on('rollback', (event) => events.push(event))
    const own = new Error('mine')
    const error = await reason(
      manager.use(async (connection) => {
        await connection.query('INSERT INTO t VALUES (1)')
        proxy.cutAfter({ direction: 'toServer', bytes: 3, how: 'reset' })
        throw own
      }),
    )
    assert.equal(error, own)
    assert.equal(own.cause, undefined)
    assert.ok(events[0]?.error instanceof Error)
    assert.equal((await next(manager)).rows, 0)
  },
)

test('transaction: returned, intrans: it is committed', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const result = await manager.transaction(async (connection) => {
    await connection.query('INSERT INTO t VALUES (100)')
    return 'saved'
  })
  assert.equal(result, 'saved')
  assert.equal(await count(), 1)
  await database.admin.query('DELETE FROM t')
  await assertGoesOn(manager, manager.stats.processID)
})

test(
  'transaction: returned, idle: nothing is sent and the caller gets its result',
  { needs: ['wire'] },
  async () => {
    await using proxy = await startProxy(database.login)
    const recording = proxy.record()
    await using manager = new ManagedConnection(conninfoThrough(proxy, database))
    await manager.query('SELECT 1')
    recording.clear()
    assert.equal(await manager.transaction(() => 'nothing'), 'nothing')
    assert.deepEqual(recording.sent(), [])
  },
)

test('transaction: returned, inerror: COMMIT is answered ROLLBACK and the caller told', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  let swallowed: unknown
  let pid: number | null = null
  const error = await caught(
    manager.transaction(async (connection) => {
      pid = connection.processID
      await connection.query('INSERT INTO t VALUES (1)')
      swallowed = await caught(connection.query('SELECT 1 / 0'), pg.DatabaseError)
    }),
    CommitRolledBackError,
  )
  assertSame(error.cause, swallowed)
  assert.equal(error.retrySafe, true)
  assert.equal(await count(), 0)
  await assertGoesOn(manager, pid)
})

test('transaction: left, in flight: it is rolled back and the caller told', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  let pid: number | null = null
  const error = await caught(
    manager.transaction(async (connection) => {
      pid = connection.processID
      await connection.query('INSERT INTO t VALUES (1)')
      void connection.query('INSERT INTO t VALUES (2)')
    }),
    UnfinishedStatementError,
  )
  assert.deepEqual(error.statements, ['INSERT INTO t VALUES (2)'])
  assert.equal(error.retrySafe, true)
  assert.equal(await count(), 0)
  await assertGoesOn(manager, pid)
})

test(
  'transaction: left, lost with something open: the caller is told, and may do it again',
  { needs: ['kill'] },
  async () => {
    await using manager = new ManagedConnection(database.conninfo)
    const error = await caught(
      manager.transaction(async (connection) => {
        await connection.query('INSERT INTO t VALUES (1)')
        await loseBackend(manager)
      }),
      ConnectionLostError,
    )
    assert.equal(error.commitOutcome, 'none')
    assert.equal(error.retrySafe, true)
    assert.equal((await next(manager)).rows, 0)
  },
)

test(
  'transaction: returned, lost with nothing open: the caller gets its result',
  { needs: ['kill'] },
  async () => {
    await using manager = new ManagedConnection(database.conninfo)
    const result = await manager.transaction(async () => {
      await loseBackend(manager)
      return 'done'
    })
    assert.equal(result, 'done')
  },
)

test('a failed floating statement is no unhandled rejection: the one who leaves reports it', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const error = await caught(
    manager.use((connection) => {
      void connection.query('SELECT 1 / 0')
    }),
    UnfinishedStatementError,
  )
  assert.equal((error.cause as pg.DatabaseError).code, '22012')
  await assertGoesOn(manager, manager.stats.processID)
})

test('an autocommit holder that leaves a statement in flight is told, and that it may be committed', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const error = await caught(
    manager.use(
      (connection) => {
        void connection.query('INSERT INTO t VALUES (5)')
      },
      { autocommit: true },
    ),
    UnfinishedStatementError,
  )
  assert.equal(error.retrySafe, false)
  assert.equal(await count(), 1)
  await database.admin.query('DELETE FROM t')
})

test('a transaction that a holder of autocommit opened by its own text is settled like any other', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const error = await caught(
    manager.use(
      async (connection) => {
        await connection.query('BEGIN')
        await connection.query('INSERT INTO t VALUES (6)')
      },
      { autocommit: true },
    ),
    UncommittedTransactionError,
  )
  assert.equal(error.statement, 'BEGIN')
  await assertGoesOn(manager, manager.stats.processID)
})
