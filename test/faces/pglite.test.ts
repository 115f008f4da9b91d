/** `pgliteStream`: what is its own, beside the core's tests that run on it. */
import assert from 'node:assert/strict'
import { text } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { Readable } from 'node:stream'
import { after } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Kysely, PostgresDialect, sql } from 'kysely'
import pg from 'pg'
import {
  ConnectError,
  ConnectionLostError,
  ManagedConnection,
  type ManagedConnectionOptions,
} from 'pg-managed-connection'
import { pgliteStream } from 'pg-managed-connection/pglite'
import { asPool } from 'pg-managed-connection/pool'
import { caught, createGate } from '../support/caught.js'
import { startPGlite } from '../support/embedded.js'
import { copy } from '../support/submittables.js'
import { leakTest } from '../support/suite.js'
import { within } from '../support/wait.js'

const test = leakTest()
const db = await startPGlite()
await db.exec('CREATE TABLE t (id int)')
after(() => db.close())

function open(options: ManagedConnectionOptions = {}, parameters = {}): ManagedConnection {
  return new ManagedConnection({ stream: pgliteStream(db), ...parameters }, options)
}

async function value(manager: ManagedConnection, expression: string): Promise<unknown> {
  return (await manager.query<{ v: unknown }>(`SELECT ${expression} AS v`)).rows[0]!.v
}

test('what is no PGlite is refused', () => {
  // @ts-expect-error: the types say so, too
  assert.throws(() => pgliteStream({}), /takes a PGlite/)
  assert.throws(() => pgliteStream(null as never), /takes a PGlite/)
})

test('COPY FROM STDIN is refused in every form, and the connection is usable', async () => {
  await using manager = open()
  const refusal = /COPY from stdin failed: PGlite has no COPY FROM STDIN on a stream; use INSERT/
  await assert.rejects(manager.query('COPY t FROM STDIN'), refusal)
  await assert.rejects(manager.query('/* x */ copy t from\nstdin'), refusal)
  await assert.rejects(
    manager.transaction(async (connection) => {
      await pipeline(
        Readable.from(['1\n', '2\n'.repeat(100_000)]),
        connection.query(copy.from('COPY t FROM STDIN')),
      )
    }),
    refusal,
  )
  await manager.use(async (connection) => {
    await connection.query('SELECT 1; COPY t FROM STDIN').catch(() => {})
    await connection.rollback()
  })
  // By the extended protocol, as a named statement.
  const client = await asPool(manager).connect()
  await assert.rejects(client.query({ name: 'c', text: 'COPY t FROM STDIN', values: [] }), refusal)
  client.release()
  assert.deepEqual((await manager.query('SELECT count(*)::int AS n FROM t')).rows, [{ n: 0 }])
  assert.equal(await value(manager, "'copy from stdin'"), 'copy from stdin')
})

test('COPY TO STDOUT works', async () => {
  await using manager = open()
  await manager.transaction(async (connection) => {
    const out = connection.query(copy.to('COPY (SELECT generate_series(1, 50000)) TO STDOUT'))
    assert.equal((await text(out)).split('\n').length, 50_001)
  })
})

test('a second connection is refused at once while the first lives, and served when it is closed', async () => {
  await using first = open()
  await using second = open()
  await first.query('SELECT 1')
  const error = await caught(second.query('SELECT 1'), ConnectError)
  assert.match(error.message, /PGlite is one session, and another connection has it: close that first/)
  await first.close()
  assert.equal(await value(second, '2'), 2)
  await second.end()
  assert.equal(await value(first, '3'), 3)
})

test('a connection leaves nothing behind: no transaction, settings, prepared statements, temporary tables, locks', async () => {
  await using first = open()
  const connection = await first.acquire({ autocommit: true })
  await connection.query("SET search_path = nowhere; SET work_mem = '77MB'; SET ROLE pg_monitor; RESET ROLE")
  await connection.query('CREATE TEMP TABLE passing (id int); SELECT pg_advisory_lock(7)')
  await connection.query({ name: 'mine', text: 'SELECT 1' })
  await connection.query('SET SESSION AUTHORIZATION pg_monitor; BEGIN; SELECT 1')
  await first.end({ timeoutMillis: 1 })
  await connection.release().catch(() => {})
  // Whoever comes next waits until it is gone.
  await using next = open()
  await next.query('SELECT 1')
  await next.end()
  const { rows } =
    await db.query(`SELECT current_setting('work_mem') AS memory, current_setting('search_path') AS path,
    current_user::text AS name, to_regclass('passing') AS temp, (SELECT count(*)::int FROM pg_prepared_statements) AS prepared,
    (SELECT count(*)::int FROM pg_locks WHERE locktype = 'advisory') AS locks`)
  const clean = { memory: '4MB', path: 'public', name: 'postgres', temp: null, prepared: 0, locks: 0 }
  assert.deepEqual(rows, [clean])
  assert.equal(db.isInTransaction(), false)
})

test('a stream that is destroyed in a transaction has it rolled back before the next is served', async () => {
  const make = pgliteStream(db)
  const streams: ReturnType<typeof make>[] = []
  const stream = () => {
    streams.push(make())
    return streams.at(-1)!
  }
  await using manager = new ManagedConnection({ stream })
  const lost = manager.transaction(async (connection) => {
    await connection.query('INSERT INTO t VALUES (1)')
    streams[0]!.destroy(new Error('cut'))
    await connection.query('INSERT INTO t VALUES (2)')
  })
  const error = await caught(lost, ConnectionLostError)
  assert.equal(error.commitOutcome, 'none')
  assert.deepEqual((await manager.query('SELECT * FROM t')).rows, [])
  assert.equal(streams.length, 2)
})

test('the settings of the connection parameters hold', async () => {
  await using manager = open(
    {},
    { application_name: 'embedded', options: '-c work_mem=5MB --my.own-setting=a\\ b' },
  )
  assert.equal(await value(manager, "current_setting('application_name')"), 'embedded')
  assert.equal(await value(manager, "current_setting('work_mem')"), '5MB')
  assert.equal(await value(manager, "current_setting('my.own_setting')"), 'a b')
})

test('a setting that PostgreSQL refuses is a refused login in its words', async () => {
  await using manager = open({}, { options: '-c work_mem=much' })
  const error = await caught(manager.query('SELECT 1'), ConnectError)
  assert.match(error.message, /invalid value for parameter "work_mem": "much"/)
  await using other = open({}, { options: '-x' })
  assert.match((await caught(other.query('SELECT 1'), ConnectError)).message, /PGlite takes settings only/)
})

test('PGlite’s own callers wait for a transaction of the connection, and it for theirs', async () => {
  await using manager = open()
  const order: string[] = []
  const gate = createGate()
  const ours = manager.transaction(async (connection) => {
    await connection.query('INSERT INTO t VALUES (1)')
    gate.open()
    await sleep(50)
    order.push('ours')
    throw new Error('rolled back')
  })
  ours.catch(() => {})
  await gate.opened
  const { rows } = await within(db.query<{ n: number }>('SELECT count(*)::int AS n FROM t'), 'PGlite')
  order.push('theirs')
  assert.deepEqual(rows, [{ n: 0 }])
  assert.deepEqual(order, ['ours', 'theirs'])
  await assert.rejects(ours, /rolled back/)
  let asked: Promise<unknown> | undefined
  await db.transaction(async (tx) => {
    await tx.query('INSERT INTO t VALUES (2)')
    asked = manager.query('SELECT count(*)::int AS n FROM t').then(({ rows }) => rows)
    await sleep(50)
    await tx.rollback()
  })
  assert.deepEqual(await asked, [{ n: 0 }])
})

test('notifications of PGlite’s own callers reach subscribers, and PGlite’s own listeners stay', async () => {
  const heard: string[] = []
  const unlisten = await db.listen('own', (payload) => heard.push(payload))
  await using manager = open()
  {
    await using subscription = await manager.listen('jobs')
    await db.query("SELECT pg_notify('jobs', 'from PGlite')")
    await manager.query("SELECT pg_notify('jobs', 'from us')")
    const seen: unknown[] = []
    for await (const { channel, ...rest } of subscription) {
      seen.push([channel, rest])
      if (seen.length === 2) break
    }
    const processID = manager.stats.processID
    assert.deepEqual(seen, [
      ['jobs', { payload: 'from PGlite', processID }],
      ['jobs', { payload: 'from us', processID }],
    ])
  }
  await manager.end()
  await db.query("SELECT pg_notify('own', 'still')")
  await sleep(5)
  assert.deepEqual(heard, ['still'])
  await unlisten()
})

test('a statement blocks the thread: its answer wins over a limit that has passed, and what comes behind it is served', async () => {
  await using manager = open()
  const { rows } = await manager.query({ text: 'SELECT 1 AS n FROM pg_sleep(0.2)', timeoutMillis: 20 })
  assert.deepEqual(rows, [{ n: 1 }])
  assert.equal(await value(manager, '2'), 2)
})

test('a statement that waits for PGlite’s own callers is rejected on time', async () => {
  await using manager = open({ releaseGraceMillis: 200 })
  await manager.query('SELECT 1')
  await db.transaction(async () => {
    const late = manager.query({ text: 'SELECT 1', timeoutMillis: 30 })
    await assert.rejects(within(late, 'the rejection', 3_000), { code: 'ERR_STATEMENT_TIMEOUT' })
  })
})

test('other things have their turn between statements', async () => {
  await using manager = open()
  await manager.query('SELECT 1')
  let turns = 0
  const timer = setInterval(() => turns++, 1)
  await Promise.all(
    Array.from({ length: 40 }, () => manager.query('SELECT count(*) FROM generate_series(1, 20000)')),
  )
  clearInterval(timer)
  assert.ok(turns >= 10, `${turns}`)
})

test('a large value and a large result arrive whole', async () => {
  await using manager = open()
  const large = 'ä'.repeat(3_000_000)
  const { rows } = await manager.query('SELECT $1::text AS v, length($1::text) AS n', [large])
  assert.deepEqual(rows, [{ v: large, n: large.length }])
  const many = await manager.query("SELECT n, repeat('x', 100) AS x FROM generate_series(1, 100000) AS n")
  assert.equal(many.rows.length, 100_000)
  assert.equal(many.rows.at(-1).n, 100_000)
})

test('pg itself and what is built on it work on it: a client, its pool, Kysely', async () => {
  const client = new pg.Client({ stream: pgliteStream(db) })
  await client.connect()
  assert.deepEqual((await client.query('SELECT $1::int AS n', [1])).rows, [{ n: 1 }])
  await client.end()
  const pool = new pg.Pool({ stream: pgliteStream(db), max: 1 })
  assert.deepEqual((await pool.query('SELECT 2 AS n')).rows, [{ n: 2 }])
  await pool.end()
  await using manager = open()
  const kysely = new Kysely<{ t: { id: number } }>({
    dialect: new PostgresDialect({ pool: asPool(manager) }),
  })
  await kysely.transaction().execute(async (trx) => {
    await trx.insertInto('t').values({ id: 5 }).execute()
  })
  assert.deepEqual(await kysely.selectFrom('t').selectAll().execute(), [{ id: 5 }])
  await sql`TRUNCATE t`.execute(kysely)
  await kysely.destroy()
})

test('sslmode=require is refused, since nothing is encrypted', async () => {
  await using manager = open({}, { sslmode: 'require' })
  assert.match((await caught(manager.query('SELECT 1'), ConnectError)).message, /does not support SSL/)
})

test('a PGlite that is not ready yet is waited for, and one that is closed is told of at once', async () => {
  const own = await startPGlite()
  const stream = pgliteStream(own)
  await using manager = new ManagedConnection({ stream })
  assert.equal(await value(manager, '1'), 1)
  await own.close()
  const lost = await caught(manager.query('SELECT 1'), ConnectionLostError)
  assert.match(lost.message, /PGlite is closed/)
  const error = await caught(within(manager.query('SELECT 1'), 'the refusal', 2_000), ConnectError)
  assert.match(error.message, /PGlite is closed/)
})

test('an idle connection does not keep the process alive, one with allowExitOnIdle: false does', async () => {
  const timers = (): number => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
  await using lax = open()
  await lax.query('SELECT 1')
  const without = timers()
  await lax.end()
  assert.ok(timers() >= without)
  await using strict = open({ allowExitOnIdle: false })
  await strict.query('SELECT 1')
  const withOne = timers()
  await strict.end()
  assert.equal(withOne, timers() + 1)
})
