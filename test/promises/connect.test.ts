/** `connect()`: opens the connection for whoever stands in no line, and waits for a server that is not there yet. */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { ConnectError, ManagerEndedError, ReentrantAcquireError } from 'pg-managed-connection'
import { reason } from '../support/caught.js'
import { freePort } from '../support/free-port.js'
import { ManagedConnection } from '../support/managed.js'
import { startServer } from '../support/postgres.js'
import { openSuite } from '../support/suite.js'
import { within } from '../support/wait.js'

const { test, database } = await openSuite()

test('it opens the connection, once, and leaves an open one as it is', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await Promise.all([manager.connect(), manager.connect()])
  assert.equal(manager.closed, false)
  await manager.connect({ timeoutMillis: 0 })
  assert.deepEqual([manager.stats.connects, manager.stats.acquires], [1, 0])
  await manager.close()
  await manager.connect()
  assert.equal(manager.stats.connects, 2)
})

test('with no time to wait there is one attempt, which is no shorter for that, nor for who waits in line', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.connect({ timeoutMillis: 0 })
  assert.equal(manager.closed, false)
  await using other = new ManagedConnection(database.conninfo, {
    onConnect: () => sleep(300),
  })
  const connecting = reason(other.connect({ timeoutMillis: 20 }))
  assert.deepEqual((await other.query('SELECT 1 AS one')).rows, [{ one: 1 }])
  assert.ok((await connecting) instanceof ConnectError)
  assert.equal(other.stats.connects, 1)
})

test('it stands in no line: who holds the connection does not delay it', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.use(async () => {
    await within(manager.connect(), 'connect() inside of a turn')
  })
})

test('a server that is not there yet is waited for', { needs: ['own thread'] }, async () => {
  const port = await freePort()
  await using manager = new ManagedConnection({
    host: '127.0.0.1',
    port,
    user: 'postgres',
    dbname: 'postgres',
  })
  const connected = manager.connect({ timeoutMillis: 30_000 })
  await sleep(200)
  await using _server = await startServer({ port })
  await within(connected, 'the connection', 30_000)
  assert.deepEqual((await manager.query('SELECT 1 AS one')).rows, [{ one: 1 }])
})

test('it gives up when its time is over, at once with none, and says why', async () => {
  const port = await freePort()
  await using manager = new ManagedConnection(`host=127.0.0.1 port=${port} user=u dbname=d`)
  for (const timeoutMillis of [0, 300]) {
    const from = performance.now()
    const error = (await reason(manager.connect({ timeoutMillis }))) as ConnectError
    assert.ok(error instanceof ConnectError)
    assert.match(error.message, /Connection refused/)
    const millis = performance.now() - from
    assert.ok(millis < timeoutMillis + 1_000 && millis >= timeoutMillis / 4, String(millis))
  }
  // Nobody is patient any more.
  const from = performance.now()
  await assert.rejects(manager.query('SELECT 1'), ConnectError)
  assert.ok(performance.now() - from < 1_000)
})

test('an abort ends the waiting, and with it the attempt that nobody else waits for', async () => {
  const port = await freePort()
  await using manager = new ManagedConnection(`host=127.0.0.1 port=${port} user=u dbname=d`)
  const controller = new AbortController()
  const connecting = manager.connect({ signal: controller.signal })
  await sleep(50)
  controller.abort('enough')
  assert.equal(await reason(connecting), 'enough')
  assert.equal(await reason(manager.connect({ signal: AbortSignal.abort('before') })), 'before')
})

test('it is refused in onConnect, and behind end()', { needs: ['own thread'] }, async () => {
  const manager: ManagedConnection = new ManagedConnection(database.conninfo, {
    onConnect: () => manager.connect(),
  })
  const error = (await reason(manager.connect())) as ConnectError
  assert.ok(error.cause instanceof ReentrantAcquireError, String(error.cause))
  await manager.end()
  assert.ok((await reason(manager.connect())) instanceof ManagerEndedError)
})
