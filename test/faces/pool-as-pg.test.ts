/** What libraries ask of a pg.Pool beside its queries: its class, its options, its codes, its events. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { inspect } from 'node:util'
import pg from 'pg'
import {
  ConnectError,
  ConnectionLostError,
  ManagedConnection,
  type ManagedConnectionOptions,
} from 'pg-managed-connection'
import { asPool, type PoolFaceOptions } from 'pg-managed-connection/pool'
import { attach, share } from 'pg-managed-connection/worker'
import { caught } from '../support/caught.js'
import { endSoon } from '../support/manager.js'
import { Cursor } from '../support/submittables.js'
import { openPooled, type PooledManager } from '../support/pooled-manager.js'
import { openSuite } from '../support/suite.js'
import { until, within } from '../support/wait.js'

const { test, database } = await openSuite()
const { admin } = database

const open = (options?: ManagedConnectionOptions, poolOptions?: PoolFaceOptions): PooledManager =>
  openPooled(database.conninfo, options, poolOptions)

function pidOf(client: pg.PoolClient): number {
  return (client as unknown as { processID: number }).processID
}

// ---- the class

test('it is one of pg’s pools, by its class and by its name, and its clients are clients', async () => {
  await using it = open()
  assert.ok(it.pool instanceof pg.Pool)
  assert.equal(it.pool.constructor.name, 'BoundPool')
  const client = await it.pool.connect()
  assert.equal(client.constructor.name, 'Client')
  client.release()
})

test('the machinery of pg’s own pool is not there to be called', async () => {
  await using it = open()
  const { pool } = it as unknown as { pool: Record<string, () => void> }
  for (const name of ['newClient', '_remove', '_pulseQueue', '_acquireClient', '_release', '_isFull']) {
    assert.throws(() => pool[name]!(), /machinery of pg's own pool/, name)
  }
  await it.pool.query('SELECT 1')
})

// ---- another copy of pg takes the pool for its configuration

test('a pool of another copy of pg that takes ours for its configuration shares the connection', async () => {
  await using it = open()
  const other = new pg.Pool(it.pool as never)
  await it.manager.query('CREATE TABLE borrowed (n int)')
  assert.deepEqual((await other.query('SELECT $1::int AS n', [1])).rows, [{ n: 1 }])
  const task = async (n: number): Promise<void> => {
    const client = await other.connect()
    try {
      await client.query('BEGIN')
      await client.query('INSERT INTO borrowed VALUES ($1)', [n])
      await client.query(n % 2 === 0 ? 'COMMIT' : 'ROLLBACK')
    } finally {
      client.release()
    }
  }
  const ours = Array.from({ length: 10 }, () => it.manager.query('SELECT 1'))
  await within(Promise.all([...Array.from({ length: 20 }, (_, n) => task(n)), ...ours]), 'everybody')
  const { rows } = await it.manager.query<{ n: number }>('SELECT count(*)::int AS n FROM borrowed')
  assert.deepEqual(rows, [{ n: 10 }])
  assert.equal(it.manager.stats.connects, 1)
  await within(other.end(), 'the other pool')
  await it.manager.query('SELECT 1')
})

test('such a pool holds nothing while nobody uses it, and a failing statement costs nobody the connection', async () => {
  await using it = open()
  const other = new pg.Pool(it.pool as never)
  await assert.rejects(other.query('SELECT 1/0'), { code: '22012' })
  const client = await other.connect()
  await assert.rejects(client.query('SELECT 1/0'), { code: '22012' })
  client.release(new Error('mine'))
  await within(
    it.manager.transaction((connection) => connection.query('SELECT 1')),
    'the manager',
  )
  await other.query('SELECT 1')
  await within(it.manager.query('SELECT 1'), 'the manager')
  // One for the start, one for the error of its own that a client was dropped with.
  assert.equal(it.manager.stats.connects, 2)
  assert.equal(it.manager.stats.held, false)
})

test('such a pool hears what its client hears, and tells of a connect that fails', async () => {
  await using it = open()
  const other = new pg.Pool(it.pool as never)
  const client = await other.connect()
  const notified = once(client, 'notification')
  await client.query('LISTEN borrowed')
  await admin.query("NOTIFY borrowed, 'x'")
  const [{ payload }] = (await within(notified, 'the notification')) as [pg.Notification]
  assert.equal(payload, 'x')
  await client.query('UNLISTEN *')
  const lost = once(client, 'error')
  await admin.terminate(pidOf(client))
  const [error] = (await within(lost, 'the loss')) as [{ code?: unknown }]
  assert.equal(error.code, '57P01')
  client.release(true)
  await other.query('SELECT 1')
  const nowhere = new pg.Pool(asPool(new ManagedConnection('postgres://127.0.0.1:1/nowhere')) as never)
  await assert.rejects(nowhere.query('SELECT 1'), { code: 'ECONNREFUSED' })
})

// ---- options

test('options say whom it is connected to and how long, and never a password', async () => {
  const secret = 'hunter2hunter2'
  const conninfo = {
    ...database.login,
    host: '127.0.0.9',
    port: 1,
    user: 'u',
    database: 'd',
    password: secret,
  }
  const manager = new ManagedConnection(conninfo as never, {
    idleTimeoutMillis: 1_234,
    maxLifetimeMillis: 60_000,
  })
  const { options } = asPool(manager)
  assert.deepEqual(
    { ...options },
    {
      ...{ host: '127.0.0.9', port: 1, user: 'u', database: 'd' },
      ...{ max: 1, min: 0, maxUses: Infinity, allowExitOnIdle: true },
      ...{ idleTimeoutMillis: 1_234, maxLifetimeSeconds: 60 },
    },
  )
  const shown = inspect(asPool(manager), { depth: 9, showHidden: true, getters: true })
  assert.ok(!shown.includes(secret))
})

test('host and port are those of the server that it is connected to', async () => {
  const { host, port, user } = database.login
  const hosts = { host: `127.0.0.1,${host}`, port: `1,${port}`, user, dbname: database.name }
  const text = Object.entries(hosts).map(([name, value]) => `${name}='${value}'`)
  const manager = new ManagedConnection(text.join(' '))
  await using _end = { [Symbol.asyncDispose]: () => endSoon(manager) }
  const { options } = asPool(manager)
  assert.deepEqual([options.host, options.port], ['127.0.0.1', 1])
  await manager.query('SELECT 1')
  assert.deepEqual([options.host, options.port], [host, port])
})

// ---- codes

test('what fails to connect has pg’s code, and stays an error of ours', async () => {
  const { host, port, user } = database.login
  const cases: Record<string, string> = {
    ECONNREFUSED: 'postgres://127.0.0.1:1/nowhere',
    '3D000': `host='${host}' port=${port} user='${user}' dbname=nowhere`,
  }
  for (const [code, conninfo] of Object.entries(cases)) {
    const pool = asPool(new ManagedConnection(conninfo))
    const plain = new pg.Client(
      code === '3D000' ? { host, port, user, database: 'nowhere' } : { host: '127.0.0.1', port: 1 },
    )
    const theirs = (await caught(plain.connect(), Error)) as unknown as Record<string, unknown>
    assert.equal(theirs.code, code)
    for (const ask of [() => pool.connect(), () => pool.query('SELECT 1')]) {
      const error = await caught(ask(), Error)
      assert.ok(error instanceof ConnectError)
      const { code: ours, severity, errno, syscall } = error as unknown as Record<string, unknown>
      assert.deepEqual(
        [ours, severity, errno, syscall],
        [theirs.code, theirs.severity, theirs.errno, theirs.syscall],
      )
    }
  }
})

test('what is lost has the code of the server’s last word', async () => {
  await using it = open()
  const client = await it.pool.connect()
  const pid = pidOf(client)
  const told = caught(client.query('SELECT pg_sleep(60)'), Error)
  await admin.terminate(pid)
  const error = await within(told, 'the loss')
  assert.ok(error instanceof ConnectionLostError)
  assert.deepEqual(
    [(error as { code: string }).code, (error as { severity?: string }).severity],
    ['57P01', 'FATAL'],
  )
  client.release()
  const asked = caught(it.pool.query('SELECT pg_sleep(60), pg_backend_pid()'), Error)
  await until(() => it.manager.stats.inFlight === 1, { what: 'the query to be sent' })
  await admin.terminate(it.manager.stats.processID!)
  const lost = await within(asked, 'the loss')
  assert.ok(lost instanceof ConnectionLostError)
  assert.equal((lost as { code: string }).code, '57P01')
})

// ---- events

test('a pool that was only queried tells of its connection’s end', async () => {
  await using it = open({ idleTimeoutMillis: 10 })
  const removed = once(it.pool, 'remove')
  await it.pool.query('SELECT 1')
  const [client] = (await within(removed, 'the removal')) as [object]
  assert.equal(client.constructor.name, 'Client')
  let again = 0
  it.pool.on('remove', () => again++)
  // Somebody else's: the pool has nothing to do with it.
  await it.manager.query('SELECT 1')
  await until(() => it.manager.closed, { what: 'the connection to be closed' })
  assert.equal(again, 0)
})

test('an error of an idle connection bears its client, and is nobody else’s', async () => {
  await using it = open()
  await using other = asPool(it.manager)
  const heard: unknown[][] = []
  for (const pool of [it.pool, other]) {
    pool.on('error', (error, client) =>
      heard.push([pool, error, (error as { client?: unknown }).client, client]),
    )
    await pool.query('SELECT 1')
  }
  await admin.terminate(it.manager.stats.processID!)
  await until(() => heard.length === 2, { what: 'the errors' })
  for (const [, error, ofError, client] of heard) {
    assert.equal((error as { code?: unknown }).code, '57P01')
    assert.ok(client instanceof Object)
    assert.equal(ofError, client)
  }
  assert.notEqual(heard[0]![1], heard[1]![1])
})

test('who waits for an answer is told by that, and not by an event', async () => {
  await using it = open()
  let errors = 0
  it.pool.on('error', () => errors++)
  const asked = caught(it.pool.query('SELECT pg_sleep(60)'), Error)
  await until(() => it.manager.stats.inFlight === 1, { what: 'the query to be sent' })
  await admin.terminate(it.manager.stats.processID!)
  await within(asked, 'the loss')
  assert.equal(errors, 0)
})

test('listeners of acquire and release are told of each query, and do not end pipelining', async () => {
  await using it = open()
  await it.pool.query('SELECT 1')
  const heard: unknown[][] = []
  it.pool.on('acquire', (client) => heard.push(['acquire', client]))
  it.pool.on('release', (error, client) => heard.push(['release', client, error]))
  const asked = Promise.allSettled([1, 0, 2].map((n) => it.pool.query(`SELECT 1 / ${n} AS n`)))
  assert.equal(it.manager.stats.inFlight, 3)
  assert.deepEqual(
    (await asked).map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled'],
  )
  const [acquired, released] = ['acquire', 'release'].map((event) => heard.filter(([name]) => name === event))
  assert.deepEqual(acquired!.map(([, client]) => client).length, 3)
  for (const [index, [, client]] of acquired!.entries()) assert.ok(released![index]![1] === client)
  assert.deepEqual(
    released!.map(([, , error]) => (error as { code?: string } | undefined)?.code),
    [undefined, '22012', undefined],
  )
})

test('the client of such an event can be asked, until it is released', async () => {
  await using it = open()
  const clients: pg.PoolClient[] = []
  it.pool.on('acquire', (client) => {
    clients.push(client)
    void client.query("SELECT set_config('test.seen', 'yes', false)")
  })
  const { rows } = await it.pool.query("SELECT current_setting('test.seen') AS seen")
  assert.deepEqual(rows, [{ seen: 'yes' }])
  assert.equal(clients.length, 1)
  await assert.rejects(clients[0]!.query('SELECT 1'), { code: 'ERR_CONNECTION_RELEASED' })
})

test('a client tells when nothing is left of what it was asked', async () => {
  await using it = open()
  const client = await it.pool.connect()
  const heard: string[] = []
  client.on('drain', () => heard.push('drain'))
  await Promise.all([1, 2].map((n) => client.query(`SELECT ${n}`).then(() => heard.push(String(n)))))
  await client.query('SELECT 1/0').catch(() => heard.push('error'))
  const cursor = client.query(new Cursor('SELECT 1'))
  await cursor.read(2)
  await cursor.close()
  await until(() => heard.length === 6, { what: 'everything' })
  assert.deepEqual(
    heard.filter((what) => what === 'drain'),
    ['drain', 'drain', 'drain'],
  )
  client.release()
})

// ---- dropping

for (const [how, drop] of Object.entries({
  'end()': (client: pg.PoolClient): void => void client.end(),
  'release(true)': (client: pg.PoolClient): void => client.release(true),
})) {
  test(`${how} while a statement of the client’s runs drops the connection at once`, async () => {
    await using it = open({ releaseGraceMillis: 60_000 })
    const client = await it.pool.connect()
    const pid = pidOf(client)
    const running = caught(client.query('SELECT pg_sleep(60)'), Error)
    const next = it.pool.query('SELECT 1 AS n')
    await until(async () => (await activityOf(pid)) === 'active', { what: 'the statement to run' })
    drop(client)
    // Cancelled, where the server was quick to say so.
    const error = await within(running, 'the statement')
    assert.ok(error instanceof ConnectionLostError || (error as { code?: unknown }).code === '57014')
    assert.deepEqual((await within(next, 'the next')).rows, [{ n: 1 }])
    await until(async () => (await activityOf(pid)) === undefined, { what: 'the server to have ended it' })
    assert.equal(it.manager.stats.connects, 2)
  })
}

async function activityOf(pid: number): Promise<unknown> {
  const { rows } = await admin.query('SELECT state FROM pg_stat_activity WHERE pid = $1', [pid])
  return (rows[0] as { state: string } | undefined)?.state
}

test('end() of a client resolves once its connection is gone', async () => {
  await using it = open()
  const client = await it.pool.connect()
  const pid = pidOf(client)
  await within(client.end(), 'the end')
  await until(async () => (await activityOf(pid)) === undefined, { what: 'the server to have ended it' })
  client.release()
})

test('what a dropped client had not waited for crashes nothing', async () => {
  await using it = open()
  const client = await it.pool.connect()
  void client.query('SELECT pg_sleep(60)')
  void client.query('SELECT 1')
  client.release(true)
  await within(it.pool.query('SELECT 1'), 'the next')
})

// ---- LISTEN

const LISTENS: Record<string, string> = {
  'a comment before it': '/* mine */ LISTEN heard',
  'a line comment before it': '-- mine\nLISTEN heard',
  'another statement before it': "SET application_name = 'x'; LISTEN heard",
  'a transaction around it': 'BEGIN; LISTEN heard; COMMIT',
  'a DO block': "DO $$ BEGIN EXECUTE 'LISTEN heard'; END $$",
}

test('a client that listens in whatever words hears notifications', async () => {
  await using it = open()
  for (const [what, text] of Object.entries(LISTENS)) {
    for (const before of [true, false]) {
      const client = await it.pool.connect()
      let heard = 0
      if (before) client.on('notification', () => heard++)
      await client.query(text)
      if (!before) client.on('notification', () => heard++)
      await client.query('SELECT 1')
      await admin.query('NOTIFY heard')
      await until(() => heard === 1, { what: `the notification after ${what}` })
      await client.query('UNLISTEN *')
      client.release()
    }
  }
})

test('with refuseListen LISTEN is refused in whatever words, and by queries of the pool', async () => {
  await using it = open({}, { refuseListen: true })
  const client = await it.pool.connect()
  for (const [what, text] of Object.entries(LISTENS)) {
    await assert.rejects(client.query(text), /refuseListen/, what)
  }
  await client.query("SELECT 'listen to me' AS listen")
  client.release()
  await assert.rejects(it.pool.query('-- mine\nLISTEN heard'), /refuseListen/)
  const { rows } = await it.pool.query('SELECT * FROM pg_listening_channels()')
  assert.deepEqual(rows, [])
})

// ---- on a worker's manager

test('the pool of a worker’s manager has the owner’s options, and pg’s codes', async () => {
  await using it = open({ idleTimeoutMillis: 4_321 })
  const remote = attach(share(it.manager))
  const pool = asPool(remote)
  const { host, port, user } = database.login
  const { options } = pool
  assert.deepEqual(
    [options.host, options.port, options.user, options.database, options.idleTimeoutMillis],
    [host, port, user, database.name, 4_321],
  )
  const client = await pool.connect()
  client.on('notification', () => {})
  const told = caught(client.query('SELECT pg_sleep(60)'), Error)
  await until(async () => (await activityOf(pidOf(client))) === 'active', { what: 'the statement to run' })
  await admin.terminate(pidOf(client))
  assert.equal(((await within(told, 'the loss')) as { code?: unknown }).code, '57P01')
  client.release()
  await pool.end()
  await remote.end()
})

test('a drain listener that throws changes nothing of its query', async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const pool = asPool(manager)
  const client = await pool.connect()
  const mine = new Error('mine')
  client.on('drain', () => {
    throw mine
  })
  const previous = process.listeners('uncaughtException')
  process.removeAllListeners('uncaughtException')
  const uncaught = once(process, 'uncaughtException')
  try {
    const { rows } = await client.query('SELECT 1 AS one')
    assert.deepEqual(rows, [{ one: 1 }])
    assert.equal((await uncaught)[0], mine)
  } finally {
    for (const listener of previous) process.on('uncaughtException', listener)
  }
  client.release()
})
