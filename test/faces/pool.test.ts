/** The pool face: pg.Pool's rules on one shared connection, and what pg does not do. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import QueryStream from 'pg-query-stream'
import {
  AcquireTimeoutError,
  ConnectionReleasedError,
  ManagedConnection,
  ReentrantAcquireError,
  UncommittedTransactionError,
  type ManagedConnectionOptions,
} from 'pg-managed-connection'
import { asPool, type LeakEvent, type PoolFaceOptions } from 'pg-managed-connection/pool'
import { copy, Cursor } from '../support/submittables.js'
import { openPooled, type PooledManager } from '../support/pooled-manager.js'
import { openSuite } from '../support/suite.js'
import { until, within } from '../support/wait.js'

const { test, database } = await openSuite()
const { admin } = database

const open = (options?: ManagedConnectionOptions, poolOptions?: PoolFaceOptions): PooledManager =>
  openPooled(database.conninfo, options, poolOptions)

/** Takes the process's warnings away from the leak check, and gives those that came. */
async function warningsOf(work: () => Promise<void>): Promise<Error[]> {
  const found: Error[] = []
  const others = process.rawListeners('warning')
  process.removeAllListeners('warning')
  process.on('warning', (warning) => found.push(warning))
  try {
    await work()
    await sleep(5)
  } finally {
    process.removeAllListeners('warning')
    for (const listener of others) process.on('warning', listener as (warning: Error) => void)
  }
  return found
}

// ---- the types

/** Code that was written for pg. */
async function writtenForPg(pool: pg.Pool): Promise<number> {
  const client: pg.PoolClient = await pool.connect()
  try {
    await client.query('BEGIN')
    const { rows } = await client.query<{ n: number }>('SELECT $1::int AS n', [4])
    await client.query('COMMIT')
    return rows[0]!.n
  } catch (error) {
    await client.query('ROLLBACK')
    throw error
  } finally {
    client.release()
  }
}

test('code that was written for a pg.Pool takes it, in types too', async () => {
  await using it = open()
  assert.equal(await writtenForPg(it.pool), 4)
  const { rows } = await it.pool.query<{ one: number }>('SELECT 1 AS one')
  const one: number = rows[0]!.one
  assert.equal(one, 1)
  const arrays = await it.pool.query<[number]>({ text: 'SELECT 2', rowMode: 'array' })
  assert.deepEqual(arrays.rows, [[2]])
  it.pool.on('error', (error: Error, client: pg.PoolClient) => void [error, client])
  it.pool.on('leak', ({ statement }: LeakEvent) => void statement)
})

test('its class is called a pool, which some libraries ask for', async () => {
  await using it = open()
  assert.match(Object.getPrototypeOf(it.pool).constructor.name, /Pool/)
})

test('a wrong option and what is no manager are refused by name', () => {
  const manager = new ManagedConnection(database.conninfo)
  for (const [options, message] of [
    [{ endsManager: true }, /unknown option "endsManager"; did you mean "endManager"/],
    [{ max: 10 }, /"max"; it is an option of a pool, and here is one connection/],
    [{ maxHoldMillis: 10 }, /"maxHoldMillis"; it is an option of the manager/],
    [{ strict: 'yes' as unknown as boolean }, /strict must be a boolean/],
    [{ endTimeoutMillis: -1 }, /endTimeoutMillis must be/],
  ] as const) {
    // The types refuse most of these, too.
    assert.throws(() => asPool(manager, options as PoolFaceOptions), message)
  }
  // @ts-expect-error: the types say so, too
  assert.throws(() => asPool({}), /takes a manager/)
})

// ---- query

test('pool.query() answers promises, callbacks and config objects as pg does', async () => {
  await using it = open()
  const { pool } = it
  assert.deepEqual((await pool.query('SELECT $1::text AS t', ['x'])).rows, [{ t: 'x' }])
  assert.deepEqual((await pool.query({ text: 'SELECT $1::int AS n', values: [3] })).rows, [{ n: 3 }])
  const called = (ask: (callback: (error: Error, result: pg.QueryResult) => void) => void) =>
    within(
      new Promise<unknown>((resolve, reject) =>
        ask((error, result) => (error ? reject(error) : resolve(result.rows))),
      ),
      'the callback',
    )
  assert.deepEqual(await called((callback) => pool.query('SELECT 5 AS n', callback)), [{ n: 5 }])
  assert.deepEqual(await called((callback) => pool.query('SELECT $1::int AS n', [6], callback)), [{ n: 6 }])
  assert.deepEqual(await called((callback) => pool.query({ text: 'SELECT 7 AS n' }, callback)), [{ n: 7 }])
  const inConfig = (callback: unknown): void => void pool.query({ text: 'SELECT 8 AS n', callback } as never)
  assert.deepEqual(await called(inConfig), [{ n: 8 }])
  await assert.rejects(
    called((callback) => pool.query('SELECT nothing', callback)),
    { code: '42703' },
  )
  await assert.rejects(pool.query('SELECT 1/0'), { code: '22012' })
  await assert.rejects(
    called((callback) => pool.query(callback as never)),
    /function as the first parameter/,
  )
})

test('what a callback throws is an uncaught exception, and harms nobody', async () => {
  await using it = open()
  const uncaught = new Promise<unknown>((resolve) => process.setUncaughtExceptionCaptureCallback(resolve))
  try {
    it.pool.query('SELECT 1', () => {
      throw new Error('from a callback')
    })
    assert.match(String(await within(uncaught, 'the exception')), /from a callback/)
  } finally {
    process.setUncaughtExceptionCaptureCallback(null)
  }
  await it.pool.query('SELECT 1')
})

test('a BEGIN by pool.query() is refused with a clear error, where pg leaks it into another client', async () => {
  await using it = open()
  for (const ofItsOwn of [false, true]) {
    if (ofItsOwn) it.pool.on('acquire', () => {})
    await assert.rejects(it.pool.query('BEGIN'), UncommittedTransactionError)
    await it.pool.query('SELECT 1')
    assert.equal(it.manager.status, 'idle')
  }
})

test('a transaction in one text that fails gives the statement’s own error, and is rolled back', async () => {
  await using it = open()
  for (const ofItsOwn of [false, true]) {
    if (ofItsOwn) it.pool.on('acquire', () => {})
    const failing = it.pool.query('BEGIN; CREATE TABLE never (); SELECT 1/0; COMMIT')
    const next = it.pool.query("SELECT to_regclass('never') AS found")
    await assert.rejects(failing, { code: '22012' })
    assert.deepEqual((await next).rows, [{ found: null }])
  }
  const results = await it.pool.query('BEGIN; SELECT 1 AS n; COMMIT')
  assert.deepEqual(
    (results as unknown as pg.QueryResult[]).map(({ command }) => command),
    ['BEGIN', 'SELECT', 'COMMIT'],
  )
})

test('queries of the pool are pipelined, in their order', async () => {
  await using it = open()
  const results = await Promise.all(
    Array.from({ length: 100 }, (_, n) => it.pool.query('SELECT $1::int AS n', [n])),
  )
  assert.deepEqual(
    results.map(({ rows }) => (rows[0] as { n: number }).n),
    Array.from({ length: 100 }, (_, n) => n),
  )
  assert.equal(it.manager.stats.connects, 1)
})

test('submittables handed to pool.query() run on a client of their own', { needs: ['copy in'] }, async () => {
  await using it = open()
  const { pool } = it
  await admin.query('CREATE TABLE pool_copied (n int)')
  const cursor = pool.query(new Cursor<{ n: number }>('SELECT generate_series(1, 9) AS n'))
  assert.equal((await within(cursor.read(4), 'the cursor')).length, 4)
  await cursor.close()
  let sum = 0
  for await (const row of pool.query(new QueryStream('SELECT generate_series(1, 100) AS n'))) {
    sum += (row as { n: number }).n
  }
  assert.equal(sum, 5050)
  await pipeline(Readable.from(['1\n2\n']), pool.query(copy.from('COPY pool_copied FROM STDIN')))
  assert.equal(await text(pool.query(copy.to('COPY pool_copied TO STDOUT'))), '1\n2\n')
  const query = pool.query(new pg.Query<{ n: number }>('SELECT 3 AS n'))
  const [row] = (await within(once(query, 'row'), 'a row')) as [unknown]
  assert.deepEqual(row, { n: 3 })
  await assert.rejects(within(pool.query(new Cursor('SELECT nothing')).read(1), 'the error'), {
    code: '42703',
  })
  const destroyed = pool.query(new QueryStream('SELECT 1'))
  destroyed.destroy()
  await within(pool.query('SELECT 1'), 'the next')
})

test('a submittable that gets no connection is told so', async () => {
  await using it = open({ acquireTimeoutMillis: 500 })
  const client = await it.pool.connect()
  const told = it.pool.query(new Cursor('SELECT 1')).read(1)
  await assert.rejects(within(told, 'the error'), AcquireTimeoutError)
  client.release()
})

// ---- connect and release

test('connect() gives a client to promises and to callbacks', async () => {
  await using it = open()
  const client = await it.pool.connect()
  assert.deepEqual((await client.query('SELECT 1 AS n')).rows, [{ n: 1 }])
  const { release } = client
  release()
  const rows = await within(
    new Promise((resolve, reject) => {
      it.pool.connect((error, other, done) => {
        if (error !== undefined || other === undefined) return reject(error)
        other.query('SELECT $1::int AS n', [2], (failure, result) => {
          done()
          if (failure) reject(failure)
          else resolve(result.rows)
        })
      })
    }),
    'the callback',
  )
  assert.deepEqual(rows, [{ n: 2 }])
})

test('a connect() that fails tells its callback', async () => {
  const manager = new ManagedConnection('postgres://127.0.0.1:1/nowhere')
  const pool = asPool(manager)
  const [error, client, done] = await new Promise<unknown[]>((resolve) =>
    pool.connect((...given) => resolve(given)),
  )
  assert.equal((error as { code?: unknown }).code, 'ECONNREFUSED')
  assert.equal(client, undefined)
  ;(done as () => void)()
  await assert.rejects(pool.connect(), { name: 'ConnectError', code: 'ECONNREFUSED' })
  await assert.rejects(pool.query('SELECT 1'), { name: 'ConnectError', code: 'ECONNREFUSED' })
  assert.equal(pool.totalCount, 0)
  await pool.end()
})

test('one client at a time, in the order of asking, beside holders of the manager itself', async () => {
  await using it = open()
  const seen: number[] = []
  const borrow = async (n: number): Promise<void> => {
    const client = await it.pool.connect()
    seen.push(n)
    await client.query('SELECT pg_sleep(0.001)')
    client.release()
  }
  const tasks = Array.from({ length: 40 }, (_, n) =>
    n % 4 === 3 ? it.manager.transaction(() => void seen.push(n)) : borrow(n),
  )
  await within(Promise.all(tasks), 'everybody')
  assert.deepEqual(
    seen,
    Array.from({ length: 40 }, (_, n) => n),
  )
})

test('autocommit: each statement stands for itself until a BEGIN', { needs: ['sessions'] }, async () => {
  await using it = open()
  await admin.query('CREATE TABLE auto (n int)')
  const client = await it.pool.connect()
  await client.query('INSERT INTO auto VALUES (1)')
  assert.equal((await admin.rows('SELECT * FROM auto')).length, 1)
  await client.query('BEGIN')
  await client.query('INSERT INTO auto VALUES (2)')
  assert.equal((await admin.rows('SELECT * FROM auto')).length, 1)
  await client.query('COMMIT')
  client.release()
  assert.equal((await admin.rows('SELECT * FROM auto')).length, 2)
})

test('a second release() throws pg’s own error, and takes nobody’s turn away', async () => {
  await using it = open()
  const first = await it.pool.connect()
  first.release()
  const second = await it.pool.connect()
  assert.throws(
    () => first.release(),
    /^Error: Release called on client which has already been released to the pool\.$/,
  )
  assert.deepEqual((await second.query('SELECT 1 AS n')).rows, [{ n: 1 }])
  second.release()
})

test('a client used after its release rejects, and reaches nobody', async () => {
  await using it = open()
  const kept = await it.pool.connect()
  kept.release()
  const next = await it.pool.connect()
  await next.query('BEGIN')
  await assert.rejects(kept.query('ROLLBACK'), ConnectionReleasedError)
  const called = new Promise((_, reject) => kept.query('SELECT 1', (error) => reject(error)))
  await assert.rejects(within(called, 'the callback'), ConnectionReleasedError)
  await assert.rejects(kept.query(new Cursor('SELECT 1')).read(1), ConnectionReleasedError)
  assert.equal(next.getTransactionStatus(), 'T')
  await next.query('ROLLBACK')
  next.release()
})

test(
  'release(error) drops the connection, with a transaction open or not',
  { needs: ['backends'] },
  async () => {
    await using it = open()
    for (const given of [new Error('mine'), true]) {
      const client = await it.pool.connect()
      const { rows } = await client.query('SELECT pg_backend_pid() AS pid')
      const { pid } = rows[0] as { pid: number }
      if (given === true) await client.query('BEGIN')
      const waiting = it.pool.query('SELECT pg_backend_pid() AS pid')
      client.release(given)
      assert.notEqual(((await waiting).rows[0] as { pid: number }).pid, pid)
      assert.ok(!(await admin.backends()).includes(pid))
    }
  },
)

test(
  'release(error) while a query runs cancels it after the grace, and the next is served',
  { needs: ['cancel'] },
  async () => {
    await using it = open({ releaseGraceMillis: 50 })
    const client = await it.pool.connect()
    const running = client.query('SELECT pg_sleep(60)')
    client.release(true)
    await assert.rejects(within(running, 'the query'))
    await within(it.pool.query('SELECT 1'), 'the next')
  },
)

test(
  'a client that was taken back is told so, and its late release(error) drops nobody’s connection',
  { needs: ['cancel'] },
  async () => {
    await using it = open({ maxHoldMillis: 50 })
    const client = await it.pool.connect()
    await client.query('BEGIN')
    await assert.rejects(client.query('SELECT pg_sleep(60)'), { code: 'ERR_HOLD_TIMEOUT' })
    await assert.rejects(client.query('SELECT 1'), { code: 'ERR_HOLD_TIMEOUT' })
    await it.pool.query('SELECT 1')
    const { connects } = it.manager.stats
    client.release(true)
    await it.pool.query('SELECT 1')
    assert.equal(it.manager.stats.connects, connects)
  },
)

test(
  'end() of a client drops its connection, and its release() is no error then',
  { needs: ['backends'] },
  async () => {
    await using it = open()
    const client = await it.pool.connect()
    const pid = (client as unknown as { processID: number }).processID
    await client.end()
    client.release()
    assert.throws(() => client.release(), /already been released/)
    await assert.rejects(client.query('SELECT 1'), ConnectionReleasedError)
    await it.pool.query('SELECT 1')
    assert.ok(!(await admin.backends()).includes(pid))
  },
)

test('connect() of a client is refused in pg’s words', async () => {
  await using it = open()
  const client = await it.pool.connect()
  await assert.rejects(client.connect(), /already been connected/)
  client.release()
})

// ---- leaks

test('a client released in a transaction is rolled back before the next, and the leak is reported', async () => {
  await using it = open()
  await admin.query('CREATE TABLE leaked (n int)')
  const leaks: LeakEvent[] = []
  it.pool.on('leak', (leak) => leaks.push(leak))
  let client!: pg.PoolClient
  const warnings = await warningsOf(async () => {
    client = await it.pool.connect()
    await client.query('BEGIN ISOLATION LEVEL SERIALIZABLE')
    await client.query('INSERT INTO leaked VALUES (1)')
    const next = it.pool.connect()
    client.release()
    const other = await within(next, 'the next')
    assert.equal(other.getTransactionStatus(), 'I')
    assert.deepEqual((await other.query('SELECT * FROM leaked')).rows, [])
    other.release()
  })
  assert.equal(leaks.length, 1)
  assert.equal(leaks[0]!.statement, 'BEGIN ISOLATION LEVEL SERIALIZABLE')
  assert.equal(leaks[0]!.lastStatement, 'INSERT INTO leaked VALUES (1)')
  assert.ok(leaks[0]!.error instanceof UncommittedTransactionError)
  assert.equal(leaks[0]!.client, client)
  assert.equal(warnings.length, 1)
  assert.equal(warnings[0]!.name, 'UncommittedTransactionWarning')
  assert.match(
    warnings[0]!.message,
    /opened by: BEGIN ISOLATION LEVEL SERIALIZABLE; last statement: INSERT INTO leaked/,
  )
})

test('a client released in a failed transaction is a leak, too', async () => {
  await using it = open({}, { strict: true })
  const told = once(it.pool, 'error')
  const client = await it.pool.connect()
  await client.query('BEGIN')
  await assert.rejects(client.query('SELECT 1/0'))
  assert.equal(client.getTransactionStatus(), 'E')
  client.release()
  const [error] = (await within(told, 'the error')) as [UncommittedTransactionError]
  assert.equal((error.cause as { code?: unknown }).code, '22012')
  assert.deepEqual((await it.pool.query('SELECT 1 AS n')).rows, [{ n: 1 }])
})

test('strict makes the leak an error event, and no warning', async () => {
  await using it = open({}, { strict: true })
  const told = once(it.pool, 'error')
  const client = await it.pool.connect()
  await client.query('BEGIN')
  client.release()
  const [error, teller] = (await within(told, 'the error')) as [UncommittedTransactionError, unknown]
  assert.ok(error instanceof UncommittedTransactionError)
  assert.equal(error.statement, 'BEGIN')
  assert.equal(teller, client)
})

test('strict without a listener is an uncaught exception, as with any emitter', async () => {
  await using it = open({}, { strict: true })
  const uncaught = new Promise<unknown>((resolve) => process.setUncaughtExceptionCaptureCallback(resolve))
  try {
    const client = await it.pool.connect()
    await client.query('BEGIN')
    client.release()
    assert.ok((await within(uncaught, 'the exception')) instanceof UncommittedTransactionError)
  } finally {
    process.setUncaughtExceptionCaptureCallback(null)
  }
})

test('queries not awaited before release() run to their end, as in pg, and are no leak', async () => {
  await using it = open()
  await admin.query('CREATE TABLE sloppy (n int)')
  const client = await it.pool.connect()
  await client.query('BEGIN')
  await client.query('INSERT INTO sloppy VALUES (1)')
  const late = client.query('COMMIT')
  client.release()
  await it.pool.query('SELECT 1')
  assert.equal((await late).command, 'COMMIT')
  assert.equal((await admin.rows('SELECT * FROM sloppy')).length, 1)
})

test('queries not awaited that leave a transaction open are one', async () => {
  await using it = open()
  const warnings = await warningsOf(async () => {
    const client = await it.pool.connect()
    const late = client.query('BEGIN')
    client.release()
    await it.pool.query('SELECT 1')
    await late
    await it.pool.end()
  })
  assert.equal(warnings.length, 1)
  assert.equal(it.manager.status, 'idle')
})

// ---- the client

test('the client knows its transaction status from the server', async () => {
  await using it = open()
  const client = await it.pool.connect()
  assert.equal(client.getTransactionStatus(), 'I')
  const running = client.query('BEGIN')
  assert.equal(client.getTransactionStatus(), null)
  await running
  assert.equal(client.getTransactionStatus(), 'T')
  await client.query('SELECT nothing').catch(() => assert.equal(client.getTransactionStatus(), 'E'))
  await client.query('ROLLBACK')
  client.release()
  assert.equal(client.getTransactionStatus(), null)
})

test('the client escapes as pg does', async () => {
  await using it = open()
  const client = await it.pool.connect()
  for (const given of ['plain', "it's", '"quoted"', 'back\\slash', '\\\'"', '', 'ünï']) {
    assert.equal(client.escapeIdentifier(given), pg.escapeIdentifier(given))
    assert.equal(client.escapeLiteral(given), pg.escapeLiteral(given))
  }
  assert.equal(client.escapeLiteral(null as never), pg.escapeLiteral(null as never))
  client.release()
})

test('the client’s own type parsers are refused with what to do in their place', async () => {
  await using it = open()
  const client = await it.pool.connect()
  assert.throws(() => client.setTypeParser(20, Number), /give `types` with the query/)
  assert.throws(() => client.getTypeParser(20), /give `types` with the query/)
  client.release()
})

test('submittables run on the client, inside its transaction', async () => {
  await using it = open()
  const client = await it.pool.connect()
  await client.query('BEGIN')
  const cursor = client.query(new Cursor('SELECT generate_series(1, 10) AS n'))
  assert.equal((await cursor.read(3)).length, 3)
  await cursor.close()
  assert.equal(client.getTransactionStatus(), 'T')
  const result = await new Promise<pg.QueryResult>((resolve, reject) => {
    client.query(
      new pg.Query('SELECT 4 AS n', (error, given) =>
        error === undefined || error === null ? resolve(given) : reject(error),
      ),
    )
  })
  assert.deepEqual(result.rows, [{ n: 4 }])
  await client.query('COMMIT')
  client.release()
})

test('the client hears notices', async () => {
  await using it = open()
  const client = await it.pool.connect()
  const heard: unknown[] = []
  client.on('notice', ({ message }) => heard.push(message))
  await client.query("DO $$ BEGIN RAISE NOTICE 'look'; END $$")
  client.release()
  assert.deepEqual(heard, ['look'])
})

test('a client that listens hears notifications while it is out, and none after', async () => {
  await using it = open()
  const client = await it.pool.connect()
  const heard: string[] = []
  client.on('notification', ({ channel, payload, processId }) =>
    heard.push(`${channel} ${payload} ${processId > 0}`),
  )
  await client.query('LISTEN one; LISTEN two')
  await admin.query("SELECT pg_notify('one', 'a')")
  await until(() => heard.length === 1, { what: 'the notification' })
  await client.query("NOTIFY two, 'b'")
  await until(() => heard.length === 2, { what: 'the other' })
  client.release()
  await it.pool.query("NOTIFY one, 'c'")
  assert.deepEqual(heard, ['one a true', 'two b true'])
})

test('with refuseListen LISTEN is refused at once, in every form', async () => {
  await using it = open({}, { refuseListen: true })
  const client = await it.pool.connect()
  await assert.rejects(client.query('LISTEN one'), /refuseListen/)
  const called = new Promise((_, reject) => client.query(' listen "two"', (error) => reject(error)))
  await assert.rejects(within(called, 'the callback'), /refuseListen/)
  await client.query('SELECT 1')
  client.release()
})

// ---- losing the connection

test('a client whose connection dies is told, and the next one works', { needs: ['kill'] }, async () => {
  await using it = open()
  const client = await it.pool.connect()
  const errors: Error[] = []
  const removed: unknown[] = []
  client.on('error', (error) => errors.push(error))
  const ended = new Promise<void>((resolve) => client.on('end', resolve))
  it.pool.on('remove', (given) => removed.push(given))
  await client.query('BEGIN')
  await admin.terminate((client as unknown as { processID: number }).processID)
  await within(ended, 'the end')
  assert.equal(errors.length, 1)
  assert.deepEqual(removed, [client])
  assert.equal(client.getTransactionStatus(), null)
  await assert.rejects(client.query('SELECT 1'), { name: 'ConnectionLostError', code: '57P01' })
  client.release(errors[0])
  await it.pool.query('SELECT 1')
})

test(
  'an idle connection that dies harms nobody, and is an error event where somebody listens',
  { needs: ['kill'] },
  async () => {
    await using it = open()
    const lose = async (): Promise<void> => {
      const client = await it.pool.connect()
      const pid = (client as unknown as { processID: number }).processID
      client.release()
      await admin.terminate(pid)
      await until(() => it.manager.closed, { what: 'the loss to be noticed' })
    }
    await lose()
    const errors: unknown[] = []
    it.pool.on('error', (error) => errors.push((error as { code?: unknown }).code))
    await lose()
    assert.deepEqual(errors, ['57P01'])
    await it.pool.query('SELECT 1')
  },
)

// ---- events and counts

test('events come in pg’s order and with the client', async () => {
  await using it = open()
  const heard: unknown[] = []
  for (const event of ['connect', 'acquire', 'remove'] as const) {
    it.pool.on(event, (client) => heard.push([event, client]))
  }
  it.pool.on('release', (error, client) => heard.push(['release', error, client]))
  const first = await it.pool.connect()
  first.release()
  const second = await it.pool.connect()
  const error = new Error('mine')
  second.release(error)
  await until(() => heard.length === 6, { what: 'the connection to be dropped' })
  assert.deepEqual(heard, [
    ['connect', first],
    ['acquire', first],
    ['release', undefined, first],
    ['acquire', second],
    ['release', error, second],
    ['remove', second],
  ])
})

test(
  'events come as pg.Pool’s own come, for clients and for queries of the pool',
  { needs: ['sessions'] },
  async () => {
    const heardOf = async (pool: pg.Pool): Promise<string[]> => {
      const heard: string[] = []
      for (const event of ['connect', 'acquire', 'remove'] as const) pool.on(event, () => heard.push(event))
      pool.on('release', (error) => heard.push(`release ${error?.message ?? 'well'}`))
      await pool.query('SELECT 1')
      const client = await pool.connect()
      await client.query('SELECT 1')
      client.release(new Error('mine'))
      await until(() => heard.includes('remove'), { what: 'the removal' })
      await pool.query('SELECT 1')
      return [...heard]
    }
    await using it = open()
    const theirs = new pg.Pool({ connectionString: database.conninfo, max: 1 })
    try {
      assert.deepEqual(await heardOf(it.pool), await heardOf(theirs))
    } finally {
      await theirs.end()
    }
  },
)

test('a listener of connect sets up each server connection before anyone uses it, queries of the pool included', async () => {
  await using it = open()
  it.pool.on('connect', (client) => void client.query("SET application_name = 'set up'"))
  const shown = async (): Promise<unknown> => (await it.pool.query('SHOW application_name')).rows
  assert.deepEqual(await Promise.all([shown(), shown()]), Array(2).fill([{ application_name: 'set up' }]))
  const client = await it.pool.connect()
  client.release(true)
  assert.deepEqual(await shown(), [{ application_name: 'set up' }])
})

test('a listener that throws disturbs no client', async () => {
  await using it = open()
  const uncaught = new Promise<unknown>((resolve) => process.setUncaughtExceptionCaptureCallback(resolve))
  it.pool.on('acquire', () => {
    throw new Error('from a listener')
  })
  try {
    const client = await within(it.pool.connect(), 'the client')
    assert.match(String(await within(uncaught, 'the exception')), /from a listener/)
    client.release()
  } finally {
    process.setUncaughtExceptionCaptureCallback(null)
  }
})

test('the counts say what is', async () => {
  await using it = open()
  const counts = (): number[] => {
    const { totalCount, idleCount, waitingCount, expiredCount } = it.pool
    return [totalCount, idleCount, waitingCount, expiredCount]
  }
  assert.deepEqual(counts(), [0, 0, 0, 0])
  const client = await it.pool.connect()
  assert.deepEqual(counts(), [1, 0, 0, 0])
  const waiting = [it.pool.connect(), it.pool.query('SELECT 1')] as const
  await until(() => it.pool.waitingCount === 2, { what: 'two to wait' })
  assert.deepEqual(counts(), [1, 0, 2, 0])
  client.release()
  ;(await waiting[0]).release()
  await waiting[1]
  assert.deepEqual(counts(), [1, 1, 0, 0])
  assert.equal(it.pool.options.max, 1)
})

// ---- waiting for oneself

test('a nested connect() waits for itself, and its error names the holder', async () => {
  await using it = open({ acquireTimeoutMillis: 500, traceHolders: true })
  const client = await it.pool.connect()
  await client.query('BEGIN')
  await assert.rejects(it.pool.connect(), (error: AcquireTimeoutError) => {
    assert.ok(error instanceof AcquireTimeoutError)
    assert.match(
      error.message,
      /timed out after 500ms \(waiting=0, held for \d+ms\); if this task holds it itself, it waits for itself; acquired at:\n.*pool\.test/s,
    )
    return true
  })
  await assert.rejects(it.pool.query('SELECT 1'), AcquireTimeoutError)
  await client.query('COMMIT')
  client.release()
})

test('inside a callback of the manager’s own the pool refuses at once', async () => {
  await using it = open()
  await it.manager.transaction(async () => {
    await assert.rejects(it.pool.connect(), ReentrantAcquireError)
    await assert.rejects(it.pool.query('SELECT 1'), ReentrantAcquireError)
  })
})

// ---- end

test('end() waits for clients and leaves the manager alone', async () => {
  await using it = open()
  const client = await it.pool.connect()
  const waiting = it.pool.query('SELECT 1 AS n')
  let over = false
  const ended = it.pool.end().then(() => (over = true))
  assert.equal(it.pool.ending, true)
  assert.equal(it.pool.ended, false)
  await sleep(20)
  assert.equal(over, false)
  client.release()
  assert.deepEqual((await waiting).rows, [{ n: 1 }])
  await within(ended, 'the end')
  assert.equal(it.pool.ended, true)
  await assert.rejects(it.pool.connect(), /Cannot use a pool after calling end on the pool/)
  await assert.rejects(it.pool.query('SELECT 1'), /Cannot use a pool after calling end on the pool/)
  await assert.rejects(it.pool.end(), /Called end on pool more than once/)
  await it.manager.query('SELECT 1')
  assert.equal(it.manager.listenerCount('disconnect'), 0)
})

test('end() calls back, and with endManager ends the manager', async () => {
  await using it = open({}, { endManager: true })
  await it.pool.query('SELECT 1')
  await within(new Promise<void>((resolve) => it.pool.end(() => resolve())), 'the callback')
  await assert.rejects(it.manager.query('SELECT 1'), { code: 'ERR_MANAGER_ENDED' })
  assert.equal(it.manager.closed, true)
})

test('end() does not wait for ever for a client that nobody releases', async () => {
  await using it = open({}, { endTimeoutMillis: 100 })
  const forgotten = await it.pool.connect()
  await forgotten.query('BEGIN')
  await within(it.pool.end(), 'the end', 2_000)
  await assert.rejects(forgotten.query('SELECT 1'), ConnectionReleasedError)
  await within(it.manager.query('SELECT 1'), 'the manager')
  forgotten.release()
})

test('two pools of one manager stand in one line', async () => {
  await using it = open()
  await using other = asPool(it.manager)
  const client = await it.pool.connect()
  const next = other.connect()
  await until(() => other.waitingCount === 1, { what: 'the other to wait' })
  client.release()
  ;(await within(next, 'the other')).release()
})

test('a hundred tasks with transactions, failures and leaks: what was committed is there, and nothing else', async () => {
  await using it = open({}, { strict: true })
  await admin.query('CREATE TABLE busy (n int PRIMARY KEY)')
  let leaks = 0
  it.pool.on('error', () => leaks++)
  const task = async (n: number): Promise<void> => {
    if (n % 5 === 4) return void (await it.pool.query('INSERT INTO busy VALUES ($1)', [n]))
    const client = await it.pool.connect()
    try {
      await client.query('BEGIN')
      await client.query('INSERT INTO busy VALUES ($1)', [n])
      if (n % 5 === 1) await client.query('SELECT 1/0').catch(() => client.query('ROLLBACK'))
      else if (n % 5 === 2) return
      else await client.query(n % 5 === 3 ? 'ROLLBACK' : 'COMMIT')
    } finally {
      client.release()
    }
  }
  await within(Promise.all(Array.from({ length: 100 }, (_, n) => task(n))), 'everybody', 30_000)
  await it.pool.end()
  const rows = await admin.rows<{ n: number }>('SELECT n FROM busy ORDER BY n')
  const expected = Array.from({ length: 100 }, (_, n) => n).filter((n) => n % 5 === 0 || n % 5 === 4)
  assert.deepEqual(
    rows.map(({ n }) => n),
    expected,
  )
  assert.equal(leaks, 20)
})

test(
  'while connections are killed and dropped everybody gets an answer, and the pool works on',
  { needs: ['kill'] },
  async () => {
    await using it = open({}, { strict: true })
    it.pool.on('error', () => {})
    const outcomes = new Map<string, number>()
    const task = async (n: number): Promise<void> => {
      const client = await it.pool.connect()
      let failure: unknown
      try {
        await client.query('BEGIN')
        const { rows } = await client.query('SELECT pg_backend_pid() AS pid')
        if (n % 6 === 0)
          await admin.query('SELECT pg_terminate_backend($1)', [(rows[0] as { pid: number }).pid])
        await client.query('SELECT pg_sleep(0.001)')
        if (n % 6 !== 1) await client.query('COMMIT')
      } catch (error) {
        failure = error
      }
      client.release(n % 6 === 2 ? true : (failure as Error | undefined))
      const outcome = failure === undefined ? 'well' : String((failure as { code?: unknown }).code)
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
    }
    await within(Promise.all(Array.from({ length: 60 }, (_, n) => task(n))), 'everybody', 30_000)
    assert.deepEqual(Object.fromEntries(outcomes), { well: 50, '57P01': 10 })
    await it.pool.query('SELECT 1')
  },
)
