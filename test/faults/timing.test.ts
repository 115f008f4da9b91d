/** Time: limits judge what has been read, clocks that stand still, sessions that die young, paths that have gone deaf. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { ManagedConnection } from 'pg-managed-connection'
import { openProxied } from '../support/proxied.js'
import { openSuite } from '../support/suite.js'
import { until, within } from '../support/wait.js'

const { test, database } = await openSuite()
const { admin } = database

/** Holds the event loop up, as a pause or a frozen machine does. */
function block(millis: number): void {
  const end = performance.now() + millis
  while (performance.now() < end);
}

test('a COMMIT that was answered while the event loop stood still is confirmed, whatever its limit', async () => {
  await admin.query('CREATE TABLE stalled (n int)')
  await using manager = new ManagedConnection(database.conninfo, { statementTimeoutMillis: 300 })
  await manager.query('SELECT')
  for (let time = 0; time < 3; time++) {
    await manager.transaction(async (connection) => {
      await connection.query('INSERT INTO stalled VALUES (1)')
      setImmediate(() => block(500))
    })
  }
  assert.equal(manager.stats.disconnects, 0)
})

test('the check of an unused connection is judged when its answer has been read', async () => {
  await using manager = new ManagedConnection(database.conninfo, { validateAfterIdleMillis: 20 })
  await manager.query('SELECT')
  await sleep(60)
  const answered = manager.query('SELECT 1 AS one')
  setImmediate(() => block(5_200))
  assert.equal((await answered).rows[0].one, 1)
  assert.equal(manager.stats.disconnects, 0)
})

/** What a frozen process does as soon as it goes on. */
const PROGRAM = `
  import { ManagedConnection } from ${JSON.stringify(import.meta.resolve('pg-managed-connection'))}
  const manager = new ManagedConnection(process.argv[1])
  const { rows } = await manager.query('SELECT pg_backend_pid() AS pid')
  console.log(rows[0].pid)
  setTimeout(async () => {
    const ask = {
      query: () => manager.query('SELECT 1'),
      batch: () => manager.batch(['SELECT 1']),
      use: () => manager.use((connection) => connection.query('SELECT 1'), { autocommit: true }),
    }[process.argv[2]]
    console.log(await ask().then(() => 'well', String))
    await manager.end()
  }, 400)`

for (const way of ['query', 'batch', 'use']) {
  test(`a connection that died while the process was frozen is replaced before it is used: ${way}`, async () => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', PROGRAM, database.conninfo, way], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
    const closed = once(child, 'close')
    const processID = Number((await lines.next()).value)
    await sleep(30)
    // Not by child.kill(), which sends but one signal in Deno.
    process.kill(child.pid!, 'SIGSTOP')
    await admin.terminate(processID)
    await sleep(600)
    process.kill(child.pid!, 'SIGCONT')
    assert.equal((await lines.next()).value, 'well')
    await closed
  })
}

test('sessions that die before they are of use are opened again with pauses; one that was of use, at once', async () => {
  await using wire = await openProxied(database)
  const { manager, proxy } = wire
  let cutting = false
  proxy.onChunk = (direction, chunk, link) => {
    if (cutting && direction === 'toServer' && chunk.includes('LISTEN')) {
      link.cut('reset')
      return null
    }
    return chunk
  }
  await using subscription = await manager.listen('young')
  cutting = true
  proxy.cut('reset')
  await sleep(1_500)
  const whileCutting = manager.stats.connects
  cutting = false
  await until(() => !manager.closed && subscription.buffered > 0, { what: 'the subscription to live again' })
  assert.ok(whileCutting < 20, String(whileCutting))
  await manager.query('SELECT')
  const opened = manager.stats.connects
  proxy.cut('reset')
  await until(() => manager.stats.connects > opened, { what: 'a new session', timeoutMillis: 2_000 })
})

test('a quiet listener learns that its path has gone deaf, and that it has missed something', async () => {
  await using wire = await openProxied(database, { heartbeatMillis: 100 })
  const { manager, proxy } = wire
  await using subscription = await manager.listen('quiet')
  const messages = subscription[Symbol.asyncIterator]()
  proxy.pause('toClient')
  // The new connection has to get through.
  const reopened = once(manager, 'disconnect').then(() => proxy.resume())
  const { value } = await within(messages.next(), 'the gap', 20_000)
  await reopened
  assert.deepEqual(value, { type: 'gap', channel: 'quiet' })
})

test('the heartbeat disturbs no transaction, and is silent while something is unanswered or nobody listens', async () => {
  await using wire = await openProxied(database, { heartbeatMillis: 30 })
  const { manager, recording } = wire
  const beats = (): number => recording.sent().filter((sent) => sent === 'Sync').length
  await manager.query('SELECT')
  recording.clear()
  await sleep(150)
  assert.equal(beats(), 0)
  const subscription = await manager.listen('beating')
  await manager.use(async (connection) => {
    await connection.query('CREATE TABLE beaten (n int)')
    await sleep(150)
    assert.equal(connection.status, 'intrans')
    // A heartbeat before it may have been on its way still.
    await connection.query('SELECT 1')
    recording.clear()
    await connection.query('SELECT pg_sleep(0.2)')
    assert.equal(beats(), 1)
    await connection.commit()
  })
  recording.clear()
  await until(() => beats() > 1, { what: 'the heart to beat' })
  await subscription[Symbol.asyncDispose]()
  await manager.query('SELECT')
  recording.clear()
  await sleep(150)
  assert.equal(beats(), 0)
})

test('fake timers of a test runner, installed after the import, neither stop a query nor wedge a limit', async () => {
  const real = { setTimeout, clearTimeout, setImmediate, clearImmediate, now: Date.now }
  const fake = (): never => {
    throw new Error('a fake timer was used')
  }
  const install = (): void => {
    Object.assign(globalThis, { setTimeout: fake, setImmediate: fake })
    Date.now = () => 0
    Object.defineProperty(performance, 'now', { value: () => 0, configurable: true })
  }
  const uninstall = (): void => {
    const { now, ...timers } = real
    Object.assign(globalThis, timers)
    Date.now = now
    delete (performance as { now?: unknown }).now
  }
  const manager = new ManagedConnection(database.conninfo, { validateAfterIdleMillis: 1 })
  await manager.query('SELECT')
  await sleep(30)
  install()
  try {
    assert.equal((await manager.query({ text: 'SELECT 1 AS one', timeoutMillis: 5_000 })).rows[0].one, 1)
    await manager.transaction((connection) =>
      Promise.all([connection.query('SELECT 1'), connection.query('SELECT 2')]),
    )
    const error = await manager
      .query({ text: 'SELECT pg_sleep(20)', timeoutMillis: 50 })
      .catch((thrown: unknown) => thrown)
    assert.equal((error as { code?: string }).code, 'ERR_STATEMENT_TIMEOUT')
    const held = await manager.acquire()
    const late = await manager.acquire({ timeoutMillis: 50 }).catch((thrown: unknown) => thrown)
    assert.equal((late as { code?: string }).code, 'ERR_ACQUIRE_TIMEOUT')
    await held.release()
    await manager.close()
    await manager.query('SELECT')
  } finally {
    uninstall()
    await manager.end()
  }
})

test('large values leave no buffers behind, and wait with their callers rather than in buffers', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  await manager.query('SELECT')
  const before = process.memoryUsage().arrayBuffers
  const size = 16 * 2 ** 20
  let most = 0
  const watch = setInterval(() => {
    most = Math.max(most, process.memoryUsage().arrayBuffers - before)
  }, 1)
  const values = Array.from({ length: 8 }, () => 'x'.repeat(size))
  const lengths = await Promise.all(
    values.map((value) => manager.query('SELECT length($1::text) AS n', [value])),
  )
  clearInterval(watch)
  for (const { rows } of lengths) assert.equal(rows[0].n, size)
  assert.ok(most < 5 * size, `${most} bytes at the most`)
})
