/** Opening the connection, losing it, and opening it again. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { text as readText } from 'node:stream/consumers'
import type { ManagedConnection } from 'pg-managed-connection'
import { AcquireTimeoutError, ConnectError } from 'pg-managed-connection'
import { openConnected, openProxied, type Proxied } from '../support/proxied.js'
import { startServer } from '../support/postgres.js'
import { leakTest, openSuite } from '../support/suite.js'
import { until, within } from '../support/wait.js'
import { openManager } from '../support/manager.js'

const { test, database } = await openSuite()
const { admin } = database
const serverTest = leakTest()

/** Cuts the connection and waits until the manager knows. */
async function cutSeen({ manager, proxy }: Proxied): Promise<void> {
  proxy.cut('reset')
  await until(() => manager.closed && proxy.connections.length === 0, { what: 'the manager to notice' })
}

async function timed<T>(promise: Promise<T>): Promise<{ outcome: PromiseSettledResult<T>; millis: number }> {
  const start = performance.now()
  const [outcome] = await within(Promise.allSettled([promise]), 'it to settle', 20_000)
  return { outcome, millis: performance.now() - start }
}

/** Ends what sleeps in the server: it does not notice that its client has gone. */
function wakeSleepers(): AsyncDisposable & { readonly text: string } {
  return {
    text: 'SELECT pg_sleep(60)',
    [Symbol.asyncDispose]: async () => {
      for (const { pid, query } of await admin.activity())
        if (query.includes('pg_sleep')) await admin.terminate(pid)
    },
  }
}

function reasonOf(outcome: PromiseSettledResult<unknown>): Error & { code?: string } {
  assert.equal(outcome.status, 'rejected')
  return outcome.reason as Error
}

/** Answers whoever connects to `port` with an error such as 57P03 and hangs up. */
async function refuseWith(port: number, sqlState: string): Promise<{ count: number } & AsyncDisposable> {
  const fields = `SFATAL\0VFATAL\0C${sqlState}\0Mnot now\0\0`
  const message = Buffer.alloc(5 + fields.length)
  message.write('E')
  message.writeInt32BE(4 + fields.length, 1)
  message.write(fields, 5, 'latin1')
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => {
      fake.count++
      socket.end(message)
    })
  })
  const dispose = async (): Promise<void> => {
    if (!server.listening) return
    server.close()
    await once(server, 'close')
  }
  const fake = { count: 0, [Symbol.asyncDispose]: dispose }
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return fake
}

test('many who ask at once share one opening', async () => {
  await using wire = await openProxied(database)
  const { manager, proxy } = wire
  await Promise.all([
    ...Array.from({ length: 20 }, () => manager.transaction((connection) => connection.query('SELECT 1'))),
    ...Array.from({ length: 20 }, () => manager.query('SELECT 2')),
    manager.batch(['SELECT 3']),
    manager.acquire().then((connection) => connection.release()),
  ])
  assert.equal(proxy.accepted, 1)
  await cutSeen(wire)
  await Promise.all(Array.from({ length: 20 }, () => manager.query('SELECT 4')))
  assert.equal(proxy.accepted, 2)
})

test('the very first connect fails at once, and everyone who waits gets a ConnectError of its own', async () => {
  await using wire = await openProxied(database)
  const { manager, proxy } = wire
  proxy.refuse()
  const asked = [
    manager.use(() => {}),
    manager.acquire(),
    manager.query('SELECT 1'),
    manager.batch(['SELECT 1']),
    manager.transaction(() => {}),
  ]
  const { outcome, millis } = await timed(Promise.allSettled(asked))
  assert.ok(millis < 2_000, `${millis} ms`)
  assert.equal(outcome.status, 'fulfilled')
  const reasons = outcome.value.map(reasonOf)
  for (const reason of reasons) {
    assert.ok(reason instanceof ConnectError)
    assert.equal(reason.retrySafe, true)
    assert.ok(reason.errors.length >= 1)
  }
  assert.equal(new Set(reasons).size, asked.length)
  await proxy.accept()
  await manager.query('SELECT 1')
})

for (const what of ['refuses', 'is deaf'] as const) {
  test(`a re-open rides out a proxy that ${what} for a while`, async () => {
    await using wire = await openConnected(database)
    const { manager, proxy } = wire
    await cutSeen(wire)
    if (what === 'refuses') proxy.refuse()
    else proxy.pause()
    const order: number[] = []
    const asked = [1, 2, 3].map((n) =>
      manager.transaction(async (connection) => {
        order.push(n)
        await connection.query('SELECT 1')
      }),
    )
    await sleep(600)
    assert.deepEqual(order, [])
    if (what === 'refuses') await proxy.accept()
    else proxy.resume()
    await within(Promise.all(asked), 'everybody')
    assert.deepEqual(order, [1, 2, 3])
  })

  test(`a re-open gives up after reconnectTimeoutMillis when the proxy ${what}, and tells everyone`, async () => {
    await using wire = await openConnected(database, { reconnectTimeoutMillis: 500 })
    const { manager, proxy } = wire
    await cutSeen(wire)
    if (what === 'refuses') proxy.refuse()
    else proxy.pause()
    const asked = [manager.query('SELECT 1'), manager.use(() => {}), manager.acquire()]
    const { outcome, millis } = await timed(Promise.allSettled(asked))
    assert.ok(outcome.status === 'fulfilled')
    const reasons = outcome.value.map(reasonOf)
    for (const reason of reasons) assert.ok(reason instanceof ConnectError, String(reason))
    assert.equal(new Set(reasons).size, 3)
    assert.ok(millis < 500 + 1_000, `${millis} ms`)
    if (what === 'refuses') await proxy.accept()
    else proxy.resume()
    await within(manager.query('SELECT 1'), 'the next')
  })
}

// The last ones are what PgBouncer and other poolers say while their server is away.
for (const sqlState of ['57P03', '53300', '57P01', '08P01', '08006', '08001']) {
  test(`a re-open rides out ${sqlState}`, async () => {
    await using wire = await openConnected(database)
    const { manager, proxy } = wire
    proxy.refuse()
    await cutSeen(wire)
    await using fake = await refuseWith(proxy.port, sqlState)
    const asked = manager.query('SELECT 1 AS one')
    await until(() => fake.count >= 2, { what: 'a second try' })
    await fake[Symbol.asyncDispose]()
    await proxy.accept()
    assert.deepEqual((await within(asked, 'the answer')).rows, [{ one: 1 }])
  })

  test(`the very first connect does not ride out ${sqlState}`, async () => {
    await using wire = await openProxied(database)
    const { manager, proxy } = wire
    proxy.refuse()
    await using fake = await refuseWith(proxy.port, sqlState)
    const { outcome, millis } = await timed(manager.query('SELECT 1'))
    const reason = reasonOf(outcome)
    assert.ok(reason instanceof ConnectError)
    assert.ok(millis < 2_000)
    assert.equal(fake.count, 1)
  })
}

test('what a failing onConnect says of other connections is not taken for a pooler without a server', async () => {
  let runs = 0
  await using wire = await openProxied(database, {
    onConnect: async (client) => {
      if (++runs === 1) return
      await client.query("DO $$ BEGIN RAISE 'no way to the other one' USING ERRCODE = '08001'; END $$")
    },
  })
  const { manager } = wire
  await manager.query('SELECT 1')
  await cutSeen(wire)
  await assert.rejects(within(manager.query('SELECT 1'), 'the refusal'), ConnectError)
  assert.equal(runs, 2)
})

for (const sqlState of ['28P01', '28000', '3D000', '42501']) {
  test(`a login refused with ${sqlState} fails at once, on a re-open too`, async () => {
    await using wire = await openConnected(database)
    const { manager, proxy } = wire
    proxy.refuse()
    await cutSeen(wire)
    await using fake = await refuseWith(proxy.port, sqlState)
    const { outcome, millis } = await timed(manager.query('SELECT 1'))
    assert.ok(reasonOf(outcome) instanceof ConnectError)
    assert.ok(millis < 2_000, `${millis} ms`)
    assert.equal(fake.count, 1)
    await fake[Symbol.asyncDispose]()
    await proxy.accept()
    await within(manager.query('SELECT 1'), 'the next')
  })
}

serverTest('work goes on over a crash and a restart of the server', { timeout: 90_000 }, async () => {
  await using server = await startServer()
  await using manager = openManager(server.tcpConninfo())
  await manager.query('CREATE TABLE counted (n int)')
  await manager.query('INSERT INTO counted VALUES (0)')
  let confirmed = 0
  let unknown = 0
  let over = false
  const worker = async (): Promise<void> => {
    while (!over) {
      try {
        await manager.transaction((connection) => connection.query('UPDATE counted SET n = n + 1'))
        confirmed++
      } catch (error) {
        const { code, commitOutcome } = error as { code?: string; commitOutcome?: string }
        assert.equal(code, 'ERR_CONNECTION_LOST', String(error))
        if (commitOutcome === 'unknown') unknown++
      }
      await sleep(1)
    }
  }
  const workers = Array.from({ length: 8 }, worker)
  const untilConfirmed = (): Promise<unknown> => {
    const before = confirmed
    return until(() => confirmed > before + 100, { what: 'the work to go on', timeoutMillis: 20_000 })
  }
  for (let i = 0; i < 2; i++) {
    await untilConfirmed()
    await server.restart('immediate')
  }
  await untilConfirmed()
  over = true
  await within(Promise.all(workers), 'the workers', 40_000)
  const { rows } = await manager.query<{ n: number }>('SELECT n FROM counted')
  const stored = rows[0]!.n
  assert.ok(
    stored >= confirmed && stored <= confirmed + unknown,
    `${confirmed} + ${unknown}, stored ${stored}`,
  )
  assert.ok(manager.stats.connects >= 3)
})

test('an idle connection’s death is noticed, told, and mended by the next use', async () => {
  await using manager = openManager(database.conninfo)
  const events: string[] = []
  let lost: Error | undefined
  manager.on('connect', ({ reconnected }) => events.push(`connect ${reconnected}`))
  manager.on('disconnect', (error) => {
    lost = error
    events.push('disconnect')
  })
  await manager.query('SELECT')
  const pid = manager.stats.processID
  await admin.terminate(pid ?? 0)
  await until(() => manager.closed, { what: 'the manager to notice' })
  assert.equal(manager.status, null)
  assert.equal((lost as { code?: string } | undefined)?.code, '57P01')
  const { rows } = await manager.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
  assert.notEqual(rows[0]!.pid, pid)
  assert.deepEqual(events, ['connect false', 'disconnect', 'connect true'])
})

test('an ask settles when the server kills the connection while it is being served', async () => {
  await using manager = openManager(database.conninfo)
  for (let i = 0; i < 10; i++) {
    const connection = await within(manager.acquire(), 'the turn')
    const pid = connection.processID
    const killed = pid === null ? null : admin.terminate(pid)
    const asked = Promise.allSettled([connection.query('SELECT 1'), connection.rollback()])
    await within(asked, 'the statement')
    const released = Promise.allSettled([connection.release()])
    await within(released, 'the release')
    await killed
  }
  // The last death may not be noticed yet: this is sent again then, as a one-shot would not be.
  await manager.transaction((connection) => connection.query('SELECT 1'))
})

test('onConnect runs on every connect before anyone gets the connection', async () => {
  let runs = 0
  await using manager = openManager(database.conninfo, {
    onConnect: async (client) => {
      runs++
      await sleep(30)
      await client.query(`SET app.name = 'number ${runs}'`)
    },
  })
  const read = async (): Promise<unknown> =>
    (await manager.query<{ name: string }>(`SELECT current_setting('app.name') AS name`)).rows[0]!.name
  assert.deepEqual(await Promise.all([read(), read()]), ['number 1', 'number 1'])
  await admin.terminate(manager.stats.processID ?? 0)
  // A one-shot that went out before the loss was seen could not be sent again.
  await until(() => manager.closed, { what: 'the loss to be seen' })
  assert.equal(await read(), 'number 2')
  assert.equal(runs, 2)
})

test('a failing onConnect is the waiters’ error, at once, on a re-open too; the next ask tries again', async () => {
  let fail = true
  const mine = new Error('not today')
  await using manager = openManager(database.conninfo, {
    onConnect: () => (fail ? Promise.reject(mine) : Promise.resolve()),
  })
  for (let round = 0; round < 2; round++) {
    fail = true
    const { outcome, millis } = await timed(
      Promise.allSettled([manager.query('SELECT 1'), manager.use(() => {})]),
    )
    assert.ok(outcome.status === 'fulfilled')
    const reasons = outcome.value.map(reasonOf)
    for (const reason of reasons) {
      assert.ok(reason instanceof ConnectError)
      assert.ok(reason.errors.includes(mine) || reason.cause === mine)
    }
    assert.notEqual(reasons[0], reasons[1])
    assert.ok(millis < 2_000)
    fail = false
    await within(manager.query('SELECT 1'), 'the next')
    await manager.close()
  }
  await until(async () => (await admin.backends()).length === 0, { what: 'the backends to go' })
})

test('an onConnect that throws at once, or leaves a transaction open, fails the connect', async () => {
  for (const onConnect of [
    () => {
      throw new Error('at once')
    },
    async (client: { query(text: string): Promise<unknown> }) => void (await client.query('BEGIN')),
    async (client: { query(text: string): Promise<unknown> }) => void (await client.query('SELECT 1/0')),
  ]) {
    await using manager = openManager(database.conninfo, { onConnect })
    await assert.rejects(manager.query('SELECT 1'), ConnectError)
    await assert.rejects(
      manager.use(() => {}),
      ConnectError,
    )
  }
})

test('a hanging onConnect costs a waiter no more than its time, and the lock is not lost', async () => {
  await using sleepers = wakeSleepers()
  let hang = true
  await using manager = openManager(database.conninfo, {
    onConnect: async (client) => void (await client.query(hang ? sleepers.text : 'SELECT 1')),
  })
  const { outcome, millis } = await timed(manager.acquire({ timeoutMillis: 200 }))
  assert.equal(reasonOf(outcome).code, 'ERR_ACQUIRE_TIMEOUT')
  assert.ok(millis < 1_200, `${millis} ms`)
  const abort = new AbortController()
  const aborted = timed(manager.query({ text: 'SELECT 1', signal: abort.signal }))
  setTimeout(() => abort.abort('enough'), 100)
  assert.equal((await aborted).outcome.status, 'rejected')
  hang = false
  await within(manager.query('SELECT 1'), 'the next')
})

test('a hanging onConnect of a re-open is bounded by reconnectTimeoutMillis', async () => {
  await using sleepers = wakeSleepers()
  let hang = false
  await using manager = openManager(database.conninfo, {
    reconnectTimeoutMillis: 500,
    onConnect: async (client) => void (await client.query(hang ? sleepers.text : 'SELECT 1')),
  })
  await manager.query('SELECT 1')
  await manager.close()
  hang = true
  const { outcome, millis } = await timed(manager.query('SELECT 1'))
  assert.ok(reasonOf(outcome) instanceof ConnectError, String(reasonOf(outcome)))
  assert.ok(millis < 2_000, `${millis} ms`)
  hang = false
  await within(manager.query('SELECT 1'), 'the next')
})

test('asking from onConnect rejects, also detached', async () => {
  const asks: Promise<unknown>[] = []
  await using manager: ManagedConnection = openManager(database.conninfo, {
    onConnect: async () => {
      asks.push(
        manager.query('SELECT 1'),
        manager.use(() => {}),
        manager.acquire({ detached: true }),
        manager.tryAcquire(),
      )
      await Promise.allSettled(asks)
    },
  })
  await within(manager.query('SELECT 1'), 'the one who asked first')
  assert.equal(asks.length, 4)
  for (const outcome of await Promise.allSettled(asks)) {
    assert.equal(reasonOf(outcome).code, 'ERR_REENTRANT_ACQUIRE')
  }
})

test('timeoutMillis and signal bound connecting, and a late success leaks nothing', async () => {
  await using wire = await openProxied(database)
  const { manager, proxy } = wire
  proxy.pause()
  const timedOut = await timed(manager.acquire({ timeoutMillis: 200 }))
  assert.equal(reasonOf(timedOut.outcome).code, 'ERR_ACQUIRE_TIMEOUT')
  assert.ok(timedOut.millis < 1_200)
  const aborted = await timed(manager.use(() => {}, { signal: AbortSignal.timeout(200) }))
  assert.equal(reasonOf(aborted.outcome).name, 'TimeoutError')
  assert.ok(aborted.millis < 1_200)
  proxy.resume()
  await until(() => proxy.connections.length === 0, { what: 'the abandoned connections to go' })
  assert.equal(manager.closed, true)
  await within(manager.query('SELECT 1'), 'the next')
})

test('a waiter who gives up while others wait leaves the opening to them', async () => {
  await using wire = await openProxied(database)
  const { manager, proxy } = wire
  proxy.pause()
  const impatient = timed(manager.acquire({ timeoutMillis: 100 }))
  const patient = manager.query('SELECT 1 AS one')
  assert.equal(reasonOf((await impatient).outcome).code, 'ERR_ACQUIRE_TIMEOUT')
  proxy.resume()
  assert.deepEqual((await within(patient, 'the patient one')).rows, [{ one: 1 }])
  assert.equal(proxy.accepted, 1)
})

test('a connection unused for validateAfterIdleMillis is checked before it is handed out, others are not', async () => {
  await using wire = await openConnected(database, { validateAfterIdleMillis: 200 })
  const { manager, recording } = wire
  await manager.query('SELECT 1')
  recording.clear()
  await manager.query('SELECT 2')
  assert.equal(recording.sent()[0], 'Parse SELECT 2')
  await sleep(300)
  recording.clear()
  await manager.use(async (connection) => {
    await connection.query('SELECT 3')
    await connection.rollback()
  })
  assert.equal(recording.sent()[0], 'Sync')
  assert.equal(manager.stats.connects, 1)
})

test(
  'a check that is not answered replaces the connection within some seconds',
  { timeout: 30_000 },
  async () => {
    await using wire = await openConnected(database, { validateAfterIdleMillis: 50 })
    const { manager, proxy } = wire
    await sleep(100)
    proxy.onChunk = (_direction, chunk, { id }) => (id === 1 ? null : chunk)
    const { outcome, millis } = await timed(manager.query('SELECT 1 AS one'))
    assert.equal(outcome.status, 'fulfilled')
    assert.ok(millis > 1_000 && millis < 7_000, `${millis} ms`)
    assert.equal(manager.stats.connects, 2)
  },
)

test('an unused connection is closed after idleTimeoutMillis, a used one is not', async () => {
  await using manager = openManager(database.conninfo, { idleTimeoutMillis: 200 })
  await manager.query('SELECT 1')
  for (let i = 0; i < 6; i++) {
    await sleep(70)
    await manager.query('SELECT 1')
  }
  await manager.use(async (connection) => {
    await sleep(500)
    await connection.query('SELECT 1')
    await connection.rollback()
  })
  await manager.query('SELECT pg_sleep(0.4)')
  assert.equal(manager.stats.connects, 1)
  await until(() => manager.closed, { what: 'the idle connection to be closed' })
  await until(async () => (await admin.backends()).length === 0, { what: 'its backend to go' })
  await manager.query('SELECT 1')
  assert.equal(manager.stats.connects, 2)
})

test('a server connection older than maxLifetimeMillis is replaced, but only between holders', async () => {
  await using manager = openManager(database.conninfo, { maxLifetimeMillis: 200 })
  const pidOf = async (): Promise<number> =>
    (await manager.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')).rows[0]!.pid
  const first = await pidOf()
  await manager.use(async (connection) => {
    for (let i = 0; i < 4; i++) {
      await sleep(100)
      const { rows } = await connection.query('SELECT pg_backend_pid() AS pid')
      assert.deepEqual(rows, [{ pid: first }])
      await connection.commit()
    }
  })
  assert.notEqual(await pidOf(), first)
  await until(async () => (await admin.backends()).length <= 1, { what: 'the old backend to go' })
})

test('work under load is served while the connection is replaced again and again', async () => {
  await admin.query('CREATE TABLE replaced (id int)')
  await using manager = openManager(database.conninfo, { maxLifetimeMillis: 20 })
  const ids = Array.from({ length: 200 }, (_, i) => i)
  await within(
    Promise.all(
      ids.map((id) =>
        id % 3 === 0
          ? manager.query('INSERT INTO replaced VALUES ($1)', [id])
          : manager.transaction(async (connection) => {
              await connection.query('INSERT INTO replaced VALUES ($1)', [id])
              if (id % 10 === 1) await sleep(5)
            }),
      ),
    ),
    'everybody',
    30_000,
  )
  assert.deepEqual(
    await admin.rows('SELECT count(*)::int AS n, count(DISTINCT id)::int AS d FROM replaced'),
    [{ n: 200, d: 200 }],
  )
  assert.ok(manager.stats.connects > 2)
})

test('closeOn: an error from the server that leaves use() closes the connection only with database-error', async () => {
  for (const { closeOn, connects } of [
    { closeOn: 'broken', connects: 1 },
    { closeOn: 'database-error', connects: 2 },
  ] as const) {
    await using manager = openManager(database.conninfo, { closeOn })
    await assert.rejects(
      manager.use((connection) => connection.query('SELECT 1/0')),
      { code: '22012' },
    )
    assert.equal(manager.closed, closeOn === 'database-error')
    await manager.use(async (connection) => {
      await assert.rejects(connection.query('SELECT 1/0'), { code: '22012' })
      await connection.rollback()
    })
    await assert.rejects(
      manager.use(async (connection) => {
        await connection.query('SELECT 1')
        throw new Error('the holder’s own')
      }),
    )
    await manager.query('SELECT 1')
    assert.equal(manager.stats.connects, connects)
  }
})

test('a connection that became read only is broken where a writable one was asked for', async () => {
  const write = (manager: ManagedConnection): Promise<unknown> =>
    manager.transaction((connection) => connection.query('CREATE TABLE never (id int)'))
  for (const wanted of ['any', 'read-write']) {
    await using manager = openManager(`${database.conninfo}&target_session_attrs=${wanted}`)
    await manager.query('SET default_transaction_read_only TO on')
    await assert.rejects(write(manager), { code: '25006' })
    await manager.query('SELECT 1')
    assert.equal(manager.stats.connects, wanted === 'any' ? 1 : 2)
  }
})

test('25006 of a transaction that was to be read only, or of a function’s own making, is no failover', async () => {
  await admin.query(`
    CREATE FUNCTION refuse() RETURNS int LANGUAGE plpgsql AS
      $$ BEGIN RAISE EXCEPTION 'mine' USING ERRCODE = '25006'; END $$`)
  for (const wanted of ['read-write', 'primary']) {
    await using manager = openManager(`${database.conninfo}&target_session_attrs=${wanted}`)
    const readOnly = manager.transaction((connection) => connection.query('CREATE TABLE never (id int)'), {
      accessMode: 'read only',
    })
    await assert.rejects(readOnly, { code: '25006' })
    await assert.rejects(manager.query('SELECT refuse()'), { code: '25006' })
    await manager.query('SELECT 1')
    assert.equal(manager.stats.connects, 1)
  }
})

test('close() closes after the present holder, those who wait are served on a new connection', async () => {
  await using manager = openManager(database.conninfo)
  const connection = await manager.acquire()
  await connection.query('SELECT 1')
  const closed = manager.close()
  const next = manager.query('SELECT 1 AS one')
  await sleep(50)
  assert.equal(manager.closed, false)
  await connection.rollback()
  await connection.release()
  await within(closed, 'the closing')
  assert.deepEqual((await within(next, 'the next')).rows, [{ one: 1 }])
  assert.equal(manager.stats.connects, 2)
  await manager.close()
  assert.equal(manager.closed, true)
  await manager.close()
})

test('when COMMIT and everything after it fails, the next in line is still served', async () => {
  await using wire = await openConnected(database)
  const { manager, proxy } = wire
  for (const how of ['reset', 'fin'] as const) {
    const work = manager.use(async (connection) => {
      await connection.query('SELECT 1')
      proxy.cut(how)
      await connection.commit().catch(() => connection.rollback())
    })
    const next = manager.query('SELECT 1 AS one')
    await assert.rejects(within(work, 'the holder'))
    assert.deepEqual((await within(next, 'the next')).rows, [{ one: 1 }])
  }
})

test('end() during an opening that hangs ends in its time', async () => {
  const proxied = await openProxied(database)
  proxied.proxy.pause()
  const asked = timed(proxied.manager.query('SELECT 1'))
  await sleep(50)
  const { millis } = await timed(proxied.manager.end({ timeoutMillis: 300 }))
  assert.ok(millis < 1_300, `${millis} ms`)
  assert.equal(reasonOf((await asked).outcome).code, 'ERR_MANAGER_ENDED')
  proxied.proxy.close()
})

/** Runs a script that uses the package, from this folder so that it finds it. */
async function runScript(body: string): Promise<{ code: number | null; output: string }> {
  const script = `
    const { ManagedConnection } = await import(${JSON.stringify(import.meta.resolve('pg-managed-connection'))})
    ${body}`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const output = readText(child.stdout)
  const exited = once(child, 'exit') as Promise<[number | null]>
  const timer = setTimeout(() => child.kill('SIGKILL'), 6_000)
  const [code] = await exited
  clearTimeout(timer)
  return { code, output: await output }
}

const SCRIPT = (options: string): string => `
  const manager = new ManagedConnection(${JSON.stringify(database.conninfo)}, ${options})
  await manager.use(async (connection) => {
    await connection.query({ text: 'SELECT 1', timeoutMillis: 30_000 })
    await connection.commit()
  })
  console.log('done')`

test('a script that forgets end() still exits', async () => {
  for (const options of [
    '{}',
    '{ idleTimeoutMillis: 60_000, holdWarningMillis: 60_000, maxHoldMillis: 60_000 }',
  ]) {
    const { code, output } = await runScript(SCRIPT(options))
    assert.equal(output.trim(), 'done')
    assert.equal(code, 0)
  }
})

test('with allowExitOnIdle: false an idle connection keeps the process alive', async () => {
  const { code, output } = await runScript(
    `${SCRIPT('{ allowExitOnIdle: false }')}; setTimeout(() => { console.log('alive'); process.exit(3) }, 700).unref()`,
  )
  assert.equal(output.trim(), 'done\nalive')
  assert.equal(code, 3)
})

test('a statement that runs keeps the process alive until it is answered', async () => {
  const { code, output } = await runScript(`
    const manager = new ManagedConnection(${JSON.stringify(database.conninfo)})
    await manager.query('SELECT 1')
    await new Promise((resolve) => setTimeout(resolve, 100))
    manager.query('SELECT pg_sleep(0.5)').then(() => console.log('answered'))`)
  assert.equal(output.trim(), 'answered')
  assert.equal(code, 0)
})

test('a subscription does not keep those who wait from hearing that the server is gone', async () => {
  await using wire = await openConnected(database, { reconnectTimeoutMillis: 100 })
  const { manager, proxy } = wire
  const errors: Error[] = []
  manager.on('error', (error) => void errors.push(error))
  const subscription = await manager.listen('a')
  proxy.refuse()
  await cutSeen(wire)
  for (let i = 0; i < 3; i++) {
    const { outcome } = await timed(manager.query('SELECT 1'))
    assert.ok(reasonOf(outcome) instanceof ConnectError, String(reasonOf(outcome)))
  }
  await until(() => errors.length > 0, { what: 'the error event' })
  await subscription[Symbol.asyncDispose]()
  await new Promise((resolve) => setTimeout(resolve, 300))
  assert.ok(errors.every((error) => error instanceof ConnectError))
  await proxy.accept()
})

test('a connection that somebody listens on is checked when it was idle for long, too', async () => {
  await using wire = await openConnected(database, { validateAfterIdleMillis: 50 })
  const { manager, proxy, recording } = wire
  await using _subscription = await manager.listen('a')
  await sleep(150)
  recording.clear()
  await manager.query('SELECT 1')
  assert.equal(recording.sent()[0], 'Sync')
  assert.ok(proxy.connections.length === 1)
})

test('an onConnect that fails on a connection that is well is not run again, whatever its error looks like', async () => {
  let runs = 0
  let fail = false
  await using wire = await openConnected(database, {
    reconnectTimeoutMillis: 2_000,
    onConnect: () => {
      runs++
      if (fail) throw Object.assign(new Error('the vault is away'), { code: 'ECONNREFUSED' })
    },
  })
  fail = true
  await cutSeen(wire)
  const { outcome } = await timed(wire.manager.query('SELECT 1'))
  const error = reasonOf(outcome)
  assert.ok(error instanceof ConnectError)
  assert.match(error.message, /the vault is away/)
  assert.equal(runs, 2)
})

test('an opening that is given up for a moment’s lack of listeners is nobody’s error', async () => {
  await using wire = await openConnected(database)
  const { manager, proxy } = wire
  const errors: Error[] = []
  manager.on('error', (error) => void errors.push(error))
  const first = await manager.listen('a')
  proxy.refuse()
  await cutSeen(wire)
  await sleep(50)
  const gone = first[Symbol.asyncDispose]()
  const second = manager.listen('a')
  await gone
  await proxy.accept()
  await using _subscription = await within(second, 'the second')
  assert.deepEqual(errors, [])
})

test('while it tries to connect again, everybody is told why that has failed so far', async () => {
  await using wire = await openConnected(database, { acquireTimeoutMillis: 600 })
  const { manager, proxy } = wire
  const told: Error[] = []
  manager.on('connectError', (error) => told.push(error))
  proxy.refuse()
  await cutSeen(wire)
  const asked = await Promise.allSettled([manager.query('SELECT 1'), manager.use(() => {})])
  for (const outcome of asked) {
    const error = reasonOf(outcome)
    assert.ok(error instanceof AcquireTimeoutError, String(error))
    assert.match(error.message, /still connecting; so far: .*Connection refused/)
    assert.ok(error.cause instanceof ConnectError)
  }
  assert.equal(told.length, 1, 'by the first attempt, and once')
  const error = reasonOf((await Promise.allSettled([manager.connect({ timeoutMillis: 600 })]))[0])
  assert.ok(error instanceof ConnectError)
  assert.match(error.message, /Connection refused/)
  assert.equal(error.errors.length, 1)
  await proxy.accept()
  await manager.connect({ timeoutMillis: 10_000 })
})
