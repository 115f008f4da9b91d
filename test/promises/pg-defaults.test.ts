/** `pg.defaults` are for the clients that a program makes itself; how values are read and written is for all. */
import assert from 'node:assert/strict'
import pg from 'pg'
import { ManagedConnection } from 'pg-managed-connection'
import { openSuite } from '../support/suite.js'

process.env['TZ'] = 'Asia/Tokyo'
const { test, database } = await openSuite()

/** Each of them would be seen, or be the end, if it reached a session of ours. */
const DISTURBING: Partial<Record<keyof typeof pg.defaults, unknown>> = {
  host: 'nowhere.invalid',
  port: 1,
  user: 'nobody_here',
  database: 'nowhere',
  password: 'wrong',
  connectionString: 'postgres://nowhere.invalid:1/nowhere',
  binary: true,
  rows: 1,
  ssl: true,
  sslnegotiation: 'direct',
  client_encoding: 'LATIN1',
  application_name: 'of the defaults',
  fallback_application_name: 'of the defaults',
  options: '-c work_mem=64kB',
  replication: 'database',
  statement_timeout: 20,
  lock_timeout: 20,
  idle_in_transaction_session_timeout: 20,
  query_timeout: 20,
  connect_timeout: 1,
  keepalives: 0,
  keepalives_idle: 1,
} as Record<string, unknown>

/** Runs `work` while `pg.defaults` are others. */
async function withDefaults(others: object, work: () => Promise<void>): Promise<void> {
  const before = { ...pg.defaults }
  Object.assign(pg.defaults, others)
  try {
    await work()
  } finally {
    for (const name of Object.keys(others)) delete (pg.defaults as unknown as Record<string, unknown>)[name]
    Object.assign(pg.defaults, before)
  }
}

test("pg's defaults do not reach the manager's session", async () => {
  await withDefaults(DISTURBING, async () => {
    await using manager = new ManagedConnection(database.conninfo)
    const slow = manager.transaction(async (connection) => {
      await connection.query('SELECT pg_sleep(0.1)')
      return connection.query('SELECT pg_sleep(0.1)')
    })
    const others = [1, 2, 3].map((n) => manager.query('SELECT $1::int4 AS n', [n]))
    await slow
    assert.deepEqual(
      (await Promise.all(others)).map(({ rows }) => rows),
      [[{ n: 1 }], [{ n: 2 }], [{ n: 3 }]],
    )
    const { rows } = await manager.query(`SELECT current_setting('statement_timeout') AS statement,
      current_setting('lock_timeout') AS lock, current_setting('idle_in_transaction_session_timeout') AS idle,
      current_setting('application_name') AS name, current_setting('work_mem') AS memory, 'ä' AS letter`)
    assert.deepEqual(rows, [{ statement: '0', lock: '0', idle: '0', name: '', memory: '4MB', letter: 'ä' }])
    assert.deepEqual([manager.stats.connects, manager.stats.disconnects], [1, 0])
  })
})

test("the client that onConnect gets has none of pg's defaults either", async () => {
  await withDefaults(DISTURBING, async () => {
    let rows: unknown[] = []
    await using manager = new ManagedConnection(database.conninfo, {
      onConnect: async (client) => {
        ;({ rows } = await client.query('SELECT pg_sleep(0.1)::text AS slept, 7::int4 AS n'))
      },
    })
    await manager.query('SELECT 1')
    assert.deepEqual(rows, [{ slept: '', n: 7 }])
  })
})

test("how dates are written stays the program's own choice", async () => {
  const written = async (manager: ManagedConnection): Promise<unknown> =>
    (await manager.query<{ t: string }>('SELECT $1::text AS t', [new Date(0)])).rows[0]!.t
  await using manager = new ManagedConnection(database.conninfo)
  assert.equal(await written(manager), '1970-01-01T09:00:00.000+09:00')
  await withDefaults({ parseInputDatesAsUTC: true }, async () => {
    assert.equal(await written(manager), '1970-01-01T00:00:00.000+00:00')
  })
})

test("how results are read stays the program's own choice", async () => {
  await using manager = new ManagedConnection(database.conninfo)
  const before = pg.types.getTypeParser(20, 'text')
  pg.types.setTypeParser(20, BigInt)
  try {
    assert.deepEqual((await manager.query('SELECT 5::int8 AS n')).rows, [{ n: 5n }])
  } finally {
    pg.types.setTypeParser(20, before as (text: string) => unknown)
  }
})
