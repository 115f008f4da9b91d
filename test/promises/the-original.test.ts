/** The tests of the Python package that this one follows, and the examples of its documentation, as ours. */
import assert from 'node:assert/strict'
import { inspect } from 'node:util'
import pg from 'pg'
import { ManagedConnection, UncommittedTransactionError } from 'pg-managed-connection'
import { caught, reason } from '../support/caught.js'
import { openSuite } from '../support/suite.js'

const { test, database } = await openSuite()
await database.admin.query('CREATE TABLE example (key varchar PRIMARY KEY, value varchar)')

async function examples(): Promise<number> {
  const [row] = await database.admin.rows<{ n: number }>('SELECT count(*)::int AS n FROM example')
  return row!.n
}

/** A connection that works and is open. */
async function assertRecovers(manager: ManagedConnection): Promise<void> {
  await manager.use(async (connection) => {
    const { rows } = await connection.query({ text: 'SELECT 1', rowMode: 'array' })
    assert.deepEqual(rows, [[1]])
    await connection.commit()
  })
  assert.equal(manager.closed, false, 'connection should still be open')
}

test("reset on error: with closeOn: 'database-error' any error of the server's closes the connection", async () => {
  await using manager = new ManagedConnection(database.conninfo, { closeOn: 'database-error' })
  const error = await caught(
    manager.use((connection) => connection.query('SELECT 1 / 0')),
    pg.DatabaseError,
  )
  assert.equal(error.code, '22012')
  assert.equal(manager.closed, true, 'connection should be closed')
  assert.equal(manager.status, null)
  assert.deepEqual(await database.admin.backends(), [])
  await assertRecovers(manager)
  assert.equal(manager.stats.connects, 2)
})

test("reset on error: with closeOn: 'broken' an error of the server's leaves the connection open", async () => {
  await using manager = new ManagedConnection(database.conninfo, { closeOn: 'broken' })
  await manager.query('SELECT 1')
  const pid = manager.stats.processID
  await caught(
    manager.use((connection) => connection.query('SELECT 1 / 0')),
    pg.DatabaseError,
  )
  assert.equal(manager.closed, false)
  assert.equal(manager.status, 'idle')
  await assertRecovers(manager)
  assert.equal(manager.stats.processID, pid)
})

test("reset on error: with closeOn: 'broken' an error that ends the session closes the connection", async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await reason(
    manager.use(async (connection) => {
      await connection.query('SELECT 1')
      await connection.query('SELECT pg_terminate_backend(pg_backend_pid())')
    }),
  )
  assert.equal(manager.closed, true, 'connection should be closed')
  await assertRecovers(manager)
})

for (const closeOn of ['broken', 'database-error'] as const) {
  test(`rollback on an application error leaves the connection open, with closeOn: '${closeOn}'`, async () => {
    await using manager = new ManagedConnection(database.conninfo, { closeOn })
    const own = new assert.AssertionError({ message: 'There was an application error' })
    const error = await reason(
      manager.use(async (connection) => {
        await connection.query('INSERT INTO example (key, value) VALUES ($1, $2)', ['foo', 'bar'])
        assert.equal(connection.status, 'intrans')
        assert.equal(manager.status, 'intrans')
        throw own
      }),
    )
    assert.equal(error, own)
    assert.equal(manager.closed, false, 'connection should still be open')
    assert.equal(manager.status, 'idle')
    await manager.use(
      async (connection) => {
        const { rows } = await connection.query({
          text: 'SELECT count(*)::int FROM example',
          rowMode: 'array',
        })
        assert.deepEqual(rows, [[0]], 'no rows should exist in the table')
        await connection.commit()
      },
      { close: true },
    )
    assert.equal(manager.closed, true)
  })
}

test('release in a transaction is an error, and the connection stays open and idle', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await caught(
    manager.use(async (connection) => {
      await connection.query('INSERT INTO example (key, value) VALUES ($1, $2)', ['foo', 'bar'])
      assert.equal(manager.status, 'intrans')
    }),
    UncommittedTransactionError,
  )
  assert.equal(manager.closed, false, 'connection should still be open')
  assert.equal(manager.status, 'idle')
  assert.equal(await examples(), 0)
})

test('creating a managed connection: it shows its connection string and that it is closed', () => {
  const manager = new ManagedConnection('postgres:///postgres') // a libpq connection string
  assert.equal(inspect(manager), '<ManagedConnection: postgres:///postgres (closed)>')
  assert.equal(String(manager), 'postgres:///postgres')
})

test('using a connection: a query, a row, a commit', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const one = await manager.use(async (connection) => {
    const { rows } = await connection.query('SELECT 1 AS one')
    await connection.commit()
    return rows[0]
  })
  assert.deepEqual(one, { one: 1 })
})

test('uncommitted transactions: leaving one open is an error that says so', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await assert.rejects(
    manager.use(async (connection) => {
      await connection.query('SELECT 1')
    }),
    /^UncommittedTransactionError: Did not commit or rollback open transaction before releasing connection/,
  )
})

test('errors: an open transaction is rolled back, the error goes to the caller, the connection stays', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  class NotImplementedError extends Error {}
  await caught(
    manager.use(async (connection) => {
      await connection.query('SELECT 1')
      assert.equal(manager.status, 'intrans')
      throw new NotImplementedError()
    }),
    NotImplementedError,
  )
  assert.equal(manager.status, 'idle')
})

test('a connection that is closed upon entering is opened', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  assert.equal(manager.closed, true)
  await assertRecovers(manager)
  await manager.close()
  assert.equal(manager.closed, true)
  await assertRecovers(manager)
})
