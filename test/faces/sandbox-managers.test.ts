/** Sandboxes of all kinds of managers, how they end, and what they tell of themselves. */
import assert from 'node:assert/strict'
import { Worker } from 'node:worker_threads'
import type { Manager, ManagedConnectionEvents } from 'pg-managed-connection'
import { ManagedConnection } from 'pg-managed-connection'
import { pgliteStream } from 'pg-managed-connection/pglite'
import { openSandbox } from 'pg-managed-connection/sandbox'
import { share } from 'pg-managed-connection/worker'
import { startPGlite } from '../support/embedded.js'
import { openManager } from '../support/manager.js'
import { openSuite } from '../support/suite.js'

const { test, database } = await openSuite()
await database.admin.query('CREATE TABLE notes (id int PRIMARY KEY, text text)')

/** What it rejects with; undefined where it does not. */
const errorOf = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  )

const ids = async (manager: Manager): Promise<number[]> => {
  const { rows } = await manager.query<{ id: number }>('SELECT id FROM notes ORDER BY id')
  return rows.map(({ id }) => id)
}

test('end() waits for the holder and for those in line, and no longer than it was told', async () => {
  await using manager = openManager(database.conninfo)
  const patient = await openSandbox(manager)
  const done: string[] = []
  const work = patient.transaction(async (connection) => {
    await connection.query('SELECT pg_sleep(0.05)')
    done.push('holder')
  })
  const waiting = patient.query('SELECT 1').then(() => done.push('waiter'))
  await patient.end().then(() => done.push('end'))
  await Promise.all([work, waiting])
  assert.deepEqual(done, ['holder', 'waiter', 'end'])
  assert.match(String(await errorOf(patient.query('SELECT 1'))), /ManagerEndedError/)

  const hasty = await openSandbox(manager)
  const held = errorOf(hasty.transaction((connection) => connection.query('SELECT pg_sleep(60)')))
  const inLine = errorOf(hasty.query('SELECT 1'))
  await hasty.end({ timeoutMillis: 50 })
  assert.match(String(await held), /ManagerEndedError/)
  assert.match(String(await inLine), /ManagerEndedError/)

  const kept = await openSandbox(manager)
  const connection = await kept.acquire()
  await connection.query('INSERT INTO notes VALUES (1)')
  await kept.end({ timeoutMillis: 20 })
  assert.match(String(await errorOf(connection.query('SELECT 1'))), /ManagerEndedError/)
  await connection.release().catch(() => {})
  assert.deepEqual(await ids(manager), [])
  assert.equal(manager.stats.held, false)
})

test('a signal ends a turn in a sandbox, with what runs in it', async () => {
  await using manager = openManager(database.conninfo)
  await using sandbox = await openSandbox(manager)
  const signal = AbortSignal.timeout(50)
  const error = await errorOf(
    sandbox.transaction(
      async (connection) => {
        await connection.query('INSERT INTO notes VALUES (2)')
        await connection.query('SELECT pg_sleep(60)')
      },
      { signal },
    ),
  )
  assert.equal(error, signal.reason)
  assert.deepEqual(await ids(sandbox), [])
})

test('a hold that times out ends the sandbox, with everyone in it', async () => {
  await using manager = openManager(database.conninfo, { maxHoldMillis: 100 })
  const sandbox = await openSandbox(manager)
  const error = await errorOf(sandbox.transaction((connection) => connection.query('SELECT pg_sleep(60)')))
  assert.match(String(error), /HoldTimeoutError/)
  assert.match(String(await errorOf(sandbox.query('SELECT 1'))), /HoldTimeoutError/)
  await sandbox.end()
  assert.deepEqual(await ids(manager), [])
})

test('whoever is in the middle of something when the connection is lost is told so', async () => {
  await using manager = openManager(database.conninfo)
  const sandbox = await openSandbox(manager)
  const disconnects: unknown[] = []
  ;(sandbox as unknown as ManagedConnection).on('disconnect', (error) => disconnects.push(error))
  const held = errorOf(
    sandbox.transaction(async (connection) => {
      await connection.query('INSERT INTO notes VALUES (3)')
      await connection.query('SELECT pg_terminate_backend(pg_backend_pid())')
    }),
  )
  const inLine = errorOf(sandbox.query('SELECT 1'))
  assert.match(String(await held), /ConnectionLostError|terminat/)
  assert.match(String(await inLine), /ConnectionLostError/)
  assert.equal(disconnects.length, 1)
  await sandbox.end()
  assert.deepEqual(await ids(manager), [])
})

test('a sandbox of a manager made by with() has what its calls have in common', async () => {
  await using manager = openManager(database.conninfo)
  const tenant = manager.with({ settings: { 'app.tenant': 7 }, role: 'pg_monitor', autocommit: true })
  await using sandbox = await openSandbox(tenant)
  const text = "SELECT current_setting('app.tenant') AS tenant, current_user AS role"
  const expected = [{ tenant: '7', role: 'pg_monitor' }]
  assert.deepEqual((await sandbox.query(text)).rows, expected)
  assert.deepEqual((await sandbox.transaction((connection) => connection.query(text))).rows, expected)
  assert.deepEqual((await sandbox.use((connection) => connection.query(text))).rows, expected)
  assert.deepEqual((await sandbox.batch([text]))[0]!.rows, expected)
  const other = sandbox.with({ settings: { 'app.tenant': 8 } })
  assert.deepEqual((await other.query(text)).rows, [{ tenant: '8', role: 'pg_monitor' }])
  await sandbox.reset()
  assert.deepEqual((await sandbox.query(text)).rows, expected)
})

const WORKER = `
const { workerData, parentPort } = require('node:worker_threads')
Promise.all([import('pg-managed-connection/worker'), import('pg-managed-connection/sandbox')]).then(
  async ([{ attach }, { openSandbox }]) => {
    const manager = attach(workerData.port)
    const sandbox = await openSandbox(manager)
    await sandbox.transaction((c) => c.query('INSERT INTO notes VALUES (4)'))
    const failed = await sandbox.query('INSERT INTO notes VALUES (4)').catch((error) => error.code)
    const undone = await sandbox
      .transaction(async (c) => {
        await c.query('INSERT INTO notes VALUES (5)')
        throw new Error('no')
      })
      .catch((error) => error.message)
    const seen = []
    await sandbox.transaction(async (c) => {
      for await (const row of c.stream('SELECT id FROM notes')) seen.push(row.id)
    })
    await sandbox.reset()
    const { rows } = await sandbox.query('SELECT count(*)::int AS n FROM notes')
    await sandbox.end()
    await manager.end()
    parentPort.postMessage({ failed, undone, seen, rows })
  })`

test('a worker opens sandboxes, too', async () => {
  await using manager = openManager(database.conninfo)
  const port = share(manager)
  const worker = new Worker(WORKER, { eval: true, workerData: { port }, transferList: [port] })
  const seen = await new Promise((resolve, reject) => {
    worker.once('message', resolve)
    worker.once('error', reject)
  })
  await worker.terminate()
  assert.deepEqual(seen, { failed: '23505', undone: 'no', seen: [4], rows: [{ n: 0 }] })
  assert.deepEqual(await ids(manager), [])
})

test('PGlite has sandboxes, too', async () => {
  await using db = await startPGlite()
  await db.exec('CREATE TABLE notes (id int PRIMARY KEY)')
  await using manager = new ManagedConnection({ stream: pgliteStream(db) })
  {
    await using sandbox = await openSandbox(manager)
    await sandbox.transaction((connection) => connection.query('INSERT INTO notes VALUES (1)'))
    assert.match(String(await errorOf(sandbox.query('INSERT INTO notes VALUES (1)'))), /duplicate key/)
    assert.match(
      String(await errorOf(sandbox.query('SAVEPOINT a'))),
      /can only be used in transaction blocks/,
    )
    await sandbox.query("SELECT set_config('app.tenant', 'x', true)")
    await sandbox.query('CREATE TEMP TABLE gone ON COMMIT DROP AS SELECT 1 AS id')
    assert.match(String(await errorOf(sandbox.query('TABLE gone'))), /does not exist/)
    const { rows } = await sandbox.query("SELECT current_setting('app.tenant', true) AS tenant")
    assert.deepEqual(rows, [{ tenant: '' }])
    assert.deepEqual(await ids(sandbox), [1])
  }
  assert.deepEqual(await ids(manager), [])
})

test('what is no manager of this library is refused, and a sandbox of a sandbox is one more', async () => {
  await using manager = openManager(database.conninfo)
  for (const other of [null, undefined, 'manager', {}]) {
    assert.match(String(await errorOf(openSandbox(other as never))), /TypeError.*takes a manager/)
  }
  await using outer = await openSandbox(manager)
  await outer.query('INSERT INTO notes VALUES (6)')
  {
    await using inner = await openSandbox(outer)
    await inner.query('INSERT INTO notes VALUES (7)')
    await inner.transaction((connection) => connection.query('INSERT INTO notes VALUES (8)'))
    await inner.reset()
    await inner.query('INSERT INTO notes VALUES (9)')
    assert.deepEqual(await ids(inner), [6, 9])
  }
  assert.deepEqual(await ids(outer), [6])
})

test('the figures and events of a sandbox are its own', async () => {
  await using manager = openManager(database.conninfo)
  await using sandbox = await openSandbox(manager)
  const told: unknown[] = []
  const emitter = sandbox as unknown as ManagedConnection
  for (const event of ['acquire', 'release', 'rollback', 'notice'] as const) {
    emitter.on(event, (...args: ManagedConnectionEvents[typeof event]) => told.push([event, label(args[0])]))
  }
  await sandbox.query('SELECT 1')
  await sandbox.transaction((connection) => connection.query('SELECT 1'), { label: 'one' })
  await errorOf(sandbox.use((connection) => connection.query('SELECT 1'), { label: 'two' }))
  await sandbox.query("DO $$ BEGIN RAISE NOTICE 'heard'; END $$")
  const connection = await sandbox.acquire({ label: 'three' })
  await errorOf(sandbox.acquire({ timeoutMillis: 10 }))
  const { held, holderLabel, acquires, releases, rollbacks, rollbacksByReason, timeouts } = sandbox.stats
  await connection.release()
  assert.deepEqual(
    {
      held,
      holderLabel,
      acquires,
      releases,
      rollbacks,
      uncommitted: rollbacksByReason.uncommitted,
      timeouts,
    },
    { held: true, holderLabel: 'three', acquires: 3, releases: 2, rollbacks: 1, uncommitted: 1, timeouts: 1 },
  )
  assert.deepEqual(told, [
    ['acquire', 'one'],
    ['release', 'one'],
    ['acquire', 'two'],
    ['release', 'two'],
    ['rollback', 'two'],
    ['notice', 'heard'],
    ['acquire', 'three'],
    ['release', 'three'],
  ])
  const below = manager.stats
  assert.deepEqual([below.acquires, below.rollbacks, below.holderLabel], [1, 0, 'an open sandbox'])
})

function label(event: object): unknown {
  const { label: name, message } = event as { label?: unknown; message?: unknown }
  return name ?? message
}

test('a weaker isolation is accepted however it is asked for, and a stronger one refused', async () => {
  await using manager = openManager(database.conninfo)
  await using sandbox = await openSandbox(manager, { isolationLevel: 'repeatable read' })
  const levels = async (level: string): Promise<unknown[]> => {
    const seen: unknown[] = []
    await sandbox.use(
      async (connection) => {
        await connection.query('START TRANSACTION')
        seen.push(await errorOf(connection.query(`SET TRANSACTION ISOLATION LEVEL ${level}`)))
        await connection.query('ROLLBACK')
      },
      { autocommit: true },
    )
    seen.push(await errorOf(sandbox.query(`BEGIN ISOLATION LEVEL ${level}; ROLLBACK`)))
    return seen.map((error) => (error as { code?: string } | undefined)?.code)
  }
  assert.deepEqual(await levels('READ COMMITTED'), [undefined, undefined])
  assert.deepEqual(await levels('SERIALIZABLE'), ['ERR_SANDBOX', 'ERR_SANDBOX'])
})
