/** Traps that other libraries fall into, as far as no other file here guards against them by name. */
import assert from 'node:assert/strict'
import pg from 'pg'
import {
  CommitRolledBackError,
  ConnectError,
  ConnectionLostError,
  StatementTimeoutError,
  UncommittedTransactionError,
} from 'pg-managed-connection'
import { assertSame, caught, reason } from '../support/caught.js'
import { ManagedConnection } from '../support/managed.js'
import { startProxy } from '../support/proxy.js'
import { openSuite } from '../support/suite.js'
import { until, within } from '../support/wait.js'
import { conninfoThrough } from '../support/proxied.js'

const { test, database } = await openSuite()
const { admin } = database
await admin.query('CREATE TABLE t (id int PRIMARY KEY)')

test('the state is read from ReadyForQuery, also when it arrives after the error in another packet', async () => {
  await using proxy = await startProxy(database.login)
  await using manager = new ManagedConnection(conninfoThrough(proxy, database))
  await manager.query('SELECT 1')
  proxy.splitBytes = 1
  const error = await caught(
    manager.use(async (connection) => {
      await connection.query('INSERT INTO t VALUES (1)')
      const failed = await caught(connection.query('SELECT 1 / 0'), pg.DatabaseError)
      assert.equal(failed.code, '22012')
      assert.equal(connection.status, 'inerror', 'as soon as the error is told')
    }),
    UncommittedTransactionError,
  )
  assert.equal((error.cause as pg.DatabaseError).code, '22012')
  const first = await caught(
    manager.use((connection) => reason(connection.query('SELECT 1 / 0'))),
    UncommittedTransactionError,
  )
  assert.equal((first.cause as pg.DatabaseError).code, '22012')
  assert.equal(manager.status, 'idle')
})

test('the status does not stay intrans after the socket died, and says active while something runs', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await reason(
    manager.use(async (connection) => {
      await connection.query('SELECT 1')
      const running = connection.query('SELECT pg_sleep(0.05)')
      assert.equal(connection.status, 'active')
      await running
      assert.equal(connection.status, 'intrans')
      await admin.terminate(connection.processID!)
      await until(() => manager.closed, { what: 'the loss' })
      assert.equal(connection.status, 'unknown')
      assert.equal(connection.processID, null)
      assert.equal(manager.status, null)
    }),
  )
})

test('a COMMIT that saved nothing is never told as a success', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const swallow = async (connection: { query(text: string): Promise<unknown> }): Promise<void> => {
    await connection.query('INSERT INTO t VALUES (1)')
    await reason(connection.query('SELECT 1 / 0'))
  }
  await caught(manager.transaction(swallow), CommitRolledBackError)
  await caught(
    manager.use(async (connection) => {
      await swallow(connection)
      await connection.commit()
    }),
    CommitRolledBackError,
  )
  await manager.use(async (connection) => {
    await caught(
      connection.transaction((child) => swallow(child)),
      CommitRolledBackError,
    )
  })
  assert.deepEqual(await admin.ids(), [])
})

test('a COMMIT that is issued behind a failing statement without awaiting it is told, too', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.use(async (connection) => {
    const [, failed, commit] = await Promise.allSettled([
      connection.query('INSERT INTO t VALUES (1)'),
      connection.query('SELECT 1 / 0'),
      connection.commit(),
    ])
    assert.equal(failed.status, 'rejected')
    const error = (commit as PromiseRejectedResult).reason as CommitRolledBackError
    assert.ok(error instanceof CommitRolledBackError)
    assertSame(error.cause, (failed as PromiseRejectedResult).reason)
    assert.equal(connection.status, 'idle')
  })
  assert.deepEqual(await admin.ids(), [])
})

test('the lock is not lost when connecting fails, and when onConnect does: the next one is served', async () => {
  await using proxy = await startProxy(database.login)
  let broken = true
  await using manager = new ManagedConnection(conninfoThrough(proxy, database), {
    onConnect: async (client) => void (await client.query(broken ? 'SELECT 1 / 0' : 'SELECT 1')),
  })
  proxy.refuse()
  await caught(
    within(
      manager.use(() => {}),
      'the failure',
    ),
    ConnectError,
  )
  await proxy.accept()
  const error = await caught(
    within(
      manager.use(() => {}),
      'the failure',
    ),
    ConnectError,
  )
  assert.equal((error.errors[0] as pg.DatabaseError).code, '22012')
  broken = false
  await within(
    manager.use(() => {}),
    'the next',
  )
  assert.equal(manager.stats.waiting, 0)
})

test('the lock is not lost when BEGIN fails', async () => {
  await using proxy = await startProxy(database.login)
  await using manager = new ManagedConnection(conninfoThrough(proxy, database), { prepare: false })
  await manager.query('SELECT 1')
  // A proxy of another kind, which spoils every BEGIN.
  proxy.onChunk = (direction, chunk) =>
    direction === 'toServer'
      ? Buffer.from(chunk.toString('latin1').replace('BEGIN', 'BEGUN'), 'latin1')
      : chunk
  const failed = (await reason(
    manager.transaction((connection) => connection.query('INSERT INTO t VALUES (1)')),
  )) as pg.DatabaseError
  assert.equal(failed.code, '42601')
  await reason(
    manager.transaction((connection) =>
      Promise.all([
        connection.query('INSERT INTO t VALUES (1)'),
        connection.query('INSERT INTO t VALUES (2)'),
      ]),
    ),
  )
  proxy.onChunk = null
  assert.deepEqual(await admin.ids(), [], 'what stood behind the failed BEGIN did not run on its own')
  await within(
    manager.use(() => {}),
    'the next',
  )
})

test('the lock is not lost when COMMIT and ROLLBACK cannot be sent: the next one is served', async () => {
  await using proxy = await startProxy(database.login)
  await using manager = new ManagedConnection(conninfoThrough(proxy, database))
  const error = await caught(
    manager.transaction(async (connection) => {
      await connection.query('INSERT INTO t VALUES (1)')
      proxy.cutAfter({ direction: 'toServer', bytes: 3, how: 'reset' })
    }),
    ConnectionLostError,
  )
  assert.equal(error.commitOutcome, 'unknown')
  assert.equal(error.retrySafe, false)
  await within(manager.query('SELECT 1'), 'the next')
  assert.deepEqual(await admin.ids(), [])
})

test('a holder whose backend is killed settles, and so does every acquire that waits meanwhile', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const connection = await manager.acquire()
  await connection.query('SELECT 1')
  const waiters = [manager.acquire(), manager.acquire()]
  await admin.terminate(connection.processID!)
  await caught(within(connection.query('SELECT 1'), 'the loss'), ConnectionLostError)
  await caught(connection.release(), ConnectionLostError)
  for (const waiter of waiters) await (await within(waiter, 'the next')).release()
})

test('a statement that timed out does not wedge the connection, and does not go on', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.query('SELECT 1')
  const pid = manager.stats.processID
  const error = await caught(
    manager.query({ text: 'SELECT pg_sleep(60)', timeoutMillis: 50 }),
    StatementTimeoutError,
  )
  assert.equal((error.cause as pg.DatabaseError).code, '57014')
  const next = await manager.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
  assert.equal(next.rows[0]!.pid, pid)
  assert.ok(!(await admin.activity()).some(({ state }) => state === 'active'))
})

test('a unique violation does not throw the connection away', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.query('SELECT 1')
  const pid = manager.stats.processID
  await reason(manager.query('INSERT INTO t VALUES (1), (1)'))
  await reason(manager.transaction((connection) => connection.query('INSERT INTO t VALUES (1), (1)')))
  await manager.query('SELECT 1')
  assert.equal(manager.stats.processID, pid)
})

test('a commit that was confirmed is not told as lost when the socket dies before work returns', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const result = await manager.use(async (connection) => {
    await connection.query('INSERT INTO t VALUES (9)')
    await connection.commit()
    await admin.terminate(connection.processID!)
    await until(() => manager.closed, { what: 'the loss' })
    return 'once'
  })
  assert.equal(result, 'once')
  assert.deepEqual(await admin.ids(), [9])
  await admin.query('DELETE FROM t')
})

test('a session that a user text left in a transaction by COMMIT AND CHAIN is not handed on so', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await caught(
    manager.use(async (connection) => {
      await connection.query('INSERT INTO t VALUES (8)')
      await connection.query('COMMIT AND CHAIN')
    }),
    UncommittedTransactionError,
  )
  assert.equal(manager.status, 'idle')
  const { rows } = await manager.query('SELECT pg_current_xact_id_if_assigned() AS xid')
  assert.equal(rows[0].xid, null)
  assert.deepEqual(await admin.ids(), [8])
  await admin.query('DELETE FROM t')
})

test('DEALLOCATE ALL by one holder leaves the COMMIT of the next one alone', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  for (let n = 0; n < 3; n++) {
    await manager.transaction((connection) => connection.query('SELECT 1'))
    await manager.transaction(async (connection) => {
      await connection.query('SELECT 1')
      await connection.query('DEALLOCATE ALL')
    })
    await manager.transaction((connection) => connection.query('SELECT 1'))
  }
  assert.equal(manager.stats.connects, 1)
})

test('errors that the server sends bear the stack of nobody else: each is an object of its own', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const errors = await Promise.all([1, 2, 3].map(() => reason(manager.query('SELECT 1 / 0'))))
  assert.equal(new Set(errors).size, 3)
})
