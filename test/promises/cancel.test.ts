/** Cancelling a statement: its deadline, its signal, and whom the request may not hit. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { StatementTimeoutError } from 'pg-managed-connection'
import { caught } from '../support/caught.js'
import { connectTo } from '../support/address.js'
import { ManagedConnection } from '../support/managed.js'
import { openConnected, openProxied, type Proxied } from '../support/proxied.js'
import { openSuite } from '../support/suite.js'
import { until, within } from '../support/wait.js'

const { test, database } = await openSuite()
const { admin } = database

await admin.query(`
  CREATE TABLE slow_commits (id int);
  CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_sleep(1.2); RETURN NULL; END $$;
  CREATE CONSTRAINT TRIGGER dawdle AFTER INSERT ON slow_commits
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION dawdle();
`)

/** Nothing that has a deadline outlives it by more than this. */
const LATE_MILLIS = 1_000

/** How long a promise took to reject, and with what. */
async function rejection(promise: Promise<unknown>): Promise<{ error: unknown; millis: number }> {
  const start = performance.now()
  try {
    await within(promise, 'a rejection', 20_000)
  } catch (error) {
    return { error, millis: performance.now() - start }
  }
  throw new Error('it was not rejected')
}

function assertTimedOut(error: unknown, timeoutMillis: number): asserts error is StatementTimeoutError {
  assert.ok(error instanceof StatementTimeoutError, String(error))
  assert.equal(error.code, 'ERR_STATEMENT_TIMEOUT')
  assert.equal(error.timeoutMillis, timeoutMillis)
}

function cancelRequests({ recording }: Proxied): number {
  return recording.sent().filter((message) => message === 'CancelRequest').length
}

test('a statement that outlives its timeoutMillis is cancelled; the connection stays', async () => {
  await using wire = await openConnected(database)
  const { manager } = wire
  const pid = manager.stats.processID
  await manager.use(async (connection) => {
    const { error, millis } = await rejection(
      connection.query({ text: 'SELECT pg_sleep(30)', timeoutMillis: 200 }),
    )
    assertTimedOut(error, 200)
    assert.equal(error.statement, 'SELECT pg_sleep(30)')
    assert.equal((error.cause as { code?: string }).code, '57014')
    assert.equal(error.retrySafe, true)
    assert.ok(millis >= 195 && millis < 200 + LATE_MILLIS, `${millis} ms`)
    assert.equal(connection.status, 'inerror')
    await connection.rollback()
    const { rows } = await connection.query('SELECT pg_backend_pid() AS pid')
    assert.deepEqual(rows, [{ pid }])
    await connection.commit()
  })
  assert.equal(cancelRequests(wire), 1)
  assert.equal(manager.stats.connects, 1)
})

test('a nested transaction takes a cancelled statement back, and the outer one goes on', async () => {
  await admin.query('CREATE TABLE around (id int)')
  await using wire = await openConnected(database)
  await wire.manager.transaction(async (connection) => {
    await connection.query('INSERT INTO around VALUES (1)')
    await assert.rejects(
      connection.transaction((inner) => inner.query({ text: 'SELECT pg_sleep(30)', timeoutMillis: 50 })),
      StatementTimeoutError,
    )
    await connection.query('INSERT INTO around VALUES (2)')
  })
  assert.deepEqual(await admin.rows('SELECT id FROM around'), [{ id: 1 }, { id: 2 }])
})

test('statementTimeoutMillis is the default of every statement, and a statement may say otherwise', async () => {
  await using wire = await openProxied(database, { statementTimeoutMillis: 100 })
  const { manager } = wire
  const slow = 'SELECT pg_sleep(30)'
  assertTimedOut((await rejection(manager.query(slow))).error, 100)
  assertTimedOut((await rejection(manager.transaction((connection) => connection.query(slow)))).error, 100)
  assertTimedOut((await rejection(manager.batch(['SELECT 1', slow]))).error, 100)
  await manager.query({ text: 'SELECT pg_sleep(0.3)', timeoutMillis: 0 })
  await manager.query({ text: 'SELECT pg_sleep(0.3)', timeoutMillis: 20_000 })
})

test('a statement in time is not cancelled, and leaves no timer', async () => {
  await using wire = await openConnected(database)
  await wire.manager.use(async (connection) => {
    for (let i = 0; i < 5; i++) await connection.query({ text: 'SELECT 1', timeoutMillis: 60_000 })
    await connection.commit()
  })
  assert.equal(cancelRequests(wire), 0)
})

for (const [what, ask] of Object.entries({
  'a holder’s statement': (manager: ManagedConnection, signal: AbortSignal) =>
    manager.use((connection) => connection.query({ text: 'SELECT pg_sleep(30)', signal })),
  'a one-shot': (manager: ManagedConnection, signal: AbortSignal) =>
    manager.query({ text: 'SELECT pg_sleep(30)', signal }),
  'a batch': (manager: ManagedConnection, signal: AbortSignal) =>
    manager.batch(['SELECT 1', 'SELECT pg_sleep(30)'], { signal }),
})) {
  test(`${what} whose signal aborts rejects with the very reason, and the backend is free at once`, async () => {
    await using wire = await openConnected(database)
    const abort = new AbortController()
    const reason = Object.freeze(new Error('no longer wanted'))
    setTimeout(() => abort.abort(reason), 200)
    const { error, millis } = await rejection(ask(wire.manager, abort.signal))
    assert.equal(error, reason)
    assert.ok(millis < 200 + LATE_MILLIS, `${millis} ms`)
    assert.deepEqual((await within(wire.manager.query('SELECT 1 AS one'), 'the next')).rows, [{ one: 1 }])
    assert.equal(wire.manager.stats.connects, 1)
  })

  test(`${what} whose signal had aborted before is never sent`, async () => {
    await using wire = await openConnected(database)
    const reason = { an: 'object' }
    const { error } = await rejection(ask(wire.manager, AbortSignal.abort(reason)))
    assert.equal(error, reason)
    assert.deepEqual(wire.recording.sent(), [])
  })
}

test('a one-shot whose signal aborts while it waits in line leaves it and is never sent', async () => {
  await using wire = await openConnected(database)
  const abort = new AbortController()
  await wire.manager.use(async (connection) => {
    await connection.query('SELECT 1')
    // Asked for outside of this callback's context, as another task would.
    setTimeout(() => abort.abort('gone'), 50)
    await sleep(100)
    await connection.rollback()
  })
  const holder = await wire.manager.acquire()
  const second = new AbortController()
  const waiting = wire.manager.query({ text: 'SELECT 2', signal: second.signal })
  second.abort('gone')
  assert.equal((await rejection(waiting)).error, 'gone')
  await holder.release()
  await wire.manager.query('SELECT 3')
  assert.ok(!wire.recording.sent().includes('Parse SELECT 2'))
})

test('a request never hits a predecessor’s COMMIT, and its own caller is rejected on time all the same', async () => {
  await using wire = await openConnected(database)
  const { manager, recording } = wire
  const first = manager.transaction((connection) => connection.query('INSERT INTO slow_commits VALUES (1)'))
  const second = manager.use(async (connection) => {
    const asked = connection.query({ text: 'SELECT pg_sleep(30)', timeoutMillis: 100 })
    await until(() => recording.sent().includes('Parse SELECT pg_sleep(30)'), { what: 'it to be sent' })
    const { error, millis } = await rejection(asked)
    assertTimedOut(error, 100)
    assert.ok(millis < 100 + LATE_MILLIS, `${millis} ms`)
    await connection.rollback()
  })
  await within(Promise.all([first, second]), 'both')
  assert.deepEqual(await admin.rows('SELECT id FROM slow_commits WHERE id = 1'), [{ id: 1 }])
  const dialogue = recording.dialogue()
  const request = dialogue.indexOf('> CancelRequest')
  assert.ok(request > dialogue.indexOf('< CommandComplete COMMIT'), 'the request waited for COMMIT')
  assert.equal(manager.stats.connects, 1)
})

test('a one-shot that has waited for a slow COMMIT has not used up its time', async () => {
  await using wire = await openConnected(database)
  const { manager } = wire
  const first = manager.transaction((connection) => connection.query('INSERT INTO slow_commits VALUES (2)'))
  const { rows } = await manager.query({ text: 'SELECT 1 AS one', timeoutMillis: 500 })
  assert.deepEqual(rows, [{ one: 1 }])
  await first
})

test('a neighbour in the pipeline is never hit, however close the deadline is to the answer', async () => {
  await using wire = await openConnected(database)
  const { manager } = wire
  let cancelled = 0
  for (let i = 0; i < 60; i++) {
    const [guarded, ...neighbours] = await within(
      Promise.allSettled([
        manager.query({ text: 'SELECT pg_sleep(0.02)', timeoutMillis: 5 + 3 * (i % 7) }),
        ...[1, 2, 3].map((n) => manager.query<{ n: number }>('SELECT $1::int AS n, pg_sleep(0.002)', [n])),
      ]),
      'a round',
    )
    if (guarded.status === 'rejected') {
      cancelled++
      assertTimedOut(guarded.reason, 5 + 3 * (i % 7))
    }
    for (const neighbour of neighbours)
      assert.equal(neighbour.status, 'fulfilled', String((neighbour as { reason?: unknown }).reason))
  }
  assert.equal(cancelRequests(wire) >= cancelled, true)
  assert.ok(cancelled > 0, 'some were cancelled')
})

test('a neighbour in the holder’s own pipeline is never hit', async () => {
  await using wire = await openConnected(database)
  for (let i = 0; i < 40; i++) {
    await wire.manager.use(
      async (connection) => {
        const [, ...neighbours] = await within(
          Promise.allSettled([
            connection.query({ text: 'SELECT pg_sleep(0.02)', timeoutMillis: 20 + (i % 5) - 2 }),
            ...[1, 2].map((n) => connection.query('SELECT $1::int, pg_sleep(0.005)', [n])),
          ]),
          'a round',
        )
        for (const neighbour of neighbours) assert.equal(neighbour.status, 'fulfilled')
      },
      { autocommit: true },
    )
  }
})

test('no write is sent behind a request until the statement and the request are both over', async () => {
  await admin.query('CREATE TABLE IF NOT EXISTS marks (n int)')
  await using wire = await openConnected(database)
  const { manager, proxy, recording } = wire
  proxy.onChunk = (direction, chunk) => {
    // A CancelRequest is kept on its way for a while.
    if (direction === 'toServer' && chunk.length === 16 && chunk.readUInt32BE(4) === 80877102) {
      proxy.pause('toServer')
      return chunk
    }
    return chunk
  }
  // The hook sees a chunk when it has passed the gate, so the gate is shut before the next one; keep the request's end.
  const first = manager.query({ text: 'SELECT pg_sleep(0.4) AS done', timeoutMillis: 150 })
  const second = manager.query('INSERT INTO marks VALUES (2) RETURNING n AS two')
  const outcome = Promise.allSettled([first])
  await until(() => cancelRequests(wire) === 1, { what: 'the request' })
  await until(() => recording.received().includes('ReadyForQuery I'), { what: 'the statement to be over' })
  const ready = recording.dialogue().indexOf('< ReadyForQuery I')
  const sentBefore = recording.dialogue().slice(0, ready)
  assert.ok(!sentBefore.some((line) => line.includes('INSERT')))
  proxy.onChunk = null
  proxy.resume()
  await within(outcome, 'the first')
  assert.deepEqual((await within(second, 'the second')).rows, [{ two: 2 }])
})

test('a request that comes late hits nobody: a write that follows waits until it has been delivered', async () => {
  await admin.query('CREATE TABLE IF NOT EXISTS marks (n int)')
  await using wire = await openConnected(database)
  const { manager, proxy, recording } = wire
  const first = Promise.allSettled([manager.query({ text: 'SELECT pg_sleep(0.3)', timeoutMillis: 150 })])
  await until(() => recording.sent().includes('Parse SELECT pg_sleep(0.3)'), { what: 'it to be sent' })
  await sleep(30)
  proxy.pause('toServer') // the statement is at the server, the request will not be
  const second = manager.query('INSERT INTO marks SELECT 2 FROM pg_sleep(0.3) RETURNING n AS two')
  await until(() => cancelRequests(wire) === 1, { what: 'the request' })
  await until(() => recording.received().includes('ReadyForQuery I'), { what: 'the statement to be over' })
  await sleep(100)
  assert.ok(!recording.sent().some((message) => message.includes('2 AS two')))
  proxy.resume()
  const [outcome] = await within(first, 'the first')
  assert.equal(outcome.status, 'fulfilled')
  const { rows } = await within(second, 'the second')
  assert.equal((rows as { two: number }[])[0]!.two, 2)
})

test('a request that is lost on its way is sent again: the statement is cancelled, the connection stays', async () => {
  await using wire = await openConnected(database)
  const { manager, proxy } = wire
  let lost = 0
  proxy.onChunk = (direction, chunk, link) => {
    if (direction === 'toClient' || link.id !== 2) return chunk
    lost++
    link.cut('fin')
    return null
  }
  const { error } = await rejection(manager.query({ text: 'SELECT pg_sleep(30)', timeoutMillis: 50 }))
  assertTimedOut(error, 50)
  await until(() => manager.stats.inFlight === 0, { what: 'the statement to end', timeoutMillis: 4_000 })
  assert.equal(lost, 1)
  assert.equal(manager.stats.connects, 1)
})

test('where the server finished first its answer wins', async () => {
  await using wire = await openConnected(database)
  const { manager, proxy } = wire
  proxy.pause('toClient')
  const asked = manager.query({ text: 'SELECT 1 AS one', timeoutMillis: 100 })
  await sleep(180)
  proxy.resume()
  assert.deepEqual((await within(asked, 'the answer')).rows, [{ one: 1 }])
  assert.deepEqual((await within(manager.query('SELECT 2 AS two'), 'the next')).rows, [{ two: 2 }])
})

test('an error that is the server’s own wins over the deadline, too', async () => {
  await using wire = await openConnected(database)
  const { manager, proxy } = wire
  proxy.pause('toClient')
  const asked = assert.rejects(manager.query({ text: 'SELECT 1/0', timeoutMillis: 100 }), { code: '22012' })
  await sleep(180)
  proxy.resume()
  await within(asked, 'the answer')
})

test('a statement whose limit ends before it is sent is withdrawn, and says so', async () => {
  await using wire = await openConnected(database)
  const { manager, recording } = wire
  await manager.use(async (connection) => {
    const long = connection.query({ text: 'SELECT pg_sleep(0.4)', timeoutMillis: 5_000 })
    const error = await caught(
      connection.query({ text: 'SELECT 2', timeoutMillis: 50 }),
      StatementTimeoutError,
    )
    assert.match(
      error.message,
      /was withdrawn after 50ms \(its timeoutMillis, or .+statementTimeoutMillis\), before it was sent: SELECT 2$/,
    )
    assert.equal(error.retrySafe, true)
    await long
    await connection.rollback()
  })
  assert.ok(!JSON.stringify(recording.sent()).includes('SELECT 2'))
})

for (const how of ['timeoutMillis', 'signal'] as const) {
  test(`a deaf server: the caller is rejected on time by its ${how}, and the manager works again afterwards`, async () => {
    await using wire = await openProxied(database, {
      releaseGraceMillis: 500,
      reconnectTimeoutMillis: 20_000,
    })
    const { manager, proxy } = wire
    await manager.query('SELECT')
    proxy.pause()
    const limits = how === 'signal' ? { signal: AbortSignal.timeout(200) } : { timeoutMillis: 200 }
    const shot = await rejection(manager.query({ text: 'SELECT 1', ...limits }))
    if (how === 'signal') assert.equal((shot.error as Error).name, 'TimeoutError')
    else {
      assertTimedOut(shot.error, 200)
      assert.match(
        shot.error.message,
        /has not confirmed that it was cancelled, so it may have been carried out: SELECT 1$/,
      )
      assert.equal(shot.error.retrySafe, false)
    }
    assert.ok(shot.millis < 200 + LATE_MILLIS, `${shot.millis} ms`)
    const next = manager.query('SELECT 1 AS one')
    await sleep(700)
    proxy.cut('reset')
    proxy.resume()
    assert.deepEqual((await within(next, 'the next')).rows, [{ one: 1 }])
  })
}

test('a holder’s statement on a deaf server is rejected on time, and its use() ends', async () => {
  await using wire = await openProxied(database, { releaseGraceMillis: 500 })
  const { manager, proxy } = wire
  await manager.query('SELECT')
  const used = manager.use(async (connection) => {
    await connection.query('SELECT 1')
    proxy.pause()
    await connection.query({ text: 'SELECT 2', timeoutMillis: 200 })
  })
  const { error, millis } = await rejection(used)
  assertTimedOut(error, 200)
  assert.ok(millis < 200 + 400 + 500 + LATE_MILLIS + LATE_MILLIS, `${millis} ms`)
  proxy.cut('reset')
  proxy.resume()
  await within(manager.query('SELECT 1'), 'the next')
})

test('the error of a statement that nobody knows the end of is not safe to retry', async () => {
  await using wire = await openProxied(database, { releaseGraceMillis: 300 })
  const { manager, proxy } = wire
  await manager.query('CREATE TABLE dark (id int)')
  proxy.pause('toClient')
  const { error } = await rejection(
    manager.query({ text: 'INSERT INTO dark VALUES (1)', timeoutMillis: 100 }),
  )
  assertTimedOut(error, 100)
  assert.equal(error.retrySafe, false)
  proxy.cut('reset')
  proxy.resume()
  await within(manager.query('SELECT 1'), 'the next')
})

test('a statement that ignores its cancellation costs the connection, not the next in line', async () => {
  await admin.query(`
    CREATE FUNCTION stubborn() RETURNS void LANGUAGE plpgsql AS $$
    DECLARE until timestamptz := clock_timestamp() + interval '4 seconds';
    BEGIN
      WHILE clock_timestamp() < until LOOP
        BEGIN PERFORM pg_sleep(0.2); EXCEPTION WHEN query_canceled THEN NULL; END;
      END LOOP;
    END $$`)
  await using wire = await openProxied(database, { releaseGraceMillis: 500 })
  const { manager } = wire
  await manager.query('SELECT')
  const { error, millis } = await rejection(manager.query({ text: 'SELECT stubborn()', timeoutMillis: 100 }))
  assertTimedOut(error, 100)
  assert.ok(millis < 100 + LATE_MILLIS, `${millis} ms`)
  const start = performance.now()
  await within(manager.query('SELECT 1'), 'the next')
  assert.ok(performance.now() - start < 3_000)
  assert.equal(manager.stats.connects, 2)
  await until(async () => (await admin.backends()).length === 1, { what: 'the stubborn backend to go' })
})

test('deadlines of many statements of one holder each hit their own', async () => {
  await using wire = await openConnected(database)
  await wire.manager.use(
    async (connection) => {
      const outcomes = await within(
        Promise.allSettled([
          connection.query({ text: 'SELECT pg_sleep(30), 1', timeoutMillis: 100 }),
          connection.query('SELECT 2 AS n'),
          connection.query({ text: 'SELECT pg_sleep(30), 3', timeoutMillis: 500 }),
          connection.query('SELECT 4 AS n'),
        ]),
        'all',
      )
      assert.deepEqual(
        outcomes.map(({ status }) => status),
        ['rejected', 'fulfilled', 'rejected', 'fulfilled'],
      )
    },
    { autocommit: true },
  )
})

test('a CancelRequest leaves it to the other side to hang up, as libpq does', async () => {
  let connections = 0
  let hungUpFirst = false
  const server = createServer({ allowHalfOpen: true }, (client) => {
    const upstream = connectTo(database.login)
    const isCancel = ++connections === 2
    client.once('end', () => (hungUpFirst ||= isCancel && !upstream.readableEnded))
    for (const socket of [client, upstream]) socket.on('error', () => {})
    // The request is passed on a moment later, so that whoever does not wait is seen.
    if (isCancel) setTimeout(() => client.pipe(upstream).pipe(client), 100)
    else client.pipe(upstream).pipe(client)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const { user, password = '' } = database.login
  const manager = new ManagedConnection({ host: '127.0.0.1', port, user, password, dbname: database.name })
  await caught(manager.query({ text: 'SELECT pg_sleep(10)', timeoutMillis: 50 }), StatementTimeoutError)
  await manager.query('SELECT 1')
  await manager.end()
  server.close()
  assert.equal(connections, 2)
  assert.equal(hungUpFirst, false)
})

test('a limit that comes while a one-shot is rolled back hits nobody', async () => {
  await using wire = await openConnected(database)
  const { manager, proxy, recording } = wire
  const abort = new AbortController()
  const open = rejection(manager.query({ text: 'BEGIN', signal: abort.signal }))
  await until(() => recording.sent().some((message) => message.includes('ROLLBACK')), {
    what: 'the ROLLBACK',
  })
  abort.abort(new Error('too late'))
  const next = manager.query('SELECT 1 AS one')
  assert.deepEqual((await within(next, 'the next', 3_000)).rows, [{ one: 1 }])
  await open
  assert.equal(manager.stats.connects, 1)
  assert.equal(proxy.connections.length, 1)
})
