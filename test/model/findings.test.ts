/** What the exploration of schedules has found, each shown once more on a real wire. */
import assert from 'node:assert/strict'
import { ConnectError, ManagedConnection, StatementTimeoutError } from 'pg-managed-connection'
import { caught } from '../support/caught.js'
import { backend } from '../support/backend-messages.js'
import { openProxied } from '../support/proxied.js'
import { LOGIN, startRawServer } from '../support/raw-server.js'
import { openSuite } from '../support/suite.js'
import { until } from '../support/wait.js'

const { test, database } = await openSuite()
const { admin } = database

test('a server whose last word comes right behind its first ReadyForQuery is not asked anything', async () => {
  const asked: string[] = []
  await using server = await startRawServer((message, peer) => {
    if (message.name !== 'Startup') asked.push(message.name)
    else {
      peer.send(...LOGIN, backend.error('57P01', 'terminating connection', 'FATAL'))
      peer.socket.end()
    }
  })
  await using manager = new ManagedConnection(server.conninfo)
  const error = await caught(manager.query('INSERT INTO t VALUES (1)'), ConnectError)
  assert.equal(error.retrySafe, true)
  assert.deepEqual(asked, [])
})

test('a connection that is lost while onConnect works is opened again', async () => {
  let setUps = 0
  await using manager = new ManagedConnection(database.conninfo, {
    onConnect: async (client) => {
      setUps++
      const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
      if (setUps !== 2) return
      await admin.terminate(rows[0]!.pid)
      await client.query('SELECT 1').catch(() => {})
      // What pg says from here on is that the client is not queryable, and not why.
      await client.query('SELECT 1')
    },
  })
  await manager.query('SELECT 1')
  await manager.close()
  await manager.query('SELECT 1')
  assert.equal(setUps, 3)
})

test('commit() and rollback() with nothing open do nothing on a lost connection, too', async () => {
  await admin.query('CREATE TABLE confirmed (id int)')
  await using manager = new ManagedConnection(database.conninfo)
  const result = await manager.use(async (connection) => {
    await connection.query('INSERT INTO confirmed VALUES (1)')
    await connection.commit()
    await admin.terminate(connection.processID!)
    await until(() => connection.status === 'unknown', { what: 'the loss to be noticed' })
    await connection.commit()
    await connection.rollback()
    return 'confirmed'
  })
  assert.equal(result, 'confirmed')
})

test('a statement whose time was up is not sent again when its connection is lost', async () => {
  await using wire = await openProxied(database)
  const { manager, proxy, recording } = wire
  await manager.query('SELECT')
  proxy.pause('toClient')
  const asked = manager.transaction((connection) =>
    connection.query({ text: 'SELECT 42', timeoutMillis: 30 }),
  )
  await caught(asked, StatementTimeoutError).finally(() => proxy.resume())
  const abandoned = manager.transaction(async (connection) => {
    proxy.pause('toClient')
    const answered = connection.query({ text: 'SELECT 43', timeoutMillis: 30 })
    await until(() => recording.sent().includes('Parse SELECT 43'), { what: 'the statement to be sent' })
    await new Promise((resolve) => setTimeout(resolve, 60))
    proxy.cut('reset')
    proxy.resume()
    await answered
  })
  await caught(abandoned, StatementTimeoutError)
  await manager.query('SELECT')
  assert.equal(recording.sent().filter((sent) => sent === 'Parse SELECT 43').length, 1)
})
